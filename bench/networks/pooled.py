"""Document 001's networks, appendix 4, which are those of the ACAI paper: pairs of 3x3 convolutions, average pooling, and back.

Berthelot et al., Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer, 2018, appendix B,
https://arxiv.org/abs/1807.07543.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from bench.contract import ImageSpec, Unsupported
from bench.networks.blocks import Activation, check_choice, check_positive, conv, leaky_relu, upsample_block

SLOPE = 0.01  # of the LeakyReLU, as the appendix prints it
ACTIVATIONS: dict[str, Activation] = {"leaky_relu": leaky_relu(SLOPE), "tanh": nn.Tanh}


@dataclass(frozen=True)
class Pooled:
    """The networks for images of one shape.

    Attributes:
        latent_channels: of the code, whose sides are about the image's over ``2 ** blocks``: 16 on 3x32x32 is 16x4x4.
        blocks: pairs of convolutions, each followed by pooling.
        width: channels of the first block; they double from one to the next.
        upsample: ``nearest``, or ``transposed`` convolutions in its place.

    Raises:
        Unsupported: the image is too small, or a choice is none.
    """

    spec: ImageSpec
    latent_channels: int
    blocks: int
    width: int
    activation: str = "leaky_relu"
    upsample: str = "nearest"

    def __post_init__(self) -> None:
        check_positive(latent_channels=self.latent_channels, blocks=self.blocks, width=self.width)
        check_choice("activation", self.activation, tuple(ACTIVATIONS))
        check_choice("upsample", self.upsample, ("nearest", "transposed"))
        if min(self.spec.height, self.spec.width) < 2**self.blocks:
            raise Unsupported(
                f"blocks = {self.blocks}: a {self.spec.height}x{self.spec.width} image is too small to be halved so often"
            )

    @property
    def code_shape(self) -> tuple[int, int, int]:
        """``(latent_channels, h, w)``: the first convolution pads the image by one pixel, then every block halves it."""
        height, width = ((side + 2) // 2**self.blocks for side in (self.spec.height, self.spec.width))
        return self.latent_channels, height, width

    def trunk(self, *, spectral: bool = False) -> nn.Sequential:
        """Images ``[B, C, H, W]`` to features of `features` channels, all of the encoder but its last convolution."""
        activation = ACTIVATIONS[self.activation]
        layers: list[nn.Module] = [conv(self.spec.channels, self.width, 1, padding=1, spectral=spectral)]
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
        return nn.Sequential(*layers)

    @property
    def features(self) -> int:
        """Channels between the encoder's last two convolutions."""
        return int(self.width * 2**self.blocks)

    def head(self, *, spectral: bool = False) -> nn.Sequential:
        """The encoder's last convolution, features to codes ``[B, *code_shape]``."""
        return conv(self.features, self.latent_channels, 3, padding=1, spectral=spectral)

    def encoder(self, *, spectral: bool = False) -> nn.Sequential:
        """Images ``[B, C, H, W]`` to codes ``[B, *code_shape]``."""
        return nn.Sequential(self.trunk(spectral=spectral), self.head(spectral=spectral))

    def decoder(self) -> nn.Sequential:
        """Codes ``[B, *code_shape]`` to logits ``[B, C, H, W]``."""
        activation = ACTIVATIONS[self.activation]
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
        return nn.Sequential(
            *layers,
            conv(inputs, self.width, 3, padding=1, activation=activation),
            conv(self.width, self.spec.channels, 3, padding=1),
        )
