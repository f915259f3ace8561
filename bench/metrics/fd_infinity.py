"""``fd_classifier`` extrapolated to infinitely many generated images, so that their number does not bias it. Not an FID.

Chong and Forsyth, Effectively Unbiased FID and Inception Score and Where to Find Them, 2020,
https://arxiv.org/abs/1911.07023. Of held-out images there are as many as there are, which is the same for every model.
"""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.comparisons import at_infinity
from bench.measure.context import Context
from bench.score import Score

VALUES = {"fd_infinity": "lower"}
NEEDS = Model
EXTRACTOR = "classifier"
ENOUGH = 2_000  # images: as for ``fd_classifier``


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """Where a line through the distances of 15 subsets, against one over their size, meets 0; it may be negative.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    return {"fd_infinity": at_infinity(context.features(EXTRACTOR), enough=ENOUGH)}
