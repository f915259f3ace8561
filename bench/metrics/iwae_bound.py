"""The importance-weighted lower bound of held-out images in nats per image: tighter than ``elbo``, pixels Bernoulli too.

Burda et al., Importance Weighted Autoencoders, 2016, equation 8, https://arxiv.org/abs/1509.00519; log p(x | y) for a model that
is told y.
"""

from __future__ import annotations

import math

from bench.contract import Data, Features, Infers
from bench.measure.likelihood import log_weights

NEEDS = Infers
BETTER = "higher"
EXTRACTOR = None
IMAGES = 500
DRAWS = 50


def measure(model: Infers, real: Data, features: Features) -> float:
    """The mean over held-out images at even distances through the split, with 50 draws of each code."""
    count = min(IMAGES, len(real.held_out))
    features.state(draws=DRAWS, of_images=count)
    weights = log_weights(model, real.held_out.take(real.held_out.spaced(count)), DRAWS)
    return float((weights.logsumexp(dim=0) - math.log(DRAWS)).mean())
