"""Fréchet distance of generated to held-out images in the features of the data set's own classifier. Not an FID."""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.distances import frechet_distance, moments

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "classifier"


def measure(model: Model, real: Data, features: Features) -> float:
    """The distance of FID in features that were learned on this data set.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    held_out, generated = features(EXTRACTOR)
    return frechet_distance(*moments(held_out), *moments(generated))
