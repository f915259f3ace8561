"""A variational autoencoder trained against a critic of its reconstructions: document 000, sections 1.3 and 1.4.

The VAE is Kingma and Welling's, https://arxiv.org/abs/1312.6114; the critic a GAN's, https://arxiv.org/abs/1406.2661.
"""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Generates, ImageSpec, Infers, Model, Update
from bench.networks.blocks import reparameterised
from bench.networks.losses import bce_fake, bce_real, bernoulli_nll, gaussian_kl
from bench.networks.mirrored import Mirrored

TRAINING: dict[str, Any] = {}


@final
class AdversarialVAE(Model, Generates, Infers):
    """The convolutional VAE and a critic, whose options are those of `Mirrored`."""

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 32,
        conv_layers: int = 3,
        linear_layers: Literal[1, 2] = 1,
        linear_width: int = 512,
        width: int = 32,
        spectral_norm: bool = False,
        upsample: Literal["transposed", "nearest"] = "transposed",
    ) -> None:
        super().__init__()
        networks = Mirrored(spec, latent_dim, conv_layers, linear_layers, linear_width, width, spectral_norm, upsample)
        self.latent_dim = latent_dim
        self.encoder = networks.encoder()
        self.decoder = networks.decoder()
        self.critic = networks.critic()

    def players(self) -> dict[str, nn.Module]:
        """The vae, which is encoder and decoder, and the critic."""
        return {"vae": nn.ModuleList((self.encoder, self.decoder)), "critic": self.critic}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One step of the critic on images and their reconstructions, then one of the VAE, as document 000, 1.4.1."""
        mean, log_variance = self.encoder(batch.images)
        logits = self.decoder(reparameterised(mean, log_variance))
        reconstructed = logits.sigmoid()
        critic = bce_fake(self.critic(reconstructed.detach())[0]) + bce_real(self.critic(batch.images)[0])
        update("critic", critic)
        reconstruction, kl = bernoulli_nll(logits, batch.images), gaussian_kl(mean, log_variance)
        adversarial = bce_real(self.critic(reconstructed)[0])
        vae = kl + reconstruction + adversarial
        update("vae", vae)
        return {"vae": vae, "critic": critic, "reconstruction": reconstruction, "kl": kl, "adversarial": adversarial}

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images ``[B, C, H, W]`` to mean and log-variance, ``[B, latent_dim]`` each."""
        mean, log_variance = self.encoder(images)
        return mean, log_variance

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))
