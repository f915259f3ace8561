"""``fid`` extrapolated to infinitely many generated images, so that their number does not bias it: FID-infinity.

Chong and Forsyth, Effectively Unbiased FID and Inception Score and Where to Find Them, 2020,
https://arxiv.org/abs/1911.07023, with pytorch-fid's network and weights. Of held-out images there are as many as there are.
"""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.comparisons import at_infinity
from bench.measure.context import Context
from bench.score import Score

VALUES = {"fid_infinity": "lower"}
NEEDS = Model
EXTRACTOR = "inception"
ENOUGH = 10_000  # images: the paper's subsets begin at half of them


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """Where a line through the distances of 15 subsets, against one over their size, meets 0; it may be negative.

    Raises:
        Unmeasurable: the weights cannot be had here.
    """
    return {"fid_infinity": at_infinity(context.features(EXTRACTOR), enough=ENOUGH)}
