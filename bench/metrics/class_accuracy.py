"""The share of images drawn of a class in which the data set's own classifier sees that class."""

from __future__ import annotations

import torch

from bench.contract import HIDDEN, Conditional, Model, Unmeasurable
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score

VALUES = {"class_accuracy": "higher"}
UNITS = {"class_accuracy": "share"}
NEEDS = Conditional
EXTRACTOR = "classifier"


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The mean over the classes, of which there may be more images of one than of another.

    Raises:
        Unmeasurable: the model is not told a class, or the data set has no labels.
    """
    asked = context.generated.labels
    if bool((asked == HIDDEN).any()):
        raise Unmeasurable("it is not told what class to draw")
    seen = context.logits(EXTRACTOR)
    right = (seen.generated.argmax(dim=1) == asked).double()
    shares = torch.stack([right[asked == label].mean() for label in asked.unique()])
    return {"class_accuracy": Score(float(shares.mean()), protocol=seen.protocol)}
