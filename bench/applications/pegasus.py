"""A pegasus from a horse and a bird: images of two classes, alike at their centres, mixed in the code. Documents 000 and 001."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from torch import Tensor

from bench.applications import Applied, Count, class_name, held_out, no_codes
from bench.contract import Autoencodes, Batch, Infers, Model, Unsupported, as_floats, condition_of, eval_mode
from bench.data import Data
from bench.images import grid, png, strips, tile
from bench.measure.interpolation import decoded_paths, interpolations
from bench.networks.blocks import check_positive, reparameterised
from bench.ranges import Within

SEQUENCES = 8  # pairs that are shown as whole interpolations
STEPS = 10  # images in each of those
REPETITIONS = 6  # of the first pair's, which the encoder's noise makes different (document 000, figure 6)


def apply(
    model: Model,
    data: Data,
    *,
    bodies: Sequence[str] = (),
    wings: Sequence[str] = (),
    count: Count = 64,
    low: Annotated[float, Within(least=0, most=1)] = 0.4,
    high: Annotated[float, Within(least=0, most=1)] = 0.6,
    seed: int = 0,
) -> Applied:
    """Pair a random held-out body with the wings whose centre has the nearest colour, and decode between their codes.

    Args:
        bodies: classes of the first images; the first of two classes, or those of a batch's first half, where empty.
        wings: classes of the second, likewise.
        low: the least share of the wings' code.
        high: the greatest; shares are drawn evenly between the two.

    Raises:
        Unsupported: the model has no codes, or the classes cannot be told.
    """
    if not isinstance(model, Autoencodes):
        raise no_codes(model)
    check_positive(count=count)
    if not 0 <= low <= high <= 1:
        raise Unsupported(f"low = {low}, high = {high}: shares between 0 and 1, the lower first")
    first, second = _places(data, bodies), _places(data, wings)
    if not bodies and not wings:
        first, second = _usual(data)
    elif not bodies or not wings:
        raise Unsupported("bodies and wings: name the classes of both, or of neither")
    generator = torch.Generator().manual_seed(seed)
    first = first[torch.randint(len(first), (count,), generator=generator)]
    distance = torch.cdist(_centres(data, first), _centres(data, second))
    second = second[distance.argmin(1)]
    ratio = torch.rand(count, generator=generator) * (high - low) + low
    ends = held_out(data, torch.cat((first, second)))
    with eval_mode(model, seed):
        condition = condition_of(model, ends)
        images = _mixed(model, model.encode(ends.images, condition), ratio, condition)
        shown = min(SEQUENCES, count)
        few = torch.cat((torch.arange(shown), count + torch.arange(shown)))
        files = {"sequences.png": png(strips(interpolations(model, Batch(ends.images[few], ends.labels[few]), STEPS)))}
        files |= _repetitions(model, Batch(ends.images[[0, count]], ends.labels[[0, count]]))
    rows = []
    for number, image in enumerate(images):
        parents = int(first[number]), int(second[number])
        name = f"images/{number:03}_ratio_{ratio[number]:.3f}_{parents[0]}_{parents[1]}.png"
        files[name] = png(tile(image))
        rows.append(
            {
                "file": name,
                "ratio": round(float(ratio[number]), 6),
                "body": parents[0],
                "body_label": class_name(data, int(data.held_out.labels[parents[0]])),
                "wings": parents[1],
                "wings_label": class_name(data, int(data.held_out.labels[parents[1]])),
                "centre_distance": round(float(distance[number].min()), 6),
            }
        )
    return Applied(png(grid(images)), files, rows)


def _mixed(model: Autoencodes, codes: Tensor, ratio: Tensor, condition: Tensor | None) -> Tensor:
    """One image for each pair of ``codes``, the first half with the second, at ``ratio`` of the way."""
    pairs = len(ratio)
    share = ratio.to(codes.device).view(-1, *[1] * (codes.ndim - 1))
    return model.decode(
        torch.lerp(codes[:pairs], codes[pairs:], share), None if condition is None else condition[:pairs]
    )


def _repetitions(model: Autoencodes, pair: Batch) -> dict[str, bytes]:
    """The whole interpolation of one pair again and again, between codes that are drawn anew for every row."""
    if not isinstance(model, Infers):
        return {}
    condition = condition_of(model, pair)
    posterior = model.posterior(pair.images, condition)
    first, second = torch.stack([reparameterised(*posterior) for _ in range(REPETITIONS)], dim=1)
    told = None if condition is None else condition[:1].expand(REPETITIONS, *condition.shape[1:])
    return {"repetitions.png": png(strips(decoded_paths(model, torch.cat((first, second)), told, STEPS)))}


def _centres(data: Data, places: Tensor) -> Tensor:
    """The colours of the images' centre pixels, ``[N, C]`` in ``[0, 1]``."""
    return as_floats(data.held_out.images[places][:, :, data.spec.height // 2, data.spec.width // 2])


def _places(data: Data, classes: Sequence[str]) -> Tensor:
    """The held-out images of some classes."""
    for name in classes:
        if name not in data.spec.classes:
            raise Unsupported(f"{data.name} has no class {name!r}; it has: {', '.join(data.spec.classes) or 'none'}")
    labels = torch.tensor([data.spec.classes.index(name) for name in classes], dtype=torch.int64)
    places = torch.isin(data.held_out.labels.cpu(), labels).nonzero().flatten()
    if classes and not len(places):
        raise Unsupported(f"{data.name} has no {data.held_out_name} image of {', '.join(classes)}")
    return places


def _usual(data: Data) -> tuple[Tensor, Tensor]:
    """Of two classes one each; of more, those that the model was trained on in the two halves of a batch."""
    if len(data.parts) == 2:
        halves = [
            [data.spec.classes[label] for label in data.train.labels[part.index].unique().tolist() if label >= 0]
            for part in data.parts
        ]
        if not set(halves[0]) & set(halves[1]):
            return _places(data, halves[0]), _places(data, halves[1])
    if len(data.spec.classes) != 2:
        raise Unsupported(
            f"bodies and wings: name the classes to pair, of {', '.join(data.spec.classes) or 'which this data set has none'}"
        )
    return _places(data, data.spec.classes[:1]), _places(data, data.spec.classes[1:])
