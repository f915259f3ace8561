"""The share of held-out images whose class the model tells wrongly, in [0, 1]: document 004, table 1."""

from __future__ import annotations

from bench.contract import Classifies, in_order
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score

VALUES = {"test_error": "lower"}
UNITS = {"test_error": "share"}
NEEDS = Classifies
EXTRACTOR = None


def measure(model: Classifies, data: Data, context: Context) -> dict[str, Score]:
    """The error over all held-out images."""
    batches = in_order(data.held_out)
    wrong = sum(int((model.classify(batch.images).argmax(1) != batch.labels).sum()) for batch in batches)
    return {"test_error": Score(wrong / len(data.held_out))}
