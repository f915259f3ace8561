"""Document 000's networks, section 1.3: strided convolutions to a Gaussian code, a decoder that mirrors them, and a critic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from torch import nn

from bench.contract import ImageSpec, Unsupported
from bench.networks.blocks import (
    Discriminator,
    GaussianEncoder,
    check_choice,
    check_positive,
    conv,
    halved_sizes,
    leaky_relu,
    mlp,
    upsample_block,
)

SLOPE = 0.2  # of the LeakyReLU, which document 000 does not give; document 001 calls it current best practice


@dataclass(frozen=True)
class Mirrored:
    """The three networks for images of one shape.

    Attributes:
        conv_layers: convolutions (kernel 4, stride 2, padding 1), batch normalised unless told otherwise, with LeakyReLU.
        linear_layers: 1 for the heads of mean and log-variance alone, 2 for a layer of ``linear_width`` before them.
        width: channels of the first convolution; they double from one to the next.
        spectral_norm: of every convolution.
        upsample: ``transposed`` convolutions, or ``nearest`` upsampling and a convolution.

    Raises:
        Unsupported: the image is too small, or a choice is none.
    """

    spec: ImageSpec
    latent_dim: int
    conv_layers: int
    linear_layers: int
    linear_width: int
    width: int
    spectral_norm: bool
    upsample: str

    def __post_init__(self) -> None:
        check_positive(
            latent_dim=self.latent_dim,
            conv_layers=self.conv_layers,
            linear_width=self.linear_width,
            width=self.width,
        )
        check_choice("upsample", self.upsample, ("transposed", "nearest"))
        if self.linear_layers not in (1, 2):
            raise Unsupported(f"linear_layers = {self.linear_layers}: must be 1 or 2")
        halved_sizes(self.spec, self.conv_layers)  # which refuses too many, before their channels are counted

    def encoder(self) -> GaussianEncoder:
        """Images ``[B, C, H, W]`` to mean and log-variance, ``[B, latent_dim]`` each."""
        layers: list[nn.Module] = [*self._convolutions(), nn.Flatten()]
        features = self._flat
        if self.linear_layers == 2:
            layers += [nn.Linear(features, self.linear_width), leaky_relu(SLOPE)()]
            features = self.linear_width
        heads = (nn.Linear(features, self.latent_dim) for _ in range(2))
        return GaussianEncoder(nn.Sequential(*layers), *heads)

    def decoder(self) -> nn.Sequential:
        """Codes ``[B, latent_dim]`` to logits ``[B, C, H, W]``."""
        hidden = [self.linear_width] if self.linear_layers == 2 else []
        steps = list(zip(pairwise(reversed(self._channels)), pairwise(reversed(self._sizes)), strict=True))
        spectral = self.spectral_norm
        inner = [
            upsample_block(*step, self.upsample, batch_norm=True, spectral=spectral, activation=leaky_relu(SLOPE))
            for step in steps[:-1]
        ]
        return nn.Sequential(
            *mlp([self.latent_dim, *hidden, self._flat], leaky_relu(SLOPE)),
            nn.Unflatten(1, (self._channels[-1], *self._sizes[-1])),
            *inner,
            upsample_block(*steps[-1], self.upsample, spectral=spectral),
        )

    def critic(self, *, batch_norm: bool = True) -> Discriminator:
        """Images ``[B, C, H, W]`` to one logit ``[B, 1]`` and the features before it.

        The encoder's convolutions, then one apart that spans what is left of the image.
        """
        last = nn.Conv2d(self._channels[-1], 1, self._sizes[-1])
        return Discriminator(nn.Sequential(*self._convolutions(batch_norm)), nn.Sequential(last, nn.Flatten()))

    def _convolutions(self, batch_norm: bool = True) -> list[nn.Sequential]:
        return [
            conv(*pair, 4, 2, 1, batch_norm=batch_norm, spectral=self.spectral_norm, activation=leaky_relu(SLOPE))
            for pair in pairwise(self._channels)
        ]

    @property
    def _sizes(self) -> list[tuple[int, int]]:
        return halved_sizes(self.spec, self.conv_layers)

    @property
    def _channels(self) -> list[int]:
        return [self.spec.channels, *(self.width * 2**layer for layer in range(self.conv_layers))]

    @property
    def _flat(self) -> int:
        height, width = self._sizes[-1]
        return self._channels[-1] * height * width
