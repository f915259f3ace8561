"""How near generated images are to their nearest training image, over how near held-out ones are: below 1 it copies.

Medians of distances in the features of the data set's own classifier. A copy is at 0, an image that is no closer than a new real
one at 1, and what resembles no training image above.
"""

from __future__ import annotations

from bench.contract import Data, Features, Model
from bench.measure.distances import nearest_distance

NEEDS = Model
BETTER = "neither"
EXTRACTOR = "classifier"
QUERIES = 1000  # images of each kind, at even distances


def measure(model: Model, real: Data, features: Features) -> float:
    """The ratio of the two medians.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    train = features.of_training(EXTRACTOR)
    features.state(nearest_of=QUERIES)
    held_out, generated = (
        nearest_distance(images[:: max(1, len(images) // QUERIES)][:QUERIES], train).median()
        for images in features(EXTRACTOR)
    )
    return float(generated / held_out)
