"""The building blocks that all architectures are written in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from bench.contract import ImageSpec, Unsupported

Activation = Callable[[], nn.Module]


def leaky(slope: float) -> Activation:
    """LeakyReLU with a slope below zero."""
    return lambda: nn.LeakyReLU(slope)


def mlp(widths: Sequence[int], activation: Activation = nn.ReLU) -> nn.Sequential:
    """Linear layers from ``widths[0]`` to ``widths[-1]``, the activation between them and none at the end."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def image_mlp(spec: ImageSpec, widths: Sequence[int], activation: Activation = nn.ReLU) -> nn.Sequential:
    """Codes ``[B, widths[0]]`` through ``widths`` to logits or values of an image, ``[B, C, H, W]``."""
    return nn.Sequential(*mlp([*widths, spec.pixels], activation), nn.Unflatten(1, spec.shape))


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    *,
    batch_norm: bool = False,
    spectral: bool = False,
    activation: Activation | None = None,
) -> nn.Sequential:
    """A convolution with what follows it: batch normalisation, then the activation."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding)
    return _followed(spectral_norm(layer) if spectral else layer, outputs, batch_norm, activation)


def conv_transpose(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    padding: int = 0,
    output_padding: int = 0,
    *,
    batch_norm: bool = False,
    spectral: bool = False,
    activation: Activation | None = None,
) -> nn.Sequential:
    """A transposed convolution with what follows it."""
    layer = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding, output_padding)
    return _followed(spectral_norm(layer) if spectral else layer, outputs, batch_norm, activation)


def upsampled_conv(
    inputs: int,
    outputs: int,
    size: tuple[int, int],
    *,
    batch_norm: bool = False,
    spectral: bool = False,
    activation: Activation | None = None,
) -> nn.Sequential:
    """Nearest upsampling to ``size`` and a 3x3 convolution: no checkerboards (Odena et al., Deconvolution and Checkerboard
    Artifacts, 2016; document 001, section 1.1)."""
    after = conv(inputs, outputs, 3, padding=1, batch_norm=batch_norm, spectral=spectral, activation=activation)
    return nn.Sequential(nn.Upsample(size), *after)


def keras_same_transpose(inputs: int, outputs: int, kernel: int, stride: int) -> nn.ConvTranspose2d:
    """Keras's ``Conv2DTranspose(padding="same")`` for odd kernels: the output is exactly ``stride`` times the input."""
    return nn.ConvTranspose2d(inputs, outputs, kernel, stride, kernel // 2, output_padding=stride - 1)


def halvings(spec: ImageSpec, layers: int) -> list[tuple[int, int]]:
    """The sizes that ``layers`` convolutions (kernel 4, stride 2, padding 1) pass through, the image's own first.

    Raises:
        Unsupported: the image is too small for so many.
    """
    sizes = [(spec.height, spec.width)]
    for _ in range(layers):
        sizes.append((sizes[-1][0] // 2, sizes[-1][1] // 2))
    if min(sizes[-1]) < 1:
        most = min(spec.height, spec.width).bit_length() - 1
        raise Unsupported(
            f"conv_layers = {layers}: a {spec.height}x{spec.width} image can be halved {most} times at most"
        )
    return sizes


def reparameterised(mean: Tensor, log_variance: Tensor) -> Tensor:
    """A draw from N(mean, exp(log_variance)) that gradients pass through (Kingma and Welling 2014, section 2.4)."""
    return mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)


def positive(**values: int | float | Sequence[int]) -> None:
    """Refuse sizes that are not positive.

    Raises:
        Unsupported: naming the first that is not.
    """
    for name, value in values.items():
        numbers = value if isinstance(value, Sequence) else [value]
        if any(number <= 0 for number in numbers):
            raise Unsupported(f"{name} = {value}: must be positive")


def chosen(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is none of ``choices``.

    Raises:
        Unsupported: naming the word and the choices.
    """
    if value not in choices:
        raise Unsupported(f"{name} = {value!r}: must be one of {', '.join(choices)}")


def keras_count(module: nn.Module) -> int:
    """Parameters as Keras's ``summary()`` totals them: batch normalisation's moving mean and variance count too."""
    moving = ("running_mean", "running_var")
    counters = sum(buffer.numel() for name, buffer in module.named_buffers() if name.endswith(moving))
    return sum(parameter.numel() for parameter in module.parameters()) + counters


def _followed(layer: nn.Module, channels: int, batch_norm: bool, activation: Activation | None) -> nn.Sequential:
    layers = [layer]
    if batch_norm:
        layers.append(nn.BatchNorm2d(channels))
    if activation is not None:
        layers.append(activation())
    return nn.Sequential(*layers)
