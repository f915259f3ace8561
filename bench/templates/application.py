"""Held-out images encoded and decoded again and again: what the model keeps of them."""

from __future__ import annotations

import torch

from bench.applications import Applied, class_name, held_out, no_codes, spread
from bench.contract import Autoencodes, Batch, Model, eval_mode, reconstruct
from bench.data import Data
from bench.images import png, strips, tile
from bench.networks.blocks import check_positive


def apply(model: Model, data: Data, *, count: int = 8, times: int = 6) -> Applied:
    """Rows of an original and what is left of it after 1 to ``times`` rounds.

    Raises:
        Unsupported: the model has no codes.
    """
    if not isinstance(model, Autoencodes):
        raise no_codes(model)
    check_positive(times=times)
    places = spread(data, count)
    rounds = [held_out(data, places)]
    with eval_mode(model):
        for _ in range(times):
            rounds.append(Batch(reconstruct(model, rounds[-1]), rounds[-1].labels))
    table = torch.stack([batch.images for batch in rounds], dim=1)
    files, rows = {}, []
    for row, place in enumerate(places.tolist()):
        name = f"images/{place:05}.png"
        files[name] = png(tile(table[row, -1]))
        rows.append(
            {"file": name, "image": place, "label": class_name(data, int(rounds[0].labels[row])), "rounds": times}
        )
    return Applied(png(strips(table)), files, rows)
