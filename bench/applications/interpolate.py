"""From one held-out image to another, or from one noise to another, along a path between their codes: strips, and a GIF of each.

Document 002, figures 7 and 10.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from torch import Tensor

from bench.applications import Applied, Count, class_name, held_out, no_codes, refusal, spread
from bench.contract import Autoencodes, Generates, Model, Split, Unsupported, conditioned_on, eval_mode
from bench.data import Data
from bench.images import enlarge, gif, png, strips, tile
from bench.measure.context import to_tell
from bench.measure.interpolation import Path, interpolations, noise_interpolations
from bench.networks.blocks import check_positive
from bench.ranges import Within


def apply(
    model: Model,
    data: Data,
    *,
    between: Literal["images", "noise"] | None = None,
    path: Path = "linear",
    first: Sequence[int] = (),
    second: Sequence[int] = (),
    label: int | None = None,
    count: Count = 8,
    steps: Annotated[int, Within(least=2, most=1000)] = 10,
    seed: int = 0,
) -> Applied:
    """Interpolate in ``steps`` images between held-out images, or between draws of the prior.

    Args:
        between: which of the two; where None, images if the model encodes them, else noise.
        path: straight, as in the documents, or on the great circle, which stays as far from the origin as draws of the prior are.
        first: the held-out images to begin with; ``count`` pairs far apart where empty.
        second: those to end with.
        label: what a model that is told the label is told from noise to noise; where None, every class in turn.
        seed: of the noise.

    Raises:
        Unsupported: the model has no such codes, or there are no such images.
    """
    if steps < 2:
        raise Unsupported(f"steps = {steps}: both ends are steps, so at least 2")
    if len(first) != len(second):
        raise Unsupported(f"first names {len(first)} images and second {len(second)}: they are pairs")
    if between == "images" or (between is None and isinstance(model, Autoencodes)):
        if label is not None:
            raise Unsupported(
                f"label = {label}: between images it is that of the first; for another, --set between=noise"
            )
        places = torch.tensor([*first, *second]) if first else spread(data, 2 * count)
        made = _between_images(model, data, places, steps, path)
    else:
        if first:
            raise Unsupported("first and second name images, and this is between noises")
        check_positive(count=count)
        made = _between_noises(model, data, _told(model, data, count, label), steps, path, seed)
    files, rows = {}, []
    for strip in made:
        files[f"images/{strip.name}.gif"] = gif([enlarge(tile(image)) for image in strip.images])
        for step, image in enumerate(strip.images):
            file = f"images/{strip.name}_{step:02}.png"
            files[file] = png(tile(image))
            rows.append({"file": file, "share_of_second": round(step / (steps - 1), 6), "path": path, **strip.ends})
    return Applied(png(strips(torch.stack([strip.images for strip in made]))), files, rows)


@dataclass(frozen=True)
class Strip:
    """One interpolation.

    Attributes:
        name: what its files are called by.
        images: ``[steps, C, H, W]`` in ``[0, 1]``.
        ends: what its rows say of them.
    """

    name: str
    images: Tensor
    ends: Mapping[str, object]


def _between_images(model: Model, data: Data, places: Tensor, steps: int, path: Path) -> list[Strip]:
    if not isinstance(model, Autoencodes):
        raise no_codes(model)
    with eval_mode(model):
        paths = interpolations(model, held_out(data, places), steps, path)
    made = []
    pairs = zip(places[: len(paths)].tolist(), places[len(paths) :].tolist(), strict=True)
    for number, (pair, images) in enumerate(zip(pairs, paths, strict=True)):
        labels = [class_name(data, int(data.held_out.labels[place])) for place in pair]
        ends = {"first": pair[0], "first_label": labels[0], "second": pair[1], "second_label": labels[1]}
        made.append(Strip(f"{number:03}_{pair[0]}_{pair[1]}", images, ends))
    return made


def _between_noises(model: Model, data: Data, told: Split, steps: int, path: Path, seed: int) -> list[Strip]:
    if not isinstance(model, Generates):
        raise refusal(model, "does not generate images")
    with eval_mode(model, seed):
        paths = noise_interpolations(model, told, steps, path)
    condition = conditioned_on(model)
    halves = data.held_out.spaced(len(told)).tolist()
    made = []
    for number, images in enumerate(paths):
        label = class_name(data, int(told.labels[number])) if condition == "labels" else ""
        half = halves[number] if condition == "left_half" else ""
        made.append(Strip(f"{number:03}", images, {"label": label, "left_half_of": half, "seed": seed}))
    return made


def _told(model: Model, data: Data, count: int, label: int | None) -> Split:
    """What a conditional model is told of every strip: what it is told of samples, unless ``label`` says otherwise."""
    told = to_tell(data, count)
    if label is None:
        return told
    if conditioned_on(model) != "labels":
        raise refusal(model, f"is not told the label, so label = {label} says nothing")
    if not 0 <= label < len(data.spec.classes):
        raise Unsupported(f"label = {label}: {data.name} has labels 0 to {len(data.spec.classes) - 1}")
    return Split(told.images, torch.full_like(told.labels, label))
