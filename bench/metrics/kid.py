"""Kernel Inception distance of generated to held-out images: unbiased whatever the number of images, as FID is not.

kid_spread: The standard deviation of the kernel Inception distance over subsets of 1000 images: how far ``kid`` can be trusted.

Bińkowski et al., Demystifying MMD GANs, 2018, section 4, https://arxiv.org/abs/1801.01401, with pytorch-fid's network and
weights.
"""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.comparisons import kernel
from bench.measure.context import Context
from bench.score import Score

VALUES = {"kid": "lower", "kid_spread": "lower"}
NEEDS = Model
EXTRACTOR = "inception"


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """Over 100 subsets of 1000 images, or of as many as there are.

    Raises:
        Unmeasurable: the weights cannot be had here.
    """
    distance, spread = kernel(context.features(EXTRACTOR))
    return {"kid": distance, "kid_spread": spread}
