"""How generated and held-out images overlap, in the features of the data set's own classifier.

precision: The share of generated images that lie among the held-out ones: document 000's realism.
recall: The share of held-out images that lie among the generated ones: document 000's uniqueness.
density: How densely held-out images lie around generated ones, 1 for real images: no outlier among the real ones raises it.
coverage: The share of held-out images that have a generated one near: a recall that generated outliers do not raise.

Precision and recall are those of Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019,
https://arxiv.org/abs/1904.06991; density and coverage those of Naeem et al., Reliable Fidelity and Diversity Metrics for
Generative Models, 2020, https://arxiv.org/abs/2002.09797. Their features are VGG's; the classifier's mean something for digits. A
density may exceed 1.
"""

from __future__ import annotations

from bench.contract import Data, Model
from bench.measure.context import Context
from bench.measure.distances import NEIGHBOURS, manifolds
from bench.score import Score

VALUES = {"precision": "higher", "recall": "higher", "density": "higher", "coverage": "higher"}
NEEDS = Model
EXTRACTOR = "classifier"


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """With balls that reach to the fifth neighbour.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    compared = context.features(EXTRACTOR)
    found = manifolds(compared.held_out, compared.generated)
    protocol = {**compared.protocol, "neighbours": NEIGHBOURS}
    return {name: Score(getattr(found, name), protocol=protocol) for name in VALUES}
