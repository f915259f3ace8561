"""What a model's own loss terms come to on the held-out split.

test_loss: The objective a model minimises, on the held-out split, in nats per image; for a VAE the negative evidence bound.
wasserstein: The held-out estimate of the Wasserstein distance that a critic gives, in its own units.

The estimate is that of Arjovsky et al., Wasserstein GAN, 2017, equation 2, https://arxiv.org/abs/1701.07875. It is true up to the
critic's Lipschitz constant, so it compares epochs of one system and not two systems.
"""

from __future__ import annotations

from bench.contract import Model, in_order
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score
from bench.training import mean_terms

VALUES = {"test_loss": "lower", "wasserstein": "neither"}
UNITS = {"test_loss": "nats"}
NEEDS = Model
EXTRACTOR = None


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The means of the terms ``loss`` and ``wasserstein`` over the held-out images, where the model has them."""
    terms = mean_terms(model, in_order(data.held_out))
    without = {
        "test_loss": f"no single objective: {' and '.join(terms)} have one each",
        "wasserstein": f"no critic estimates it: the terms are {', '.join(terms)}",
    }
    asked = {"test_loss": terms.get("loss"), "wasserstein": terms.get("wasserstein")}
    return {name: Score(None, without[name]) if value is None else Score(value) for name, value in asked.items()}
