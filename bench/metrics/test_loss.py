"""The objective a model minimises, on the held-out split, in nats per image; for a VAE the negative evidence bound."""

from __future__ import annotations

from bench.contract import Data, Features, Model, Unmeasurable, in_order
from bench.training import mean_terms

NEEDS = Model
BETTER = "lower"
EXTRACTOR = None


def measure(model: Model, real: Data, features: Features) -> float:
    """The mean of the term ``loss`` over the held-out images.

    Raises:
        Unmeasurable: the model's players have objectives of their own, so none is the model's.
    """
    terms = mean_terms(model, in_order(real.held_out))
    if "loss" not in terms:
        raise Unmeasurable(f"no single objective: {' and '.join(terms)} have one each")
    return terms["loss"]
