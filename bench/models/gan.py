"""The fully connected generative adversarial network: Goodfellow et al., Generative Adversarial Nets, 2014.

https://arxiv.org/abs/1406.2661. Architecture of document 002, listing 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Generates, ImageSpec, Model, Update
from bench.networks.adversarial import non_saturating
from bench.networks.blocks import check_positive, image_mlp, leaky_relu, mlp

# Document 002's rate and batch. With Adam's usual first moment of 0.9 the generator collapses to one grey blob on MNIST.
TRAINING: dict[str, Any] = {"learning_rate": 1e-3, "betas": (0.5, 0.999), "batch_size": 64}


@final
class GAN(Model, Generates):
    """Noise through ``generator_dims`` to an image, an image through ``discriminator_dims`` to one logit.

    Inside, images are in [-1, 1], where the generator's tanh leaves them.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 64,
        generator_dims: Sequence[int] = (256,),
        discriminator_dims: Sequence[int] = (128,),
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, generator_dims=generator_dims, discriminator_dims=discriminator_dims)
        self.latent_dim = latent_dim
        self.generator = nn.Sequential(*image_mlp(spec, [latent_dim, *generator_dims], leaky_relu(0.01)), nn.Tanh())
        self.discriminator = nn.Sequential(nn.Flatten(), *mlp([spec.pixels, *discriminator_dims, 1], leaky_relu(0.01)))

    def players(self) -> dict[str, nn.Module]:
        """The discriminator and the generator."""
        return {"discriminator": self.discriminator, "generator": self.generator}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One step of each player, the generator's on the non-saturating loss."""
        noise = self.codes(len(batch))
        return non_saturating(self.generator, self.discriminator, batch.images * 2 - 1, noise, update)

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        images: Tensor = (self.generator(z) + 1) / 2
        return images
