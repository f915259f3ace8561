"""The fully connected variational autoencoder: Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

https://arxiv.org/abs/1312.6114. Architectures of document 002, listing 1 (``hidden_dims = [512, 256]``, ``latent_dim = 16``)
and of document 003 (one hidden layer of 128, 256 or 512; latent 2, 5 or 10). That of Burda et al., Importance Weighted
Autoencoders, 2016, is ``hidden_dims = [200, 200]``, ``latent_dim = 50`` with ``activation = "tanh"``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Generates, ImageSpec, Infers, Model, Update
from bench.networks.blocks import check_choice, check_positive, image_mlp, mlp, reparameterised
from bench.networks.losses import negative_elbo

TRAINING: dict[str, Any] = {}


@final
class VAE(Model, Generates, Infers):
    """``hidden_dims`` from the image towards the code, whose mean and log-variance are one layer; the decoder mirrors it."""

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 2,
        hidden_dims: Sequence[int] = (512,),
        activation: Literal["relu", "tanh"] = "relu",
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, hidden_dims=hidden_dims)
        check_choice("activation", activation, ("relu", "tanh"))
        between = nn.Tanh if activation == "tanh" else nn.ReLU
        self.latent_dim = latent_dim
        self.encoder = nn.Sequential(nn.Flatten(), *mlp([spec.pixels, *hidden_dims, 2 * latent_dim], between))
        self.decoder = image_mlp(spec, [latent_dim, *reversed(hidden_dims)], between)

    def players(self) -> dict[str, nn.Module]:
        """One: the vae."""
        return {"vae": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the negative evidence bound, equation 10 with one draw of the code per image."""
        mean, log_variance = self.posterior(batch.images)
        logits = self.decoder(reparameterised(mean, log_variance))
        terms = negative_elbo(logits, batch.images, mean, log_variance)
        update("vae", terms["loss"])
        return terms

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images ``[B, C, H, W]`` to mean and log-variance, ``[B, latent_dim]`` each."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))
