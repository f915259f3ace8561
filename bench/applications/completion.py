"""The right half of held-out images from their left half: document 004, section 4.4.1 and figure 8."""

from __future__ import annotations

import torch

from bench.applications import Applied, Count, class_name, held_out, refusal, spread
from bench.contract import Generates, Model, Unsupported, conditioned_on, eval_mode, left_half
from bench.data import Data
from bench.images import png, strips, tile
from bench.networks.blocks import check_positive


def apply(model: Model, data: Data, *, count: Count = 8, completions: Count = 6, seed: int = 0) -> Applied:
    """Rows of an original, its left half, and ``completions`` draws of the whole that keep the half as it is.

    Raises:
        Unsupported: the model does not generate, or is not conditioned on left halves.
    """
    if conditioned_on(model) != "left_half":
        raise Unsupported(
            f"completion needs a model that is told the left half, and this {type(model).__name__} is not: "
            "train one with --set condition=left_half (cvae)"
        )
    if not isinstance(model, Generates):
        raise refusal(model, "does not generate images")
    check_positive(completions=completions)
    places = spread(data, count)
    batch = held_out(data, places)
    half = left_half(batch.images)
    shown = torch.ones_like(batch.images)
    shown[..., : half.shape[3]] = half
    columns = [batch.images, shown]
    with eval_mode(model, seed):
        for _ in range(completions):
            drawn = model.sample(count, half)
            columns.append(torch.cat((half, drawn[..., half.shape[3] :]), dim=3))
    table = torch.stack(columns, dim=1)
    files, rows = {}, []
    for row, place in enumerate(places.tolist()):
        for number in range(completions):
            name = f"images/{place:05}_{number}.png"
            files[name] = png(tile(table[row, 2 + number]))
            label = class_name(data, int(batch.labels[row]))
            rows.append({"file": name, "image": place, "label": label, "completion": number, "seed": seed})
    return Applied(png(strips(table)), files, rows)
