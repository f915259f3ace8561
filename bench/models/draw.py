"""DRAW, the deep recurrent attentive writer: Gregor et al., 2015, https://arxiv.org/abs/1502.04623.

Document 004, sections 2.4 and 4.6. Conditional DRAW gives the label to encoder and decoder.
"""

from __future__ import annotations

from typing import Any, Literal, final

from torch import Tensor, nn

from bench.contract import Batch, ImageSpec, Model, Update, condition_of
from bench.networks.conditional import need_classes
from bench.networks.losses import negative_bound
from bench.networks.recurrent import DrawNetwork

# Document 004's batch and rate; the moment and the clipped gradient keep recurrence through ten glimpses from exploding.
TRAINING: dict[str, Any] = {"batch_size": 100, "betas": (0.5, 0.999), "gradient_clip": 5.0}


@final
class Draw(Model):
    """An image drawn in ``glimpses`` strokes, each from a code of ``latent_dim`` numbers."""

    condition: Literal["labels"]

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
        if conditional:
            self.condition = "labels"
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
        terms = negative_bound(drawing.canvases[-1], batch.images, drawing.means, drawing.log_variances)
        update("draw", terms["loss"])
        return terms

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        """The last canvases of ``n`` draws from the prior."""
        return self.canvases(n, condition)[-1]

    def canvases(self, images_or_n: Tensor | int, condition: Tensor | None = None) -> Tensor:
        """Every canvas, ``[T, n, C, H, W]``, reconstructed from mean codes or drawn from the prior."""
        return self.network.canvases(images_or_n, condition)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images to the means of their codes, ``[B, T, Z]``; those of a later glimpse follow on the means of the earlier."""
        return self.network.reconstruct(images, condition, noisy=False).means

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, T, Z]`` to the last canvas, ``[B, C, H, W]``."""
        return self.network.draw(z, condition)[-1].sigmoid()
