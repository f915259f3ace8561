"""From one held-out image to another along a straight line between their codes: strips, and a GIF of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch

from bench.applications import Applied, Count, class_name, held_out, no_codes, spread
from bench.contract import Autoencodes, Batch, Model, Unsupported, eval_mode
from bench.data import Data
from bench.images import enlarge, gif, png, strips, tile
from bench.measure.interpolation import interpolations
from bench.ranges import Within


def apply(
    model: Model,
    data: Data,
    *,
    first: Sequence[int] = (),
    second: Sequence[int] = (),
    count: Count = 8,
    steps: Annotated[int, Within(least=2, most=1000)] = 10,
) -> Applied:
    """Interpolate in ``steps`` images between held-out images ``first`` and ``second``, or ``count`` pairs far apart.

    Raises:
        Unsupported: the model has no codes, or there are no such images.
    """
    if not isinstance(model, Autoencodes):
        raise no_codes(model)
    if steps < 2:
        raise Unsupported(f"steps = {steps}: both ends are steps, so at least 2")
    if len(first) != len(second):
        raise Unsupported(f"first names {len(first)} images and second {len(second)}: they are pairs")
    places = torch.tensor([*first, *second]) if first else spread(data, 2 * count)
    ends = held_out(data, places)
    with eval_mode(model):
        paths = interpolations(model, Batch(ends.images, ends.labels), steps)
    files, rows = {}, []
    pairs = zip(places[: len(paths)].tolist(), places[len(paths) :].tolist(), strict=True)
    for number, (pair, strip) in enumerate(zip(pairs, paths, strict=True)):
        name = f"images/{number:03}_{pair[0]}_{pair[1]}"
        files[f"{name}.gif"] = gif([enlarge(tile(image)) for image in strip])
        labels = [class_name(data, int(data.held_out.labels[place])) for place in pair]
        for step, image in enumerate(strip):
            file = f"{name}_{step:02}.png"
            files[file] = png(tile(image))
            share = step / (steps - 1)
            rows.append(
                {
                    "file": file,
                    "share_of_second": round(share, 6),
                    "first": pair[0],
                    "first_label": labels[0],
                    "second": pair[1],
                    "second_label": labels[1],
                }
            )
    return Applied(png(strips(paths)), files, rows)
