"""The VAE/GAN: Larsen et al., Autoencoding beyond pixels using a learned similarity metric, 2016.

https://arxiv.org/abs/1512.09300. Losses of document 004, equations 2 and 3 (one player for encoder and decoder); networks of
document 000, which compares it with its own adversarial VAE.
"""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Generates, ImageSpec, Infers, Model, Update
from bench.networks.adversarial import BINARY_CROSS_ENTROPY, Fakes, vae_gan_step
from bench.networks.blocks import check_positive, reparameterised
from bench.networks.losses import gaussian_kl
from bench.networks.mirrored import Mirrored

# Document 004, section 4, but for Adam's first moment, which is the DCGAN's: with TensorFlow's default of 0.9, which the document
# has, the prior's images stay half digits on MNIST, at twice the Fréchet distance.
TRAINING: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": 100, "betas": (0.5, 0.999)}


@final
class VAEGAN(Model, Generates, Infers):
    """A convolutional VAE that compares images in a layer of its discriminator, with the options of `Mirrored`."""

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 32,
        feature_variance: float = 10.0,
        conv_layers: int = 3,
        linear_layers: Literal[1, 2] = 1,
        linear_width: int = 512,
        width: int = 32,
        spectral_norm: bool = False,
        upsample: Literal["transposed", "nearest"] = "transposed",
    ) -> None:
        super().__init__()
        check_positive(feature_variance=feature_variance)
        networks = Mirrored(spec, latent_dim, conv_layers, linear_layers, linear_width, width, spectral_norm, upsample)
        self.latent_dim = latent_dim
        self.feature_variance = feature_variance
        self.encoder = networks.encoder()
        self.decoder = networks.decoder()
        self.discriminator = networks.critic()

    def players(self) -> dict[str, nn.Module]:
        """The vae, which is encoder and decoder, and the discriminator."""
        return {"vae": nn.ModuleList((self.encoder, self.decoder)), "discriminator": self.discriminator}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One step of the discriminator, equation 3, then one of the VAE, equation 2."""
        mean, log_variance = self.encoder(batch.images)
        z = reparameterised(mean, log_variance)
        fakes = Fakes(self.decode(z), self.decode(torch.randn_like(z)))
        return vae_gan_step(
            "vae",
            self.discriminator,
            batch.images,
            fakes,
            {"kl": gaussian_kl(mean, log_variance)},
            BINARY_CROSS_ENTROPY,
            update,
            feature_variance=self.feature_variance,
        )

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
