"""The share of held-out images that have a generated one near, in the features of the data set's own classifier.

Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, 2020, https://arxiv.org/abs/2002.09797. A recall that
generated outliers do not raise.
"""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.measure.distances import NEIGHBOURS, manifolds

NEEDS = Model
BETTER = "higher"
EXTRACTOR = "classifier"


def measure(model: Model, real: Data, features: Features) -> float:
    """Equation 3 of the paper, with balls that reach to the fifth neighbour.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    features.state(neighbours=NEIGHBOURS)
    return features.once(EXTRACTOR, manifolds).coverage
