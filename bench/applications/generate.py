"""New images: a grid, and each by itself. A model that is told the label draws every class in turn."""

from __future__ import annotations

from bench.applications import Applied, Count, class_name, refusal
from bench.contract import Generates, Model, conditioned_on
from bench.data import Data
from bench.images import grid, png, tile
from bench.measure.context import draw
from bench.networks.blocks import check_positive


def apply(model: Model, data: Data, *, count: Count = 64, seed: int = 0) -> Applied:
    """Draw ``count`` images from noise of ``seed``; a model that completes images is given left halves of held-out ones.

    Raises:
        Unsupported: the model does not generate.
    """
    if not isinstance(model, Generates):
        raise refusal(model, "does not generate images")
    check_positive(count=count)
    drawn = draw(model, count, data, seed=seed)
    condition = conditioned_on(model)
    files, rows = {}, []
    for number, image in enumerate(drawn.images):
        name = f"images/{number:04}.png"
        files[name] = png(tile(image))
        told = class_name(data, int(drawn.labels[number]))
        half = number * len(data.held_out) // count if condition == "left_half" else ""
        rows.append({"file": name, "number": number, "label": told, "left_half_of": half, "seed": seed})
    columns = len(data.spec.classes) if condition == "labels" else None
    return Applied(png(grid(drawn.images, columns=columns)), files, rows)
