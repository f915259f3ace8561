"""The share of generated images that lie among the held-out ones, in the features of the data set's own classifier.

Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019, https://arxiv.org/abs/1904.06991:
document 000's realism. Their features are VGG's; the classifier's mean something for digits.
"""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.measure.distances import NEIGHBOURS, manifolds

NEEDS = Model
BETTER = "higher"
EXTRACTOR = "classifier"


def measure(model: Model, real: Data, features: Features) -> float:
    """Equation 1 of the paper, with balls that reach to the fifth neighbour.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    features.state(neighbours=NEIGHBOURS)
    return features.once(EXTRACTOR, manifolds).precision
