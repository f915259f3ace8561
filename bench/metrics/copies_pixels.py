"""``copies`` by distances in pixels: the share of images copied as they are, with no classifier between; 0.01 where none is."""

from __future__ import annotations

import torch

from bench.contract import Model
from bench.data import Data
from bench.measure.context import Context, chosen, spaced
from bench.measure.distances import nearest_distance, share_of_copies
from bench.score import Score

VALUES = {"copies_pixels": "neither"}
UNITS = {"copies_pixels": "share"}
NEEDS = Model
EXTRACTOR = None
QUERIES = 2000  # images of each kind, from all parts of them, as for ``copies``


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """In [0, 1].

    Raises:
        Unmeasurable: the data set has copies in its own held-out split.
    """
    train = data.train.images.flatten(1)
    held_out, generated = (
        nearest_distance(spaced(split.images, QUERIES).flatten(1), train, torch.float32)  # half the time of float64
        for split in (data.held_out, context.generated)
    )
    most = max(len(data.held_out), len(context.generated))
    protocol = {"train": len(train), "generated": len(context.generated), "at_most": QUERIES, **chosen(most, QUERIES)}
    return {"copies_pixels": Score(share_of_copies(generated, held_out), protocol=protocol)}
