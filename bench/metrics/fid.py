"""Fréchet Inception distance of generated to held-out images, with pytorch-fid's network and weights and no others."""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.measure.distances import frechet_distance

NEEDS = Model
BETTER = "lower"
EXTRACTOR = "inception"
ENOUGH = 10_000  # images: the least that Heusel et al. advise


def measure(model: Model, real: Data, features: Features) -> float:
    """Heusel et al. 2017, equation 6, on as many samples as the protocol beside it says.

    Raises:
        Unmeasurable: the weights cannot be had here.
    """
    held_out, generated = features(EXTRACTOR)
    if min(len(held_out), len(generated)) < ENOUGH:
        features.state(biased="upwards, by few images; kid is not")
    return features.once(EXTRACTOR, frechet_distance)
