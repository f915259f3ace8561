"""Mean squared error of reconstructed held-out images, per pixel, of images in [0, 1]."""

from __future__ import annotations

from bench.contract import Autoencodes, Data, Features, Model

NEEDS = Autoencodes
BETTER = "lower"
EXTRACTOR = None


def measure(model: Model, real: Data, features: Features) -> float:
    """The mean over all pixels of all held-out images, each decoded from its mean code."""
    total = sum(float((decoded - images).square().double().sum()) for decoded, images in features.reconstructed())
    return total / real.held_out.images.numel()
