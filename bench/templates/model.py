"""A linear autoencoder: Baldi and Hornik, Neural Networks and Principal Component Analysis, 1989.

https://doi.org/10.1016/0893-6080(89)90014-2
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from bench.contract import Autoencodes, Batch, Generates, ImageSpec, Model, Update
from bench.networks.blocks import check_positive, image_mlp, mlp
from bench.networks.losses import bernoulli_nll

TRAINING: dict[str, Any] = {"learning_rate": 3e-3}


@final
class Linear(Model, Generates, Autoencodes):
    """One linear layer to the code, and one back."""

    def __init__(self, spec: ImageSpec, *, latent_dim: int = 8) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim)
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(nn.Flatten(), *mlp([spec.pixels, latent_dim]))
        self.decoder = image_mlp(spec, [latent_dim])

    def players(self) -> dict[str, nn.Module]:
        """One: the autoencoder."""
        return {"autoencoder": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the reconstruction error."""
        loss = bernoulli_nll(self.decoder(self.encoder(batch.images)), batch.images)
        update("autoencoder", loss)
        return {"loss": loss}

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``: what it generates from."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``[B, C, H, W]`` to codes ``[B, latent_dim]``."""
        codes: Tensor = self.encoder(images)
        return codes

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))
