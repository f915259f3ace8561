"""Peak signal-to-noise ratio of reconstructed held-out images, in decibels: the mean over images of 10 log10(1 / MSE)."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.contract import Autoencodes, Data, Features, Model

NEEDS = Autoencodes
BETTER = "higher"
EXTRACTOR = None


def measure(model: Model, real: Data, features: Features) -> float:
    """The mean over the held-out images, each decoded from its mean code."""
    return float(torch.cat([decibels(decoded, images) for decoded, images in features.reconstructed()]).mean())


def decibels(images: Tensor, originals: Tensor) -> Tensor:
    """10 log10(1 / MSE) of each image of ``[B, C, H, W]`` in ``[0, 1]``: ``[B]``; infinite where they are equal."""
    return -10 * (images - originals).square().double().flatten(1).mean(dim=1).log10()
