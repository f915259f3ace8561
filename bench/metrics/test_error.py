"""The share of held-out images whose class the model tells wrongly, in [0, 1]: document 004, table 1."""

from __future__ import annotations

from bench.contract import Classifies, Data, Features, in_order

NEEDS = Classifies
BETTER = "lower"
EXTRACTOR = None


def measure(model: Classifies, real: Data, features: Features) -> float:
    """The error over all held-out images."""
    batches = in_order(real.held_out)
    wrong = sum(int((model.classify(batch.images).argmax(1) != batch.labels).sum()) for batch in batches)
    return wrong / len(real.held_out)
