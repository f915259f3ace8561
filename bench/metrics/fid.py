"""Fréchet Inception distance of generated to held-out images, with pytorch-fid's network and weights and no others."""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.comparisons import frechet
from bench.measure.context import Context
from bench.score import Score

VALUES = {"fid": "lower"}
NEEDS = Model
EXTRACTOR = "inception"
ENOUGH = 10_000  # images: the least that Heusel et al. advise


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """Heusel et al. 2017, equation 6, on as many samples as the protocol beside it says.

    Raises:
        Unmeasurable: the weights cannot be had here.
    """
    return {"fid": frechet(context.features(EXTRACTOR), enough=ENOUGH, unbiased="kid")}
