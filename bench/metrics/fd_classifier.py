"""Fréchet distance of generated to held-out images in the features of the data set's own classifier. Not an FID."""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.comparisons import frechet
from bench.measure.context import Context
from bench.score import Score

VALUES = {"fd_classifier": "lower"}
NEEDS = Model
EXTRACTOR = "classifier"
ENOUGH = 2_000  # images: about as many as its covariance has numbers


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The distance of FID in features that were learned on this data set.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    return {"fd_classifier": frechet(context.features(EXTRACTOR), enough=ENOUGH, unbiased="kid_classifier")}
