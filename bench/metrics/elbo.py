"""The evidence lower bound of held-out images in nats per image, pixels taken for Bernoulli: log p(x) is at least this.

Kingma and Welling, Auto-Encoding Variational Bayes, 2014, equation 10, https://arxiv.org/abs/1312.6114. The likelihood is the
same for every model, whatever it was trained with; log p(x | y) for a model that is told y.
"""

from __future__ import annotations

from bench.contract import Infers
from bench.data import Data
from bench.measure.context import Context
from bench.measure.likelihood import evidence_bounds, pixels_in_words
from bench.score import Score

VALUES = {"elbo": "higher"}
UNITS = {"elbo": "nats"}
NEEDS = Infers
EXTRACTOR = None


def measure(model: Infers, data: Data, context: Context) -> dict[str, Score]:
    """The mean over the held-out images, with one draw of each code."""
    bound = float(evidence_bounds(model, data.held_out).mean())
    return {"elbo": Score(bound, protocol={"pixels": pixels_in_words(data.held_out.images)})}
