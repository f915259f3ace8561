"""What is done with a trained model, each application in its own file.

A file holds ``apply(model, data, *, options...) -> Applied``: the keyword arguments are its options, as a model's are its
hyperparameters, and it raises `Unsupported` where the model or the data cannot serve. ``files`` among them takes the files that
are named on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any

from torch import Tensor

from bench.contract import Batch, Model, Unsupported, as_floats
from bench.data import Data
from bench.ranges import Within

Count = Annotated[int, Within(least=1, most=10_000)]
"""How many images an application makes: each is a file."""


@dataclass(frozen=True)
class Applied:
    """What an application made.

    Attributes:
        grid: all images in one picture, PNG.
        files: the images one by one and whatever else there is, by path.
        rows: what went into each, by column; the same columns in all.

    Raises:
        TypeError: they are of another type, or no rows.
    """

    grid: bytes
    files: Mapping[str, bytes]
    rows: Sequence[Mapping[str, object]]

    def __post_init__(self) -> None:
        if not isinstance(self.grid, bytes):
            raise TypeError(f"Applied's grid must be the bytes of a picture, not {type(self.grid).__name__}")
        if not all(isinstance(content, bytes) for content in self.files.values()):
            raise TypeError("Applied's files must be bytes by path")
        if len({tuple(row) for row in self.rows}) != 1:
            raise TypeError("Applied's rows must be one or more, with the same columns in all")


def put_to(application: ModuleType, model: Model, data: Data, **options: Any) -> Applied:
    """What an application makes of a trained model.

    Raises:
        Unsupported: the model or the data cannot serve.
        TypeError: it makes something else; whatever somebody's own raises besides.
    """
    made = application.apply(model, data, **options)
    if not isinstance(made, Applied):
        raise TypeError(f"apply must return Applied, not {'nothing' if made is None else type(made).__name__}")
    return made


def held_out(data: Data, places: Tensor) -> Batch:
    """The held-out images at ``places``, int64 ``[N]``, with their labels.

    Raises:
        Unsupported: there is no such place.
    """
    if len(places) and not 0 <= int(places.min()) <= int(places.max()) < len(data.held_out):
        wrong = next(place for place in places.tolist() if not 0 <= place < len(data.held_out))
        raise Unsupported(f"image {wrong}: {data.name} has {data.held_out_name} images 0 to {len(data.held_out) - 1}")
    part = data.held_out.take(places.to(data.held_out.images.device))
    return Batch(as_floats(part.images), part.labels)


def spread(data: Data, n: int) -> Tensor:
    """``n`` places in all parts of the held-out images, which may be sorted by class."""
    if not 1 <= n <= len(data.held_out):
        raise Unsupported(f"count = {n}: {data.name} has 1 to {len(data.held_out)} {data.held_out_name} images")
    return data.held_out.spaced(n)


def refusal(model: Model, what: str) -> Unsupported:
    """What to raise for a model that cannot do what an application needs; ``what`` goes on from the model's name."""
    return Unsupported(f"{type(model).__name__} {what}")


def no_codes(model: Model) -> Unsupported:
    """What to raise for a model that has no code for an image."""
    return refusal(model, "has no codes of images, so there is nothing to interpolate or to transfer")


def class_name(data: Data, label: int) -> str:
    """The name of a class; empty where images have none."""
    return data.spec.classes[label] if 0 <= label < len(data.spec.classes) else ""


def first_line(module: ModuleType) -> str:
    """What an application does, in a line."""
    return (module.__doc__ or "").strip().splitlines()[0]
