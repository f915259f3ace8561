"""The importance-weighted lower bound of held-out images in nats per image: tighter than ``elbo``, pixels Bernoulli too.

Burda et al., Importance Weighted Autoencoders, 2016, equation 8, https://arxiv.org/abs/1509.00519; log p(x | y) for a model that
is told y.
"""

from __future__ import annotations

import math

from bench.contract import Infers
from bench.data import Data
from bench.measure.context import Context
from bench.measure.likelihood import log_weights
from bench.score import Score

VALUES = {"iwae_bound": "higher"}
NEEDS = Infers
EXTRACTOR = None
IMAGES = 500
DRAWS = 50


def measure(model: Infers, data: Data, context: Context) -> dict[str, Score]:
    """The mean over held-out images at even distances through the split, with 50 draws of each code."""
    count = min(IMAGES, len(data.held_out))
    weights = log_weights(model, data.held_out.take(data.held_out.spaced(count)), DRAWS)
    bound = float((weights.logsumexp(dim=0) - math.log(DRAWS)).mean())
    return {"iwae_bound": Score(bound, protocol={"draws": DRAWS, "of_images": count})}
