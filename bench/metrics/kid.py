"""Kernel Inception distance of generated to held-out images: unbiased whatever the number of images, as FID is not.

Bińkowski et al., Demystifying MMD GANs, 2018, section 4, https://arxiv.org/abs/1801.01401, with pytorch-fid's network and
weights.
"""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.measure.distances import kernel_distances

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "inception"


def measure(model: Model, real: Data, features: Features) -> float:
    """The mean over 100 subsets of 1000 images, or of as many as there are; ``kid_spread`` is their standard deviation.

    Raises:
        Unmeasurable: the weights cannot be had here.
    """
    return float(features.once(EXTRACTOR, kernel_distances).mean())
