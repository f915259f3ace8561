"""The standard deviation over subsets of 1000 images of ``kid_classifier``: how far that can be trusted."""

from __future__ import annotations

from bench.contract import Data, Features, Model, Unmeasurable
from bench.measure.distances import SUBSET, kernel_distances

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "classifier"


def measure(model: Model, real: Data, features: Features) -> float:
    """Over the 100 subsets that ``kid_classifier`` is the mean of.

    Raises:
        Unmeasurable: the data set has no labels, or there are too few images for subsets that differ.
    """
    held_out, generated = map(len, features(EXTRACTOR))
    if min(held_out, generated) <= SUBSET:
        raise Unmeasurable(
            f"needs more than {SUBSET} images of each kind, not {held_out} held out and {generated} generated"
        )
    return float(features.once(EXTRACTOR, kernel_distances).std())
