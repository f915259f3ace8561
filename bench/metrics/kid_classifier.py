"""Kernel distance of generated to held-out images in the features of the data set's own classifier. Not a KID."""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.measure.distances import kernel_distances

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "classifier"


def measure(model: Model, real: Data, features: Features) -> float:
    """The mean over 100 subsets of 1000 images, or of as many as there are: unbiased, as the Fréchet distance is not.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    return float(features.once(EXTRACTOR, kernel_distances).mean())
