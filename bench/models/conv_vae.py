"""The convolutional variational autoencoder: Kingma and Welling, Auto-Encoding Variational Bayes, 2014.

https://arxiv.org/abs/1312.6114. Two architectures: ``unpadded`` is document 002's, listing 2, for 3x64x64 images; ``mirrored``
is document 000's, section 1.3, for any size.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, ImageSpec, Model, Unsupported, Update
from bench.losses import negative_bound
from bench.nets import (
    chosen,
    conv,
    conv_transpose,
    halvings,
    leaky,
    mlp,
    positive,
    reparameterised,
    upsampled_conv,
)

TRAINING: dict[str, Any] = {}
SLOPE = 0.2  # of the LeakyReLU, which document 000 does not give; document 001 calls it current best practice


@final
class ConvVAE(Model):
    """Convolutions to a code, and back.

    ``unpadded`` takes ``latent_dim`` alone. ``mirrored`` has ``conv_layers`` convolutions (kernel 4, stride 2, padding 1)
    whose channels double from ``width``, then ``linear_layers`` linear layers, the last being the heads of mean and
    log-variance, with ``linear_width`` units where there are two; ``upsample`` says how its decoder grows.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 32,
        architecture: Literal["unpadded", "mirrored"] = "mirrored",
        conv_layers: int = 3,
        linear_layers: Literal[1, 2] = 1,
        linear_width: int = 512,
        width: int = 32,
        spectral_norm: bool = False,
        upsample: Literal["transposed", "nearest"] = "transposed",
    ) -> None:
        super().__init__()
        positive(latent_dim=latent_dim, conv_layers=conv_layers, linear_width=linear_width, width=width)
        chosen("architecture", architecture, ("unpadded", "mirrored"))
        chosen("upsample", upsample, ("transposed", "nearest"))
        if linear_layers not in (1, 2):
            raise Unsupported(f"linear_layers = {linear_layers}: must be 1 or 2")
        self.latent_dim = latent_dim
        if architecture == "unpadded":
            if (spec.height, spec.width) != (64, 64):
                raise Unsupported(
                    f"architecture = 'unpadded' is for 64x64 images, not {spec.height}x{spec.width}; take 'mirrored'"
                )
            widths = [spec.channels, 32, 64, 128, 256]
            encoder = [conv(*pair, 4, 2, activation=nn.ReLU) for pair in pairwise(widths)]
            flat = 256 * 2 * 2
            self.encoder = nn.Sequential(*encoder, nn.Flatten())
            shrinking = [(flat, 128, 5), (128, 64, 5), (64, 32, 6)]
            self.decoder = nn.Sequential(
                nn.Linear(latent_dim, flat),
                nn.Unflatten(1, (flat, 1, 1)),
                *(conv_transpose(*layer, 2, activation=nn.ReLU) for layer in shrinking),
                conv_transpose(32, spec.channels, 6, 2),
            )
        else:
            sizes = halvings(spec, conv_layers)
            channels = [spec.channels, *(width * 2**layer for layer in range(conv_layers))]
            activation = leaky(SLOPE)
            hidden = [linear_width] if linear_layers == 2 else []
            spatial = (channels[-1], *sizes[-1])
            flat = channels[-1] * sizes[-1][0] * sizes[-1][1]
            after_convolutions: list[nn.Module] = [nn.Flatten()]
            before_convolutions = mlp([latent_dim, *hidden, flat], activation)
            if hidden:
                after_convolutions += [nn.Linear(flat, linear_width), activation()]
            self.encoder = nn.Sequential(
                *(
                    conv(*pair, 4, 2, 1, batch_norm=True, spectral=spectral_norm, activation=activation)
                    for pair in pairwise(channels)
                ),
                *after_convolutions,
            )
            growing = list(zip(pairwise(reversed(channels)), pairwise(reversed(sizes)), strict=True))
            self.decoder = nn.Sequential(
                *before_convolutions,
                nn.Unflatten(1, spatial),
                *(
                    _growth(pair, steps, upsample, spectral_norm, last=index == len(growing) - 1)
                    for index, (pair, steps) in enumerate(growing)
                ),
            )
            flat = hidden[0] if hidden else flat
        self.mean = nn.Linear(flat, latent_dim)
        self.log_variance = nn.Linear(flat, latent_dim)

    def players(self) -> dict[str, nn.Module]:
        """One: the vae."""
        return {"vae": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the negative evidence bound, equation 10 with one draw of the code per image."""
        features = self.encoder(batch.images)
        mean, log_variance = self.mean(features), self.log_variance(features)
        logits = self.decoder(reparameterised(mean, log_variance))
        terms = negative_bound(logits, batch.images, mean, log_variance)
        update("vae", terms["loss"])
        return terms

    def sample(self, n: int, labels: Tensor | None = None) -> Tensor:
        """Decode ``n`` draws from the prior; pixels are the Bernoulli means."""
        return self.decode(torch.randn(n, self.latent_dim, device=self.device))

    def encode(self, images: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` to the means of their codes ``[B, latent_dim]``."""
        mean: Tensor = self.mean(self.encoder(images))
        return mean

    def decode(self, z: Tensor) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))


def _growth(
    channels: tuple[int, int],
    sizes: tuple[tuple[int, int], tuple[int, int]],
    upsample: str,
    spectral: bool,
    *,
    last: bool,
) -> nn.Module:
    """One step of the decoder, from one size to the next; logits, with nothing after them, where it is the last."""
    batch_norm, activation = not last, None if last else leaky(SLOPE)
    if upsample == "nearest":
        return upsampled_conv(*channels, sizes[1], batch_norm=batch_norm, spectral=spectral, activation=activation)
    missing = sizes[1][0] - 2 * sizes[0][0]  # an odd size was halved downwards
    if missing != sizes[1][1] - 2 * sizes[0][1]:
        raise Unsupported(
            f"transposed convolutions cannot reach {sizes[1][0]}x{sizes[1][1]}; take upsample = 'nearest'"
        )
    return conv_transpose(*channels, 4, 2, 1, missing, batch_norm=batch_norm, spectral=spectral, activation=activation)
