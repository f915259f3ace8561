"""M2 against a discriminator of k + 1 classes: document 004, section 3.3.

After Kingma et al., https://arxiv.org/abs/1406.5298, and Larsen et al., https://arxiv.org/abs/1512.09300.
"""

from __future__ import annotations

from typing import Any, final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract import HIDDEN, Batch, Classifies, Conditional, Generates, ImageSpec, Infers, Model, Update
from bench.networks.blocks import check_choice, check_not_negative, check_positive, one_hot, reparameterised
from bench.networks.conditional import discriminator
from bench.networks.losses import bernoulli_nll_each, gaussian_kl_each, squared_error_each
from bench.networks.semi_supervised import M2Networks, Weighting, entropy, expected, labelled_share, stacked

TRAINING: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": 100}  # document 004, section 4


@final
class SSLVAEGAN(Model, Generates, Infers, Conditional, Classifies):
    """The convolutional M2 against a discriminator.

    With ``feature_loss`` images are compared in the discriminator's layer, as printed, else in pixels. M2's decoder ends in a
    fully connected layer, which knows nothing of neighbouring pixels: under the layer's loss it still draws noise after 1,000
    steps on MNIST, whatever ``feature_variance``. Document 004 says of its DRAW that the layer's loss "did not give satisfactory
    performance".

    ``classification_weight`` and ``weighting`` are those of ``ssl_vae``, the latter of both players' losses. ``entropy_weight``
    multiplies H(q(y | x)) in the loss of unlabelled images: the document prints + H, which makes the classifier decide; -1 gives
    M2's own bound, which keeps it undecided.
    """

    condition = "labels"

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 50,
        feature_loss: bool = False,
        feature_variance: float = 10.0,
        classification_weight: float = 0.1,
        entropy_weight: float = 1.0,
        weighting: Weighting = "images",
    ) -> None:
        super().__init__()
        check_choice("weighting", weighting, get_args(Weighting))
        check_positive(latent_dim=latent_dim, feature_variance=feature_variance)
        check_not_negative(classification_weight=classification_weight)
        self.latent_dim = latent_dim
        self.feature_variance = feature_variance if feature_loss else None
        self.classification_weight = classification_weight
        self.entropy_weight = entropy_weight
        self.weighting = weighting
        self.networks = M2Networks(spec, latent_dim, convolutional=True)
        self.discriminator = discriminator(spec, self.networks.classes + 1)

    def players(self) -> dict[str, nn.Module]:
        """The vae, with its classifier, and the discriminator."""
        return {"vae": self.networks, "discriminator": self.discriminator}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One step of both players: losses of labelled images under their labels, of the others averaged over q(y | x).

        Where no label is hidden, as on held-out images, ``unlabelled`` is taken of the same images and not descended.
        """
        networks, classes = self.networks, self.networks.classes
        known = batch.labels != HIDDEN
        hidden = ~known if bool((~known).any()) else known
        features, log_variance, class_logits = networks.infer(batch.images)
        labelled, unlabelled = int(known.sum()), int(hidden.sum())
        q = class_logits[hidden]
        # Labelled images first, then each of the others under every label.
        y = torch.cat((one_hot(batch.labels[known], classes), networks.every_label(unlabelled)))
        noise = stacked(torch.randn_like(log_variance), known, hidden, classes)  # one draw for all labels of an image
        log_variance = stacked(log_variance, known, hidden, classes)
        mean = networks.means(stacked(features, known, hidden, classes), y)
        z = reparameterised(mean, log_variance, noise)
        logits = networks.decode(z, y)
        reconstructed = logits.sigmoid()
        drawn = networks.decode(torch.randn_like(z), y).sigmoid()
        share = labelled_share(batch, known, self.weighting)

        def averaged(losses: Tensor, class_logits: Tensor) -> tuple[Tensor, Tensor]:
            return losses[:labelled].mean(), expected(losses[labelled:], class_logits).mean()

        # The label that q gives is no parameter of the discriminator: it is read off, not learnt through.
        real_logits = stacked(self.discriminator(batch.images)[0], known, hidden, classes)
        fake = torch.full((len(y),), classes, device=y.device)
        losses = _cross_entropy(real_logits, y.argmax(1))
        for images in (drawn.detach(), reconstructed.detach()):
            losses = losses + _cross_entropy(self.discriminator(images)[0], fake)
        on_labelled, on_unlabelled = averaged(losses, q.detach())
        discriminator_loss = share * on_labelled + (1 - share) * on_unlabelled
        update("discriminator", discriminator_loss)

        reconstructed_logits, reconstructed_features = self.discriminator(reconstructed)
        losses = gaussian_kl_each(mean, log_variance)
        if self.feature_variance is None:
            losses = losses + bernoulli_nll_each(logits, stacked(batch.images, known, hidden, classes))
        else:
            with torch.no_grad():
                real_features = stacked(self.discriminator(batch.images)[1], known, hidden, classes)
            losses = losses + squared_error_each(reconstructed_features, real_features) / (2 * self.feature_variance)
        losses = losses + _cross_entropy(self.discriminator(drawn)[0], y.argmax(1))
        losses = losses + _cross_entropy(reconstructed_logits, y.argmax(1))
        on_labelled, on_unlabelled = averaged(losses, q)
        on_unlabelled = on_unlabelled + self.entropy_weight * entropy(q).mean()
        classification = F.cross_entropy(class_logits[known].float(), batch.labels[known])
        loss = share * on_labelled + (1 - share) * on_unlabelled + self.classification_weight * classification
        update("vae", loss)
        return {
            "vae": loss,
            "discriminator": discriminator_loss,
            "labelled": on_labelled,
            "unlabelled": on_unlabelled,
            "classification": classification,
        }

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        """``n`` new images of the labels ``condition``, or else of labels from their prior."""
        return super().sample(n, self.networks.labels(n) if condition is None else condition)

    def classify(self, images: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` to the logits of q(y | x), ``[B, classes]``."""
        return self.networks.infer(images)[2]

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x, y), ``[B, latent_dim]`` each; without labels, for the likeliest."""
        return self.networks.posterior(images, condition)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` and labels ``[B]`` to images ``[B, C, H, W]``."""
        return self.networks.images(z, condition)


def _cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.float(), labels, reduction="none")
