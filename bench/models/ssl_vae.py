"""The semi-supervised variational autoencoder M2: Kingma et al., Semi-Supervised Learning with Deep Generative Models, 2014.

https://arxiv.org/abs/1406.5298. Losses of document 004, section 2.3; networks of its section 4.5.
"""

from __future__ import annotations

import math
from typing import Any, Literal, final, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract import HIDDEN, Batch, Classifies, Conditional, Generates, ImageSpec, Infers, Model, Update
from bench.networks.blocks import check_choice, check_not_negative, check_positive, one_hot, reparameterised
from bench.networks.losses import bernoulli_nll_each, gaussian_kl_each
from bench.networks.semi_supervised import M2Networks, Weighting, entropy, expected, labelled_share, stacked

TRAINING: dict[str, Any] = {"batch_size": 100}  # document 004, section 4


@final
class SSLVAE(Model, Generates, Infers, Conditional, Classifies):
    """A classifier q(y | x) that is trained by what it does to the evidence bound of images without labels.

    Document 004 sums the bounds over all images, and Kingma et al. add alpha = 0.1 * images times the mean classification loss
    of the labelled ones (their equation 9 and section 4). Here all is divided by the number of images: ``classification_weight``
    is their 0.1. With ``weighting = "images"`` a step descends that in expectation, whatever share of a batch is labelled; with
    ``"batch"`` labelled and other images weigh what they are of the batch.
    """

    condition = "labels"

    def __init__(
        self,
        spec: ImageSpec,
        *,
        backbone: Literal["mlp", "conv"] = "mlp",
        latent_dim: int = 50,
        classification_weight: float = 0.1,
        weighting: Weighting = "images",
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim)
        check_not_negative(classification_weight=classification_weight)
        check_choice("backbone", backbone, ("mlp", "conv"))
        check_choice("weighting", weighting, get_args(Weighting))
        self.latent_dim = latent_dim
        self.classification_weight = classification_weight
        self.weighting = weighting
        self.networks = M2Networks(spec, latent_dim, convolutional=backbone == "conv")

    def players(self) -> dict[str, nn.Module]:
        """One: the vae, with its classifier."""
        return {"vae": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend L(x, y) on labelled images, U(x) on the others, and the classification loss on the labelled.

        Terms: ``labelled`` is the mean of L, ``unlabelled`` that of U, ``classification`` that of -log q(y | x). Where no
        label is hidden, as on held-out images, U is taken of the same images and not descended.
        """
        known = batch.labels != HIDDEN
        hidden = ~known if bool((~known).any()) else known
        features, log_variance, class_logits = self.networks.infer(batch.images)
        classes = self.networks.classes
        labels = one_hot(batch.labels[known], classes)
        bounds = self._bounds(
            stacked(batch.images, known, hidden, classes),
            stacked(features, known, hidden, classes),
            stacked(log_variance, known, hidden, classes),
            # One draw for all labels of an image: what tells them apart is the label then, and no noise.
            stacked(torch.randn_like(log_variance), known, hidden, classes),
            torch.cat((labels, self.networks.every_label(int(hidden.sum())))),
        )
        labelled = bounds[: len(labels)].mean()
        q = class_logits[hidden]
        unlabelled = (expected(bounds[len(labels) :], q) - entropy(q)).mean()
        classification = F.cross_entropy(class_logits[known].float(), batch.labels[known])
        share = labelled_share(batch, known, self.weighting)
        loss = share * labelled + (1 - share) * unlabelled + self.classification_weight * classification
        update("vae", loss)
        return {"loss": loss, "labelled": labelled, "unlabelled": unlabelled, "classification": classification}

    def _bounds(self, images: Tensor, features: Tensor, log_variance: Tensor, noise: Tensor, labels: Tensor) -> Tensor:
        """L(x, y), ``[B]``: the negative bound on log p(x, y), in which every class is as likely as any other."""
        mean = self.networks.means(features, labels)
        logits = self.networks.decode(reparameterised(mean, log_variance, noise), labels)
        prior = math.log(self.networks.classes)
        return bernoulli_nll_each(logits, images) + gaussian_kl_each(mean, log_variance) + prior

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
