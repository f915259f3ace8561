"""A plain autoencoder, the baseline that interpolation and generation are measured against.

Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313, 2006,
https://doi.org/10.1126/science.1127647. Samples are decoded from N(0, I), for which it was never trained: that is the point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Autoencodes, Batch, Generates, ImageSpec, Model, Update
from bench.networks.blocks import check_choice, check_positive, image_mlp, mlp
from bench.networks.losses import bernoulli_nll, squared_error
from bench.networks.pooled import Pooled

TRAINING: dict[str, Any] = {}


@final
class AE(Model, Generates, Autoencodes):
    """``mlp`` goes through ``hidden_dims`` to ``latent_dim`` numbers, and back; ``pooled`` is `Pooled`, the ACAI paper's."""

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 2,
        hidden_dims: Sequence[int] = (512,),
        reconstruction: Literal["bce", "mse"] = "bce",
        architecture: Literal["mlp", "pooled"] = "mlp",
        latent_channels: int = 16,
        blocks: int = 3,
        width: int = 16,
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, hidden_dims=hidden_dims)
        check_choice("reconstruction", reconstruction, ("bce", "mse"))
        check_choice("architecture", architecture, ("mlp", "pooled"))
        self.reconstruction = reconstruction
        self.code_shape: tuple[int, ...] = (latent_dim,)
        if architecture == "mlp":
            self.encoder = nn.Sequential(nn.Flatten(), *mlp([spec.pixels, *hidden_dims, latent_dim]))
            self.decoder = image_mlp(spec, [latent_dim, *reversed(hidden_dims)])
        else:
            pooled = Pooled(spec, latent_channels, blocks, width)
            self.code_shape = pooled.code_shape
            self.encoder, self.decoder = pooled.encoder(), pooled.decoder()

    def players(self) -> dict[str, nn.Module]:
        """One: the autoencoder."""
        return {"autoencoder": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the reconstruction error: Bernoulli in nats, or the squared error of the decoded image."""
        logits = self.decoder(self.encoder(batch.images))
        if self.reconstruction == "bce":
            loss = bernoulli_nll(logits, batch.images)
        else:
            loss = squared_error(logits.sigmoid(), batch.images)
        update("autoencoder", loss)
        return {"loss": loss}

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, *code_shape]``."""
        return torch.randn(n, *self.code_shape, device=self.device)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``[B, C, H, W]`` to codes ``[B, *code_shape]``."""
        codes: Tensor = self.encoder(images)
        return codes

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, *code_shape]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))
