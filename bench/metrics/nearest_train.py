"""How near generated images are to their nearest training image, over how near held-out ones are: below 1 it copies.

Medians of distances in the features of the data set's own classifier. A copy is at 0, an image that is no closer than a new real
one at 1, and what resembles no training image above.
"""

from __future__ import annotations

from bench.contract import Data, Model
from bench.measure.context import Context
from bench.measure.distances import nearest_distance
from bench.score import Score

VALUES = {"nearest_train": "neither"}
NEEDS = Model
EXTRACTOR = "classifier"
QUERIES = 1000  # images of each kind, at even distances


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The ratio of the two medians.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    train, trained = context.of_training(EXTRACTOR)
    compared = context.features(EXTRACTOR)
    held_out, generated = (
        nearest_distance(images[:: max(1, len(images) // QUERIES)][:QUERIES], train).median()
        for images in (compared.held_out, compared.generated)
    )
    protocol = {**trained, **compared.protocol, "nearest_of": QUERIES}
    return {"nearest_train": Score(float(generated / held_out), protocol=protocol)}
