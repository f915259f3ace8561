"""Mean brightness of generated images less that of held-out images, in [0, 1]: the crudest distance there is."""

from __future__ import annotations

from bench.contract import Data, Features, Model

NEEDS = Model
BETTER = "lower"
EXTRACTOR = None


def measure(model: Model, real: Data, features: Features) -> float:
    """The absolute difference of the two means."""
    generated = features.generated.images.float().mean()
    return abs(float(generated - real.held_out.images.float().mean())) / 255
