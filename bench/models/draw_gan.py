"""DRAW against a discriminator on its last canvas: document 004, sections 3.4 and 4.6.

After Gregor et al., https://arxiv.org/abs/1502.04623, and Larsen et al., https://arxiv.org/abs/1512.09300.
"""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn

from bench.contract import Autoencodes, Batch, Conditional, Draws, Generates, ImageSpec, Model, Update, condition_of
from bench.networks.adversarial import BINARY_CROSS_ENTROPY, Fakes, k_plus_one_classes, vae_gan_step
from bench.networks.blocks import check_positive
from bench.networks.conditional import discriminator, need_classes
from bench.networks.losses import bernoulli_nll, gaussian_kl
from bench.networks.recurrent import DrawNetwork

# Document 004's batch and its rate for GANs; the rest as for draw.
TRAINING: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": 100, "betas": (0.5, 0.999), "gradient_clip": 5.0}


@final
class DrawGAN(Model, Generates, Autoencodes, Draws, Conditional):
    """The networks of DRAW and the discriminator of the CVAE-GAN, which has k + 1 classes where DRAW is ``conditional``.

    With ``feature_loss`` images are compared in the discriminator's layer, else in pixels: the layer's loss "did not give
    satisfactory performance" (section 4.6).
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 10,
        glimpses: int = 10,
        hidden_size: int = 256,
        attention: bool = True,
        window: int = 5,
        conditional: bool = False,
        feature_loss: bool = False,
        feature_variance: float = 10.0,
    ) -> None:
        super().__init__()
        check_positive(feature_variance=feature_variance)
        self.condition = "labels" if conditional else None
        classes = need_classes(spec) if conditional else 0
        self.feature_variance = feature_variance if feature_loss else None
        self.network = DrawNetwork(
            spec,
            latent_dim=latent_dim,
            glimpses=glimpses,
            hidden_size=hidden_size,
            attention=attention,
            window=window,
            classes=classes,
        )
        self.discriminator = discriminator(spec, classes + 1)

    def players(self) -> dict[str, nn.Module]:
        """Draw and the discriminator."""
        return {"draw": self.network, "discriminator": self.discriminator}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One step of both players on the last canvases, the prior's drawn for the labels of the batch where there are any."""
        labels = condition_of(self, batch)
        drawing = self.network.reconstruct(batch.images, labels)
        logits = drawing.canvases[-1]
        drawn = self.network.draw(self.network.noise(len(batch)), labels)[-1].sigmoid()
        vae_terms = {"kl": gaussian_kl(drawing.means, drawing.log_variances)}
        if self.feature_variance is None:
            vae_terms["reconstruction"] = bernoulli_nll(logits, batch.images)
        return vae_gan_step(
            "draw",
            self.discriminator,
            batch.images,
            Fakes(logits.sigmoid(), drawn),
            vae_terms,
            k_plus_one_classes(batch.labels) if self.network.classes else BINARY_CROSS_ENTROPY,
            update,
            feature_variance=self.feature_variance,
        )

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, T, Z]``: a code for every glimpse."""
        return self.network.noise(n)

    def canvases(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, T, Z]`` to the canvas after every glimpse, ``[T, B, C, H, W]``."""
        return self.network.draw(z, condition).sigmoid()

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images to the means of their codes, ``[B, T, Z]``; those of a later glimpse follow on the means of the earlier."""
        return self.network.reconstruct(images, condition, noisy=False).means
