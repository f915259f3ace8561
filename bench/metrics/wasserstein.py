"""The held-out estimate of the Wasserstein distance that a critic gives, in its own units: Arjovsky et al., 2017, equation 2.

https://arxiv.org/abs/1701.07875. True up to the critic's Lipschitz constant, so it compares epochs of one system and not
two systems.
"""

from __future__ import annotations

from bench.contract import Data, Features, Model, Unmeasurable, in_order
from bench.training import mean_terms

NEEDS = Model
BETTER = "neither"
EXTRACTOR = None


def measure(model: Model, real: Data, features: Features) -> float:
    """The mean of the term ``wasserstein`` over the held-out images.

    Raises:
        Unmeasurable: the model has no critic that estimates it.
    """
    terms = mean_terms(model, in_order(real.held_out))
    if "wasserstein" not in terms:
        raise Unmeasurable(f"no critic estimates it: the terms are {', '.join(terms)}")
    return terms["wasserstein"]
