"""Fréchet Inception distance of generated to held-out images, with pytorch-fid's network and weights and no others."""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.distances import frechet_distance, moments

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "inception"


def measure(model: Model, real: Data, features: Features) -> float:
    """Heusel et al. 2017, equation 6, on as many samples as the protocol beside it says.

    Raises:
        Unmeasurable: the weights cannot be had here.
    """
    held_out, generated = features(EXTRACTOR)
    return frechet_distance(*moments(held_out), *moments(generated))
