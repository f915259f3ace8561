"""How unevenly interpolations between lines turn: the largest step's share of the way, less that of an equal step.

Berthelot et al., Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer, 2018, section 4.1,
https://arxiv.org/abs/1807.07543: "smoothness", which is best at 0. On the data set ``lines`` alone.
"""

from __future__ import annotations

from bench.contract import Autoencodes, Data, Features
from bench.measure.distances import unevenness
from bench.measure.interpolation import nearest_line

NEEDS = Autoencodes
BETTER = "lower"
EXTRACTOR = None


def measure(model: Autoencodes, real: Data, features: Features) -> float:
    """The mean over the interpolations between pairs of held-out lines."""
    _, angles = nearest_line(model, real)
    return float(unevenness(angles).nanmean())
