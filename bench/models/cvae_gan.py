"""The CVAE-GAN: a conditional VAE against a discriminator of k + 1 classes. Document 004, sections 3.2 and 4.3.

After Larsen et al., https://arxiv.org/abs/1512.09300, and Sohn, Lee and Yan, https://papers.nips.cc/paper/5775.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Conditional, Generates, ImageSpec, Infers, Model, Update
from bench.networks.adversarial import Fakes, k_plus_one_classes, vae_gan_step
from bench.networks.blocks import check_positive, reparameterised
from bench.networks.conditional import as_vector, decoder, discriminator, encoder, need_classes
from bench.networks.losses import gaussian_kl

TRAINING: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": 100}  # document 004, section 4


@final
class CVAEGAN(Model, Generates, Infers, Conditional):
    """The networks of the CVAE; images are compared in the discriminator's FC-512 layer."""

    condition = "labels"

    def __init__(self, spec: ImageSpec, *, latent_dim: int = 50, feature_variance: float = 10.0) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, feature_variance=feature_variance)
        self.spec = spec
        self.latent_dim = latent_dim
        self.feature_variance = feature_variance
        classes = need_classes(spec)
        self.encoder = encoder(spec, latent_dim, classes)
        self.decoder = decoder(spec, latent_dim + classes, classes)
        self.discriminator = discriminator(spec, classes + 1)

    def players(self) -> dict[str, nn.Module]:
        """The vae, which is encoder and decoder, and the discriminator."""
        return {"vae": nn.ModuleList((self.encoder, self.decoder)), "discriminator": self.discriminator}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One step of both players, the prior's images drawn for the labels of the batch."""
        mean, log_variance = self.posterior(batch.images, batch.labels)
        z = reparameterised(mean, log_variance)
        fakes = Fakes(self.decode(z, batch.labels), self.decode(torch.randn_like(z), batch.labels))
        return vae_gan_step(
            "vae",
            self.discriminator,
            batch.images,
            fakes,
            {"kl": gaussian_kl(mean, log_variance)},
            k_plus_one_classes(batch.labels),
            update,
            feature_variance=self.feature_variance,
        )

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images ``[B, C, H, W]`` and their labels to mean and log-variance, ``[B, latent_dim]`` each."""
        mean, log_variance = self.encoder(images, as_vector(condition, self.spec))
        return mean, log_variance

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` and labels ``[B]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(torch.cat((z, as_vector(condition, self.spec)), dim=1)))
