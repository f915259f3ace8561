"""The share of generated images that the data set's own classifier is sure of: document 000's recognisability."""

from __future__ import annotations

from bench.contract import Data, Features, Model

NEEDS = Model
BETTER = "higher"
EXTRACTOR = "classifier"
SURE = 0.95


def measure(model: Model, real: Data, features: Features) -> float:
    """The share with a class of probability 0.95 or more; that of held-out images stands in the protocol.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    held_out, generated = (
        float((logits.softmax(dim=1).amax(dim=1) >= SURE).double().mean()) for logits in features.logits(EXTRACTOR)
    )
    features.state(sure_from=SURE, recognised_of_held_out=f"{held_out:.4f}")
    return generated
