"""The share of images drawn of a class in which the data set's own classifier sees that class."""

from __future__ import annotations

from bench.contract import HIDDEN, Conditional, Data, Features, Model, Unmeasurable

NEEDS = Conditional
BETTER = "higher"
EXTRACTOR = "classifier"


def measure(model: Model, real: Data, features: Features) -> float:
    """Over as many images of every class.

    Raises:
        Unmeasurable: the model is not told a class, or the data set has no labels.
    """
    asked = features.generated.labels
    if bool((asked == HIDDEN).any()):
        raise Unmeasurable("it is not told what class to draw")
    _, generated = features.logits(EXTRACTOR)
    return float((generated.argmax(dim=1) == asked).double().mean())
