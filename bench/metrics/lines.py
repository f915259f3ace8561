"""What interpolations between lines are like, on the data set ``lines`` alone.

mean_distance: How far interpolations between lines stray from lines: the cosine distance to the nearest one, over all steps.
smoothness: How unevenly interpolations between lines turn: the largest step's share of the way, less that of an equal step.

Berthelot et al., Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer, 2018, section 4.1,
https://arxiv.org/abs/1807.07543: "mean distance" and "smoothness", which is best at 0. The latter is a mean over the paths that
lead anywhere; the authors' code counts the others as 0.
"""

from __future__ import annotations

from bench.contract import Autoencodes, Unmeasurable, in_order
from bench.data import Data
from bench.measure.context import Context
from bench.measure.distances import unevenness
from bench.measure.interpolation import LINES, interpolations, nearest_line
from bench.score import Score

VALUES = {"mean_distance": "lower", "smoothness": "lower"}
NEEDS = Autoencodes
EXTRACTOR = None
PAIRS = 256  # of held-out lines
RANGE = "[-1, 1], nothing cut off"
STEPS = 16  # of each interpolation, both ends included; both numbers are the authors'


def measure(model: Autoencodes, data: Data, context: Context) -> dict[str, Score]:
    """Means over the interpolations between pairs of held-out lines.

    Raises:
        Unmeasurable: the data set is another.
    """
    if data.name != "lines":
        raise Unmeasurable(f"is measured on the data set lines alone, not on {data.name}")
    ends = next(in_order(data.held_out, 2 * PAIRS))
    paths = interpolations(model, ends, STEPS, bounded=False)  # the authors cut nothing off
    distance, angles = nearest_line(paths.flatten(0, 1))
    smoothness = unevenness(angles.view(-1, STEPS)).nanmean()
    return {
        "mean_distance": Score(float(distance.mean()), protocol={"nearest_of": LINES, "range": RANGE}),
        "smoothness": Score(float(smoothness), protocol={"nearest_of": LINES}),
    }
