"""A plain fully connected autoencoder, the baseline that interpolation and generation are measured against.

Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313, 2006,
https://doi.org/10.1126/science.1127647. Samples are decoded from N(0, I), for which it was never trained: that is the point.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, ImageSpec, Model, Update
from bench.losses import bernoulli_nll, squared_error
from bench.nets import chosen, image_mlp, mlp, positive

TRAINING: dict[str, Any] = {}


@final
class AE(Model):
    """``hidden_dims`` from the image towards the code; the decoder is the mirror."""

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 2,
        hidden_dims: Sequence[int] = (512,),
        reconstruction: Literal["bce", "mse"] = "bce",
    ) -> None:
        super().__init__()
        positive(latent_dim=latent_dim, hidden_dims=hidden_dims)
        chosen("reconstruction", reconstruction, ("bce", "mse"))
        self.latent_dim = latent_dim
        self.reconstruction = reconstruction
        self.encoder = nn.Sequential(nn.Flatten(), *mlp([spec.pixels, *hidden_dims, latent_dim]))
        self.decoder = image_mlp(spec, [latent_dim, *reversed(hidden_dims)])

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

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Decode ``n`` draws from N(0, I)."""
        return self.decode(torch.randn(n, self.latent_dim, device=self.device))

    def encode(self, images: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` to codes ``[B, latent_dim]``."""
        codes: Tensor = self.encoder(images)
        return codes

    def decode(self, z: Tensor) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))
