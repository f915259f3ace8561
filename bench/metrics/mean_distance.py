"""How far interpolations between lines stray from lines: the cosine distance to the nearest one, over all steps.

Berthelot et al., Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer, 2018, section 4.1,
https://arxiv.org/abs/1807.07543: "mean distance". On the data set ``lines`` alone.
"""

from __future__ import annotations

from bench.contract import Autoencodes, Data, Features
from bench.measure.interpolation import nearest_line

NEEDS = Autoencodes
BETTER = "lower"
EXTRACTOR = None


def measure(model: Autoencodes, real: Data, features: Features) -> float:
    """The mean over the interpolations between pairs of held-out lines."""
    distance, _ = nearest_line(model, real)
    return float(distance.mean())
