"""The networks of the semi-supervised systems: document 004, section 4.5, after Kingma et al., 2014 (their M2)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract import Batch, ImageSpec, Unsupported
from bench.networks.blocks import Activation, conv, dense, image_mlp, mlp, normal_weights, one_hot

HIDDEN_WIDTH = 1024
OUTPUT_DEVIATION = 1e-3  # of all weights at first in Kingma et al.'s code, https://github.com/dpkingma/nips14-ssl

Weighting = Literal["images", "batch"]
"""Whether labelled and other images weigh in a loss by how many there are to learn from, or by how many stand in a batch."""


class M2Networks(nn.Module):
    """q(y | x), q(z | x, y) and p(x | y, z), the first two from one trunk.

    The log-variance of q(z | x, y) depends on the image alone, as printed. Batch normalisation stands everywhere but at the
    outputs; weights are drawn from a zero-centred normal, those of the outputs from one of `OUTPUT_DEVIATION`. So at first no
    label explains an image better than another, and the labels that are known have the first word: at a deviation that keeps
    the signal's, the bound's gradient on q(y | x) was 70 times that of the classification, and q followed clusters of images.
    For the same reason the decoder's label has no more say than any of its inputs: where it is heard at once, as that of a
    `CVAE` is, q is held to what it guessed first (30 and 27 % wrong where 17 % are, after 2,000 steps with 1,000 labels).
    """

    def __init__(self, spec: ImageSpec, latent_dim: int, *, convolutional: bool) -> None:
        super().__init__()
        self.classes = _classes(spec)
        activation: Activation = nn.ReLU if convolutional else nn.Softplus
        self.trunk = _trunk(spec, convolutional)
        self.log_variance = nn.Linear(HIDDEN_WIDTH, latent_dim)
        self.classifier = nn.Linear(HIDDEN_WIDTH, self.classes)
        # One layer on the concatenation of h1 and y, in two summands: over all labels, h1 goes through it once.
        self.mean_of_features = nn.Linear(HIDDEN_WIDTH, HIDDEN_WIDTH)
        self.mean_of_label = nn.Linear(self.classes, HIDDEN_WIDTH, bias=False)
        self.mean = nn.Sequential(nn.BatchNorm1d(HIDDEN_WIDTH), activation(), nn.Linear(HIDDEN_WIDTH, latent_dim))
        self.decoder: nn.Module = (
            _ConvDecoder(spec, latent_dim, self.classes)
            if convolutional
            else _LinearDecoder(spec, latent_dim, self.classes)
        )
        normal_weights(self)
        for output in (self.log_variance, self.classifier, _last(self.mean), _last(self.decoder)):
            nn.init.normal_(output.weight, std=OUTPUT_DEVIATION)

    def infer(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Images ``[B, C, H, W]`` to what the mean takes of them ``[B, 1024]``, the log-variance ``[B, Z]`` and the logits
        of q(y | x) ``[B, K]``."""
        features = self.trunk(images)
        return self.mean_of_features(features), self.log_variance(features), self.classifier(features)

    def means(self, features: Tensor, labels: Tensor) -> Tensor:
        """Features of `infer` and one-hot labels ``[B, K]`` to the mean of q(z | x, y), ``[B, Z]``."""
        means: Tensor = self.mean(features + self.mean_of_label(labels))
        return means

    def every_label(self, images: int) -> Tensor:
        """One-hot labels ``[K * images, K]``: each class for as many images, class by class."""
        labels = torch.eye(self.classes, device=self.classifier.weight.device)
        return labels.repeat_interleave(images, dim=0)

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        """Codes ``[B, Z]`` and one-hot labels ``[B, K]`` to logits ``[B, C, H, W]``."""
        logits: Tensor = self.decoder(z, labels)
        return logits

    def posterior(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of q(z | x, y), ``[B, Z]`` each, of labels int64 ``[B]`` or else of the likeliest."""
        features, log_variance, class_logits = self.infer(images)
        labels = class_logits.argmax(1) if labels is None else labels
        return self.means(features, one_hot(labels, self.classes)), log_variance

    def images(self, z: Tensor, labels: Tensor | None) -> Tensor:
        """Codes ``[B, Z]`` and labels int64 ``[B]`` to images ``[B, C, H, W]`` in ``[0, 1]``.

        Raises:
            ValueError: there are no labels.
        """
        if labels is None:
            raise ValueError("a conditional model needs labels")
        return self.decode(z, one_hot(labels, self.classes)).sigmoid()

    def labels(self, n: int) -> Tensor:
        """``n`` labels from their prior, in which every class is as likely as any other."""
        return torch.randint(self.classes, (n,), device=self.classifier.weight.device)


def stacked(values: Tensor, known: Tensor, hidden: Tensor, classes: int) -> Tensor:
    """The rows ``[B, ...]`` of labelled images, then those of the others once for every class, as `every_label` has them.

    Args:
        known: bool ``[B]``, of the labelled.
        hidden: bool ``[B]``, of the others.
    """
    return torch.cat((values[known], values[hidden].repeat(classes, *[1] * (values.ndim - 1))))


def expected(values: Tensor, class_logits: Tensor) -> Tensor:
    """The mean under q(y | x) of ``values [K * B]``, class by class as `M2Networks.every_label` has them: ``[B]``."""
    return (class_logits.float().softmax(1) * values.view(class_logits.shape[1], -1).T).sum(1)


def classifier(spec: ImageSpec, *, convolutional: bool) -> nn.Sequential:
    """q(y | x) by itself: images ``[B, C, H, W]`` to logits ``[B, K]``.

    Raises:
        Unsupported: there are no classes to tell apart.
    """
    network = nn.Sequential(_trunk(spec, convolutional), nn.Linear(HIDDEN_WIDTH, _classes(spec)))
    normal_weights(network)
    return network


def labelled_share(batch: Batch, known: Tensor, weighting: Weighting) -> Tensor | float:
    """What the mean over the labelled images of a batch weighs, where the mean over the others weighs the rest of 1.

    Args:
        known: bool ``[B]``, which have a label.
    """
    if weighting == "batch" or batch.weights is None:
        return int(known.sum()) / len(batch)
    return batch.weights[known].sum() / len(batch)


def entropy(class_logits: Tensor) -> Tensor:
    """H(q(y | x)) in nats, of logits ``[B, K]``: ``[B]``."""
    log_probabilities = F.log_softmax(class_logits.float(), 1)
    return -(log_probabilities.exp() * log_probabilities).sum(1)


class _LinearDecoder(nn.Module):
    def __init__(self, spec: ImageSpec, latent_dim: int, classes: int) -> None:
        super().__init__()
        widths = [latent_dim + classes, HIDDEN_WIDTH, HIDDEN_WIDTH]
        self.layers = image_mlp(spec, widths, nn.Softplus, batch_norm=True)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = self.layers(torch.cat((z, labels), dim=1))
        return logits


class _ConvDecoder(nn.Module):
    """The label joins after the convolutions, as printed."""

    def __init__(self, spec: ImageSpec, latent_dim: int, classes: int) -> None:
        super().__init__()
        height, width = spec.height // 4, spec.width // 4
        self.image = nn.Sequential(
            dense(latent_dim, 500, nn.ReLU, batch_norm=True),
            dense(500, 50 * height * width, nn.ReLU, batch_norm=True),
            nn.Unflatten(1, (50, height, width)),
            nn.Upsample((spec.height // 2, spec.width // 2)),
            conv(50, 20, 5, 1, 2, batch_norm=True, activation=nn.ReLU),
            nn.Upsample((spec.height, spec.width)),
            conv(20, spec.channels, 5, 1, 2, batch_norm=True, activation=nn.ReLU),
            nn.Flatten(),
        )
        self.output = nn.Sequential(
            *mlp([spec.pixels + classes, 512, spec.pixels], batch_norm=True), nn.Unflatten(1, spec.shape)
        )

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        logits: Tensor = self.output(torch.cat((self.image(z), labels), dim=1))
        return logits


def _last(network: nn.Module) -> nn.Linear:
    return [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]


def _classes(spec: ImageSpec) -> int:
    if len(spec.classes) < 2:
        raise Unsupported(f"semi-supervised learning needs labelled classes, and these images have {len(spec.classes)}")
    return len(spec.classes)


def _trunk(spec: ImageSpec, convolutional: bool) -> nn.Sequential:
    return _conv_trunk(spec) if convolutional else _linear_trunk(spec)


def _linear_trunk(spec: ImageSpec) -> nn.Sequential:
    first = dense(spec.pixels, HIDDEN_WIDTH, nn.Softplus, batch_norm=True)
    return nn.Sequential(nn.Flatten(), *first, *dense(HIDDEN_WIDTH, HIDDEN_WIDTH, nn.Softplus, batch_norm=True))


def _conv_trunk(spec: ImageSpec) -> nn.Sequential:
    if min(spec.height, spec.width) < 4:
        raise Unsupported(f"backbone = 'conv' halves the image twice, and this one is {spec.height}x{spec.width}")
    return nn.Sequential(
        conv(spec.channels, 20, 5, 1, 2, batch_norm=True, activation=nn.ReLU),
        nn.MaxPool2d(2),
        conv(20, 50, 5, 1, 2, batch_norm=True, activation=nn.ReLU),
        nn.MaxPool2d(2),
        nn.Flatten(),
        dense(50 * (spec.height // 4) * (spec.width // 4), HIDDEN_WIDTH, nn.ReLU, batch_norm=True),
    )
