"""Mean brightness of generated images less that of held-out images, in [0, 1]: the crudest distance there is."""

from __future__ import annotations

from bench.contract import Model
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score

VALUES = {"brightness": "lower"}
NEEDS = Model
EXTRACTOR = None


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The absolute difference of the two means."""
    generated = context.generated.images.float().mean()
    difference = abs(float(generated - data.held_out.images.float().mean())) / 255
    return {"brightness": Score(difference, protocol={"generated": len(context.generated)})}
