"""Fréchet distance of generated to held-out images in the features of the data set's own classifier. Not an FID."""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.measure.distances import frechet_distance

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "classifier"
ENOUGH = 2_000  # images: about as many as its covariance has numbers


def measure(model: Model, real: Data, features: Features) -> float:
    """The distance of FID in features that were learned on this data set.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    held_out, generated = features(EXTRACTOR)
    if min(len(held_out), len(generated)) < ENOUGH:
        features.state(biased="upwards, by few images; kid_classifier is not")
    return features.once(EXTRACTOR, frechet_distance)
