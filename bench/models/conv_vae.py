"""The convolutional variational autoencoder: Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

https://arxiv.org/abs/1312.6114. Four architectures: ``unpadded`` is document 002's, listing 2, for 3x64x64 images;
``mirrored`` is document 000's, section 1.3; ``pooled`` is document 001's; ``berthelot`` is that of the ACAI authors' VAE.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Generates, ImageSpec, Infers, Model, Unsupported, Update
from bench.networks.blocks import GaussianEncoder, check_choice, check_positive, conv, conv_transpose, reparameterised
from bench.networks.losses import negative_elbo
from bench.networks.mirrored import Mirrored
from bench.networks.pooled import Pooled

TRAINING: dict[str, Any] = {}


@final
class ConvVAE(Model, Generates, Infers):
    """Convolutions to a code, and back.

    ``unpadded`` takes ``latent_dim`` alone. ``mirrored`` has the options of `Mirrored`. ``pooled`` and
    ``berthelot`` have ``conv_layers`` blocks of `Pooled`, the first ``width`` wide, and a code of ``latent_channels`` small
    pictures in place of ``latent_dim`` numbers.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 32,
        architecture: Literal["unpadded", "mirrored", "pooled", "berthelot"] = "mirrored",
        conv_layers: int = 3,
        linear_layers: Literal[1, 2] = 1,
        linear_width: int = 512,
        width: int = 32,
        spectral_norm: bool = False,
        upsample: Literal["transposed", "nearest"] = "transposed",
        latent_channels: int = 16,
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, conv_layers=conv_layers, linear_width=linear_width, width=width)
        check_positive(latent_channels=latent_channels)
        check_choice("architecture", architecture, ("unpadded", "mirrored", "pooled", "berthelot"))
        self.code_shape: tuple[int, ...] = (latent_dim,)
        self.encoder: GaussianEncoder
        if architecture == "unpadded":
            self.encoder, self.decoder = _unpadded(spec, latent_dim)
        elif architecture == "mirrored":
            mirrored = Mirrored(
                spec, latent_dim, conv_layers, linear_layers, linear_width, width, spectral_norm, upsample
            )
            self.encoder, self.decoder = mirrored.encoder(), mirrored.decoder()
        else:
            authors = architecture == "berthelot"
            pooled = Pooled(spec, latent_channels, conv_layers, width, upsample=upsample, authors=authors)
            self.code_shape = pooled.code_shape
            self.encoder, self.decoder = pooled.gaussian_encoder(), pooled.decoder()

    def players(self) -> dict[str, nn.Module]:
        """One: the vae."""
        return {"vae": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the negative evidence bound, equation 10 with one draw of the code per image."""
        mean, log_variance = self.encoder(batch.images)
        logits = self.decoder(reparameterised(mean, log_variance))
        terms = negative_elbo(logits, batch.images, mean, log_variance)
        update("vae", terms["loss"])
        return terms

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, *code_shape]``."""
        return torch.randn(n, *self.code_shape, device=self.device)

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images ``[B, C, H, W]`` to mean and log-variance, ``[B, *code_shape]`` each."""
        mean, log_variance = self.encoder(images)
        return mean, log_variance

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, *code_shape]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))


def _unpadded(spec: ImageSpec, latent_dim: int) -> tuple[GaussianEncoder, nn.Sequential]:
    if (spec.height, spec.width) != (64, 64):
        raise Unsupported(
            f"architecture = 'unpadded' is for 64x64 images, not {spec.height}x{spec.width}; take 'mirrored'"
        )
    widths = [spec.channels, 32, 64, 128, 256]
    body = nn.Sequential(*(conv(*pair, 4, 2, activation=nn.ReLU) for pair in pairwise(widths)), nn.Flatten())
    flat = 256 * 2 * 2
    decoder = nn.Sequential(
        nn.Linear(latent_dim, flat),
        nn.Unflatten(1, (flat, 1, 1)),
        *(conv_transpose(*layer, 2, activation=nn.ReLU) for layer in ((flat, 128, 5), (128, 64, 5), (64, 32, 6))),
        conv_transpose(32, spec.channels, 6, 2),
    )
    return GaussianEncoder(body, nn.Linear(flat, latent_dim), nn.Linear(flat, latent_dim)), decoder
