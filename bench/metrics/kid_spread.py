"""The standard deviation of the kernel Inception distance over subsets of 1000 images: how far ``kid`` can be trusted."""

from __future__ import annotations

from bench.contract import Data, Features, Model, Unmeasurable
from bench.distances import SUBSET, kernel_distances

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "inception"


def measure(model: Model, real: Data, features: Features) -> float:
    """Over the 100 subsets that ``kid`` is the mean of.

    Raises:
        Unmeasurable: the weights cannot be had here, or there are too few images for subsets that differ.
    """
    if min(map(len, features(EXTRACTOR))) <= SUBSET:
        raise Unmeasurable(f"a subset of {SUBSET} is all there is: ask for more samples with --set samples=N")
    return float(features.once(EXTRACTOR, kernel_distances).std())
