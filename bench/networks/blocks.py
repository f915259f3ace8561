"""The building blocks that all architectures are written in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from bench.contract import ImageSpec, Unsupported

Activation = Callable[[], nn.Module]

MOST_REPEATS = 1000


def leaky_relu(slope: float) -> Activation:
    """LeakyReLU with a slope below zero."""
    return lambda: nn.LeakyReLU(slope)


def mlp(widths: Sequence[int], activation: Activation = nn.ReLU, *, batch_norm: bool = False) -> nn.Sequential:
    """Linear layers from ``widths[0]`` to ``widths[-1]``; between them the activation, after batch normalisation if asked."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths[:-1]):
        layers += dense(inputs, outputs, activation, batch_norm=batch_norm)
    return nn.Sequential(*layers, nn.Linear(widths[-2], widths[-1]))


def dense(inputs: int, outputs: int, activation: Activation, *, batch_norm: bool = False) -> nn.Sequential:
    """A linear layer with what follows it."""
    return nn.Sequential(nn.Linear(inputs, outputs), *([nn.BatchNorm1d(outputs)] if batch_norm else []), activation())


def image_mlp(
    spec: ImageSpec, widths: Sequence[int], activation: Activation = nn.ReLU, *, batch_norm: bool = False
) -> nn.Sequential:
    """Codes ``[B, widths[0]]`` through ``widths`` to logits or values of an image, ``[B, C, H, W]``."""
    layers = mlp([*widths, spec.pixels], activation, batch_norm=batch_norm)
    return nn.Sequential(*layers, nn.Unflatten(1, spec.shape))


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


def upsample_block(
    channels: tuple[int, int],
    sizes: tuple[tuple[int, int], tuple[int, int]],
    upsample: str,
    *,
    batch_norm: bool = False,
    spectral: bool = False,
    activation: Activation | None = None,
) -> nn.Sequential:
    """One step of a decoder from one size to about its double: ``transposed`` convolution (kernel 4), or ``nearest``.

    Raises:
        Unsupported: a transposed convolution cannot reach the size.
    """
    if upsample == "nearest":
        return upsampled_conv(*channels, sizes[1], batch_norm=batch_norm, spectral=spectral, activation=activation)
    missing = sizes[1][0] - 2 * sizes[0][0]  # an odd size was halved downwards
    if missing != sizes[1][1] - 2 * sizes[0][1]:
        raise Unsupported(
            f"transposed convolutions cannot reach {sizes[1][0]}x{sizes[1][1]}; take upsample = 'nearest'"
        )
    return conv_transpose(*channels, 4, 2, 1, missing, batch_norm=batch_norm, spectral=spectral, activation=activation)


class GaussianEncoder(nn.Module):
    """A body, and two heads on its features: the mean and the log-variance of the code."""

    def __init__(self, body: nn.Module, mean: nn.Module, log_variance: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.mean = mean
        self.log_variance = log_variance

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """What the body takes to mean and log-variance."""
        features = self.body(*inputs)
        return self.mean(features), self.log_variance(features)


class Discriminator(nn.Module):
    """A body whose features are the l-th layer that VAE/GANs compare images in, and a head that makes logits of them."""

    def __init__(self, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.head = head

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images ``[B, C, H, W]`` to logits ``[B, classes]`` and features ``[B, ...]``."""
        features = self.body(images)
        return self.head(features), features


def keras_same_conv(inputs: int, outputs: int, kernel: int, stride: int, size: tuple[int, int]) -> nn.Sequential:
    """Keras's ``Conv2D(padding="same")`` on images of ``size``: where the padding is odd, the greater half comes last."""
    down, across = (max(0, (-(-side // stride) - 1) * stride + kernel - side) for side in size)
    padding = (across // 2, across - across // 2, down // 2, down - down // 2)
    return nn.Sequential(nn.ZeroPad2d(padding), nn.Conv2d(inputs, outputs, kernel, stride))


def halved_sizes(spec: ImageSpec, layers: int) -> list[tuple[int, int]]:
    """The sizes that ``layers`` convolutions (kernel 4, stride 2, padding 1) pass through, the image's own first.

    Raises:
        Unsupported: the image is too small for so many.
    """
    if layers > (most := halvings(spec)):
        raise Unsupported(
            f"conv_layers = {layers}: a {spec.height}x{spec.width} image can be halved {most} times at most"
        )
    return [(spec.height // 2**times, spec.width // 2**times) for times in range(layers + 1)]


def halvings(spec: ImageSpec) -> int:
    """How often both sides of an image can be halved before one of them is less than a pixel."""
    return min(spec.height, spec.width).bit_length() - 1


def reparameterised(mean: Tensor, log_variance: Tensor, noise: Tensor | None = None) -> Tensor:
    """A draw from N(mean, exp(log_variance)) that gradients pass through (Kingma and Welling 2014, section 2.4).

    Args:
        noise: draws from N(0, I), where they are not to be drawn here.
    """
    return mean + torch.exp(0.5 * log_variance) * (torch.randn_like(mean) if noise is None else noise)


def one_hot(labels: Tensor, classes: int) -> Tensor:
    """Labels int64 ``[B]`` to float32 ``[B, classes]``.

    Raises:
        ValueError: a label is hidden.
    """
    if bool((labels < 0).any()):
        raise ValueError("a label is hidden: images without labels cannot be conditioned on them")
    return F.one_hot(labels, classes).float()


def normal_weights(network: nn.Module, gain: float = math.sqrt(2)) -> None:
    """Draw all weights anew from N(0, gain^2 / inputs), biases 0; a transposed convolution has the inputs of a pixel on average.

    Document 004, section 4, gives a zero-centred normal and no variance; this one keeps that of the signal through ReLUs (He et
    al., 2015, equation 10).
    """
    for layer in network.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            weight = next(
                own for name, own in layer.named_parameters() if "weight" in name
            )  # that under a parametrisation
            inputs: float = weight[0].numel()
            if isinstance(layer, nn.ConvTranspose2d):  # whose weights are ``[in, out, height, width]``
                inputs = weight[:, 0].numel() / math.prod(layer.stride)
            nn.init.normal_(weight, std=gain / math.sqrt(inputs))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def check_positive(**values: int | float | Sequence[int]) -> None:
    """Refuse sizes that are not positive.

    Raises:
        Unsupported: naming the first that is not.
    """
    for name, value in values.items():
        numbers = value if isinstance(value, Sequence) else [value]
        if any(number <= 0 for number in numbers):
            raise Unsupported(f"{name} = {value}: must be positive")


def check_not_negative(**values: float) -> None:
    """Refuse weights of a loss that would turn it round.

    Raises:
        Unsupported: naming the first that does.
    """
    for name, value in values.items():
        if value < 0:
            raise Unsupported(f"{name} = {value}: must be 0 or more")


def check_repeats(**counts: int) -> None:
    """Refuse numbers of steps that are taken one after another, within one step of training, if they are none or endless.

    Raises:
        Unsupported: naming the first that is.
    """
    for name, count in counts.items():
        if not 1 <= count <= MOST_REPEATS:
            raise Unsupported(f"{name} = {count}: must be positive, and at most {MOST_REPEATS}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
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
