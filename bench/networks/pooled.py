"""The networks of the ACAI paper and those that document 001 made of them: pairs of 3x3 convolutions, average pooling, and back.

Berthelot et al., Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer, 2018, appendix B,
https://arxiv.org/abs/1807.07543, and their code, https://github.com/brain-research/acai; document 001, appendix 4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from bench.contract import ImageSpec, Unsupported
from bench.networks.blocks import (
    Activation,
    GaussianEncoder,
    check_choice,
    check_positive,
    conv,
    halvings,
    leaky_relu,
    normal_weights,
    upsample_block,
)

SLOPE = 0.01  # of the LeakyReLU, as document 001's appendix prints it
AUTHORS_SLOPE = 0.2


@dataclass(frozen=True)
class Pooled:
    """The networks for images of one shape.

    Attributes:
        latent_channels: of the code, whose sides are about the image's over ``2 ** blocks``: 16 on 3x32x32 is 16x4x4.
        blocks: pairs of convolutions, each followed by pooling.
        width: channels of the first block; they double from one to the next.
        upsample: ``nearest``, or ``transposed`` convolutions in its place.
        authors: as the paper's authors have it, where document 001 differs: LeakyReLU with a slope of 0.2 in place of 0.01, no
            padding around the first convolution of 1x1, images taken in [-1, 1], and weights from N(0, 1 / (1.04 inputs)).

    Raises:
        Unsupported: the image is too small, or a choice is none.
    """

    spec: ImageSpec
    latent_channels: int
    blocks: int
    width: int
    activation: str = "leaky_relu"
    upsample: str = "nearest"
    authors: bool = False

    def __post_init__(self) -> None:
        check_positive(latent_channels=self.latent_channels, blocks=self.blocks, width=self.width)
        check_choice("activation", self.activation, ("leaky_relu", "tanh"))
        check_choice("upsample", self.upsample, ("nearest", "transposed"))
        if self.blocks > halvings(self.spec):
            raise Unsupported(
                f"blocks = {self.blocks}: a {self.spec.height}x{self.spec.width} image is too small to be halved so often"
            )

    @property
    def code_shape(self) -> tuple[int, int, int]:
        """``(latent_channels, h, w)``: document 001's first convolution pads by one pixel, then every block halves the image."""
        edge = 0 if self.authors else 2
        height, width = ((side + edge) // 2**self.blocks for side in (self.spec.height, self.spec.width))
        return self.latent_channels, height, width

    def trunk(self, *, spectral: bool = False) -> nn.Sequential:
        """Images ``[B, C, H, W]`` to features of `features` channels, all of the encoder but its last convolution."""
        activation = self._activation
        padding = 0 if self.authors else 1
        layers: list[nn.Module] = [conv(self.spec.channels, self.width, 1, padding=padding, spectral=spectral)]
        if self.authors:
            layers.insert(0, _Symmetric())
        inputs = self.width
        for block in range(self.blocks):
            outputs = self.width * 2**block
            layers += [
                conv(inputs, outputs, 3, padding=1, spectral=spectral, activation=activation),
                conv(outputs, outputs, 3, padding=1, spectral=spectral, activation=activation),
                nn.AvgPool2d(2),
            ]
            inputs = outputs
        layers.append(conv(inputs, self.features, 3, padding=1, spectral=spectral, activation=activation))
        return self._drawn(nn.Sequential(*layers))

    @property
    def features(self) -> int:
        """Channels between the encoder's last two convolutions."""
        return int(self.width * 2**self.blocks)

    def head(self, *, spectral: bool = False) -> nn.Sequential:
        """The encoder's last convolution, features to codes ``[B, *code_shape]``."""
        return self._drawn(conv(self.features, self.latent_channels, 3, padding=1, spectral=spectral))

    def encoder(self, *, spectral: bool = False) -> nn.Sequential:
        """Images ``[B, C, H, W]`` to codes ``[B, *code_shape]``."""
        return nn.Sequential(self.trunk(spectral=spectral), self.head(spectral=spectral))

    def gaussian_encoder(self) -> GaussianEncoder:
        """Images ``[B, C, H, W]`` to mean and log-variance, ``[B, *code_shape]`` each.

        The authors' VAE has a linear layer for each behind the encoder. Document 001 has no VAE: its last convolution is taken
        twice.
        """
        if not self.authors:
            return GaussianEncoder(self.trunk(), self.head(), self.head())
        units = math.prod(self.code_shape)
        heads = []
        for _ in range(2):
            layer = nn.Linear(units, units)
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
            heads.append(nn.Sequential(layer, nn.Unflatten(1, self.code_shape)))
        return GaussianEncoder(nn.Sequential(self.encoder(), nn.Flatten()), *heads)

    def decoder(self) -> nn.Sequential:
        """Codes ``[B, *code_shape]`` to the last values of images, ``[B, C, H, W]``: see `bench.networks.losses.image_of`."""
        activation = self._activation
        layers: list[nn.Module] = []
        inputs, size = self.latent_channels, self.code_shape[1:]
        for block in reversed(range(self.blocks)):
            outputs = self.width * 2**block
            larger = self.spec.height // 2**block, self.spec.width // 2**block
            layers += [
                conv(inputs, outputs, 3, padding=1, activation=activation),
                conv(outputs, outputs, 3, padding=1, activation=activation),
            ]
            if self.upsample == "nearest":
                layers.append(nn.Upsample(larger))
            else:
                layers.append(upsample_block((outputs, outputs), (size, larger), "transposed"))
            inputs, size = outputs, larger
        return self._drawn(
            nn.Sequential(
                *layers,
                conv(inputs, self.width, 3, padding=1, activation=activation),
                conv(self.width, self.spec.channels, 3, padding=1),
            )
        )

    @property
    def _activation(self) -> Activation:
        return nn.Tanh if self.activation == "tanh" else leaky_relu(AUTHORS_SLOPE if self.authors else SLOPE)

    def _drawn(self, network: nn.Sequential) -> nn.Sequential:
        """The network with the authors' weights, where they are asked for: document 001 "discarded" them."""
        if self.authors:
            normal_weights(network, gain=1 / math.sqrt(1 + AUTHORS_SLOPE**2))
        return network


class _Symmetric(nn.Module):
    """Images in [0, 1] to [-1, 1]."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 2 - 1
