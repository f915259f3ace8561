"""DRAW, the deep recurrent attentive writer: Gregor et al., 2015, https://arxiv.org/abs/1502.04623.

Document 004, sections 2.4 and 4.6, whose sizes are those of `bench.networks.recurrent`. Conditional DRAW gives the label to
encoder and decoder.
"""

from __future__ import annotations

from typing import Any, final

from torch import Tensor, nn

from bench.contract import Autoencodes, Batch, Conditional, Draws, Generates, ImageSpec, Model, Update, condition_of
from bench.networks.conditional import need_classes
from bench.networks.losses import negative_elbo
from bench.networks.recurrent import DrawNetwork

# Document 004's batch and rate; the moment and the clipped gradient keep recurrence through ten glimpses from exploding.
TRAINING: dict[str, Any] = {"batch_size": 100, "betas": (0.5, 0.999), "gradient_clip": 5.0}


@final
class Draw(Model, Generates, Autoencodes, Draws, Conditional):
    """An image drawn in ``glimpses`` strokes, each from a code of ``latent_dim`` numbers."""

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
    ) -> None:
        super().__init__()
        self.condition = "labels" if conditional else None
        classes = need_classes(spec) if conditional else 0
        self.network = DrawNetwork(
            spec,
            latent_dim=latent_dim,
            glimpses=glimpses,
            hidden_size=hidden_size,
            attention=attention,
            window=window,
            classes=classes,
        )

    def players(self) -> dict[str, nn.Module]:
        """One: draw."""
        return {"draw": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the reconstruction loss of the last canvas and the KL divergences of all glimpses, equations 9 to 12."""
        drawing = self.network.reconstruct(batch.images, condition_of(self, batch))
        terms = negative_elbo(drawing.canvases[-1], batch.images, drawing.means, drawing.log_variances)
        update("draw", terms["loss"])
        return terms

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, T, Z]``: a code for every glimpse."""
        return self.network.noise(n)

    def canvases(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, T, Z]`` to the canvas after every glimpse, ``[T, B, C, H, W]``."""
        return self.network.draw(z, condition).sigmoid()

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images to the means of their codes, ``[B, T, Z]``; those of a later glimpse follow on the means of the earlier."""
        return self.network.reconstruct(images, condition, noisy=False).means
