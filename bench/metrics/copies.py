"""The share of generated images that are nearer to a training image than all but 1 % of held-out ones: 0.01 where none is copied.

Distances are in the features of the data set's own classifier, so that a copy may be shifted or redrawn. Below 0.01 images are
farther from the training images than new ones are.
"""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.context import Context, chosen, spaced
from bench.measure.distances import nearest_distance, share_of_copies
from bench.score import Score

VALUES = {"copies": "neither"}
UNITS = {"copies": "share"}
NEEDS = Model
EXTRACTOR = "classifier"
OF_TRAINING = True
QUERIES = 2000  # images of each kind, from all parts of them: the share is known to some 0.003 where it is 0.01


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """In [0, 1].

    Raises:
        Unmeasurable: the data set has no labels, or copies in its own held-out split.
    """
    train, trained = context.of_training(EXTRACTOR)
    compared = context.features(EXTRACTOR)
    held_out, generated = (
        nearest_distance(spaced(each, QUERIES), train) for each in (compared.held_out, compared.generated)
    )
    most = max(len(compared.held_out), len(compared.generated))
    protocol = {**trained, **compared.protocol, "at_most": QUERIES, **chosen(most, QUERIES)}
    return {"copies": Score(share_of_copies(generated, held_out), protocol=protocol)}
