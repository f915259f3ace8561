"""What interpolations between lines are like, on the data set ``lines`` alone.

mean_distance: How far interpolations between lines stray from lines: the cosine distance to the nearest one, over all steps.
smoothness: How unevenly interpolations between lines turn: the largest step's share of the way, less that of an equal step.

Berthelot et al., Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer, 2018, section 4.1,
https://arxiv.org/abs/1807.07543: "mean distance" and "smoothness", which is best at 0.
"""

from __future__ import annotations

from bench.contract import Autoencodes, Data
from bench.measure.context import Context
from bench.measure.distances import unevenness
from bench.measure.interpolation import nearest_line
from bench.score import Score

VALUES = {"mean_distance": "lower", "smoothness": "lower"}
NEEDS = Autoencodes
EXTRACTOR = None


def measure(model: Autoencodes, data: Data, context: Context) -> dict[str, Score]:
    """Means over the interpolations between pairs of held-out lines.

    Raises:
        Unmeasurable: the data set is another.
    """
    distance, angles = nearest_line(model, data)
    return {"mean_distance": Score(float(distance.mean())), "smoothness": Score(float(unevenness(angles).nanmean()))}
