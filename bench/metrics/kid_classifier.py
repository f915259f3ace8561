"""Kernel distance of generated to held-out images in the features of the data set's own classifier. Not a KID.

kid_classifier_spread: The standard deviation over subsets of 1000 images of ``kid_classifier``: how far that can be trusted.

Unbiased whatever the number of images, as the Fréchet distance is not.
"""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.comparisons import kernel
from bench.measure.context import Context
from bench.score import Score

VALUES = {"kid_classifier": "lower", "kid_classifier_spread": "lower"}
NEEDS = Model
EXTRACTOR = "classifier"


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """Over 100 subsets of 1000 images, or of as many as there are.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    distance, spread = kernel(context.features(EXTRACTOR))
    return {"kid_classifier": distance, "kid_classifier_spread": spread}
