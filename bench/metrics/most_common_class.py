"""The share of generated images in the class that the data set's own classifier sees most often: mode collapse shows."""

from __future__ import annotations

from bench.contract import Data, Features, Model

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "classifier"


def measure(model: Model, real: Data, features: Features) -> float:
    """Between one over the number of classes and 1; that of held-out images stands in the protocol.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    held_out, generated = (
        float(logits.argmax(dim=1).bincount().max()) / len(logits) for logits in features.logits(EXTRACTOR)
    )
    features.state(most_common_of_held_out=f"{held_out:.4f}")
    return generated
