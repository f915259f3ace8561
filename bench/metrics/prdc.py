"""How generated and held-out images overlap, in the features of the data set's own classifier: diagnostics all of them.

precision: Diagnostic: the share of generated images that lie among the held-out ones, document 000's realism.
recall: Diagnostic: the share of held-out images that lie among the generated ones, document 000's uniqueness.
density: Diagnostic: how densely held-out images lie around generated ones, 1 for real images: an outlier raises it less.
coverage: Diagnostic: the share of held-out images that have a generated one near: a recall that generated outliers do not raise.
clipped_density: Diagnostic: a density in [0, 1] that outliers do not raise: about the share of generated images that are good.
clipped_coverage: Diagnostic: a coverage made linear: the share of good images that would cover as much of the held-out ones.

Precision and recall are those of Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019,
https://arxiv.org/abs/1904.06991; density and coverage those of Naeem et al., Reliable Fidelity and Diversity Metrics for
Generative Models, 2020, https://arxiv.org/abs/2002.09797; the clipped ones those of Salvy et al., Enhanced Generative Model
Evaluation with Clipped Density and Coverage, 2025, https://arxiv.org/abs/2507.01761. Their features are VGG's and DINOv2's; the
classifier's mean something for digits. A density may exceed 1.

Räisä et al., Position: All Current Generative Fidelity and Diversity Metrics are Flawed, 2025, https://arxiv.org/abs/2505.22450,
find that each of the first four fails some simple check, and the last two, which answer them, pass more and not all of them: they
say where to look and decide nothing.
"""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.context import Context
from bench.measure.manifolds import NEIGHBOURS, manifolds
from bench.score import Score

VALUES = {
    "precision": "higher",
    "recall": "higher",
    "density": "higher",
    "coverage": "higher",
    "clipped_density": "higher",
    "clipped_coverage": "higher",
}
UNITS = {"precision": "share", "recall": "share", "coverage": "share", "clipped_coverage": "share"}
NEEDS = Model
EXTRACTOR = "classifier"


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """With balls that reach to the fifth neighbour.

    Raises:
        Unmeasurable: the data set has no labels, or there are no more than five images of a kind.
    """
    compared = context.features(EXTRACTOR)
    found = manifolds(compared.held_out, compared.generated)
    protocol = {**compared.protocol, "neighbours": NEIGHBOURS, "stands_as": "a diagnostic"}
    return {name: Score(getattr(found, name), protocol=protocol) for name in VALUES}
