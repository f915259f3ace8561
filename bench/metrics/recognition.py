"""What the data set's own classifier sees in generated images, and in held-out ones.

recognised: The share of generated images that the data set's own classifier is sure of: document 000's recognisability.
recognised_held_out: The same share of held-out images: how much ``recognised`` can mean, since the classifier is not calibrated.
most_common_class: The share of generated images in the class that the classifier sees most often: mode collapse shows.
"""

from __future__ import annotations

from torch import Tensor

from bench.contract import Model
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score

VALUES = {"recognised": "higher", "recognised_held_out": "neither", "most_common_class": "lower"}
UNITS = {"recognised": "share", "recognised_held_out": "share", "most_common_class": "share"}
NEEDS = Model
EXTRACTOR = "classifier"
SURE = 0.95  # the probability of a class from which the classifier is sure


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """All in [0, 1]; the last is at least one over the number of classes, and has that of held-out images in its protocol.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    seen = context.logits(EXTRACTOR)
    of_sure = {**seen.protocol, "sure_from": SURE}
    of_common = {**seen.protocol, "most_common_of_held_out": f"{share_most_common(seen.held_out):.4f}"}
    return {
        "recognised": Score(share_sure(seen.generated), protocol=of_sure),
        "recognised_held_out": Score(share_sure(seen.held_out), protocol=of_sure),
        "most_common_class": Score(share_most_common(seen.generated), protocol=of_common),
    }


def share_sure(logits: Tensor) -> float:
    """The share of logits ``[N, K]`` that give some class a probability of 0.95 or more."""
    return float((logits.softmax(dim=1).amax(dim=1) >= SURE).double().mean())


def share_most_common(logits: Tensor) -> float:
    """The share of logits ``[N, K]`` that are largest in the class that is so most often."""
    return float(logits.argmax(dim=1).bincount().max()) / len(logits)
