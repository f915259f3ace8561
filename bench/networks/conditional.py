"""The networks of the conditional systems: document 004, sections 4.3 and 4.4, and the discriminator that its others share."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from bench.contract import Condition, ImageSpec, Unsupported
from bench.networks.blocks import (
    Discriminator,
    GaussianEncoder,
    conv,
    conv_transpose,
    dense,
    image_mlp,
    leaky_relu,
    mlp,
    normal_weights,
    one_hot,
)

HIDDEN_WIDTH = 1024  # of section 4.5's fully connected network; section 4.4 prints no size of its own
DRAWN_FOR = 28  # pixels along MNIST's sides, whose widths the document prints; for SVHN's 32 they grow by 8/7


def widened(width: int, spec: ImageSpec) -> int:
    """A width of the document's MNIST networks, grown with the image's side as it is for SVHN."""
    return round(width * spec.height / DRAWN_FOR)


def need_classes(spec: ImageSpec) -> int:
    """The number of classes.

    Raises:
        Unsupported: there are none, so no label can be given.
    """
    if not spec.classes:
        raise Unsupported("a model that is conditioned on labels needs labelled images, and these have none")
    return len(spec.classes)


def condition_width(spec: ImageSpec, condition: Condition) -> int:
    """Numbers in what `as_vector` makes of a condition."""
    if condition == "labels":
        return need_classes(spec)
    return spec.channels * spec.height * (spec.width // 2)


def as_vector(condition: Tensor | None, spec: ImageSpec) -> Tensor:
    """Labels int64 ``[B]`` one-hot, or left halves ``[B, C, H, W // 2]`` flattened: ``[B, D]``.

    Raises:
        ValueError: there is no condition.
    """
    if condition is None:
        raise ValueError("a conditional model needs labels or left halves")
    if condition.dtype == torch.int64:
        return one_hot(condition, len(spec.classes))
    return condition.flatten(1)


def encoder(spec: ImageSpec, latent_dim: int, condition: int) -> GaussianEncoder:
    """conv5-28, conv5-56, conv5-108 with stride 2, joined by ``condition`` numbers, then FC-50 twice."""
    widths = [spec.channels, *(widened(width, spec) for width in (28, 56, 108))]
    sides = spec.height, spec.width
    layers = []
    for pair in pairwise(widths):
        layers.append(conv(*pair, 5, 2, 2, batch_norm=True, activation=nn.ReLU))
        sides = -(-sides[0] // 2), -(-sides[1] // 2)
    flat = widths[-1] * sides[0] * sides[1] + condition
    network = GaussianEncoder(_Joined(nn.Sequential(*layers)), nn.Linear(flat, latent_dim), nn.Linear(flat, latent_dim))
    normal_weights(network)
    return network


def mlp_encoder(spec: ImageSpec, latent_dim: int, condition: int) -> GaussianEncoder:
    """Pixels and ``condition`` numbers through two hidden layers, then mean and log-variance."""
    first = dense(spec.pixels + condition, HIDDEN_WIDTH, nn.Softplus, batch_norm=True)
    layers = nn.Sequential(*first, *dense(HIDDEN_WIDTH, HIDDEN_WIDTH, nn.Softplus, batch_norm=True))
    heads = (nn.Linear(HIDDEN_WIDTH, latent_dim) for _ in range(2))
    network = GaussianEncoder(_Joined(nn.Flatten(), layers), *heads)
    normal_weights(network)
    return network


def mlp_decoder(spec: ImageSpec, inputs: int, classes: int) -> nn.Sequential:
    """Code and condition, ``[B, inputs]``, through two hidden layers to logits ``[B, C, H, W]``.

    Args:
        classes: how many of the last inputs are a one-hot label.
    """
    network = image_mlp(spec, [inputs, HIDDEN_WIDTH, HIDDEN_WIDTH], nn.Softplus, batch_norm=True)
    return _drawn(network, classes)


def decoder(spec: ImageSpec, inputs: int, classes: int) -> nn.Sequential:
    """Code and condition, ``[B, inputs]``, through FC-7*7*128, deconv5-64 and deconv5-32 to logits ``[B, C, H, W]``.

    Args:
        classes: how many of the last inputs are a one-hot label.

    Raises:
        Unsupported: the image's sides do not divide by 4.
    """
    if spec.height % 4 or spec.width % 4:
        raise Unsupported(f"image sides must divide by 4, not {spec.height}x{spec.width}")
    height, width = spec.height // 4, spec.width // 4
    first, second, third = (widened(each, spec) for each in (128, 64, 32))
    network = nn.Sequential(
        dense(inputs, first * height * width, nn.ReLU, batch_norm=True),
        nn.Unflatten(1, (first, height, width)),
        conv_transpose(first, second, 5, 2, 2, 1, batch_norm=True, activation=nn.ReLU),
        conv_transpose(second, third, 5, 2, 2, 1, batch_norm=True, activation=nn.ReLU),
        conv(third, spec.channels, 5, padding=2),
    )
    return _drawn(network, classes)


def discriminator(spec: ImageSpec, outputs: int) -> Discriminator:
    """conv3-16, conv3-32, conv3-64 with stride 2 and FC-512, the feature layer; from there FC-500 to ``outputs`` logits."""
    widths = [spec.channels, *(widened(width, spec) for width in (16, 32, 64))]
    sides = spec.height, spec.width
    layers: list[nn.Module] = []
    for pair in pairwise(widths):
        layers.append(conv(*pair, 3, 2, 1, batch_norm=True, activation=leaky_relu(0.2)))
        sides = -(-sides[0] // 2), -(-sides[1] // 2)
    features = widened(512, spec)
    layers += [nn.Flatten(), dense(widths[-1] * sides[0] * sides[1], features, leaky_relu(0.2), batch_norm=True)]
    head = mlp([features, widened(500, spec), outputs], leaky_relu(0.2), batch_norm=True)
    network = Discriminator(nn.Sequential(*layers), head)
    normal_weights(network)
    return network


def _drawn(network: nn.Sequential, classes: int) -> nn.Sequential:
    """A decoder with `normal_weights`, but for what its first layer makes of a one-hot label: as if no other input were there.

    One of the ``classes`` inputs is on at a time. Among all alike, a label has a fiftieth of the say of a code of 50 numbers: the
    decoder learns to go by that, and draws what it was not asked for.
    """
    normal_weights(network)
    if classes:
        first = next(layer for layer in network.modules() if isinstance(layer, nn.Linear))
        nn.init.normal_(first.weight[:, -classes:], std=math.sqrt(2))
    return network


class _Joined(nn.Module):
    """Images through convolutions, if any, flattened and joined with a condition, and both of them through ``layers``."""

    def __init__(self, convolutions: nn.Module, layers: nn.Module | None = None) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.layers = layers or nn.Identity()

    def forward(self, images: Tensor, condition: Tensor) -> Tensor:
        joined: Tensor = self.layers(torch.cat((self.convolutions(images).flatten(1), condition), dim=1))
        return joined
