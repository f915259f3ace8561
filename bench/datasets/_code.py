"""Data sets that are files of code: ``SPEC`` and ``load``, looked at before anything rests on them.

What a guest's file defines wrongly is told of that file, by the name under which its author knows it.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from bench import registry
from bench.contract import DataError, ImageSpec, Split
from bench.datasets._readers import SPLITS, Source, SplitName, checked

SPEC = "as SPEC = ImageSpec(channels, height, width, classes)"
LOAD = "as def load(split, data_dir) -> Split"


def spec_of(name: str) -> ImageSpec:
    """What the data set ``name`` says of its images.

    Raises:
        DataError: it says nothing, or what no images can be.
    """
    where, spec = registry.find("datasets", name).origin, getattr(registry.load("datasets", name), "SPEC", None)
    if spec is None:
        raise DataError(f"{where}: defines no SPEC; it must, {SPEC}")
    if not isinstance(spec, ImageSpec):
        raise DataError(f"{where}: SPEC = {spec!r}: must be an ImageSpec, {SPEC}")
    if not all(isinstance(number, int) and number > 0 for number in spec.shape) or spec.channels not in (1, 3):
        raise DataError(
            f"{where}: SPEC has images of {spec.shape} (C, H, W): must be whole numbers above 0, and C 1, for grey, "
            "or 3, for RGB"
        )
    if not isinstance(spec.classes, tuple) or not all(isinstance(word, str) for word in spec.classes):
        raise DataError(f"{where}: SPEC has classes = {spec.classes!r}: must be a tuple of texts, as ('cat', 'dog')")
    if twice := [word for word, count in Counter(spec.classes).items() if count > 1]:
        raise DataError(f"{where}: SPEC has two classes {twice[0]!r}; their names must differ")
    return spec


def loaded(name: str, data_dir: Path) -> Source:
    """The data set ``name`` as its file loads it.

    Raises:
        DataError: it cannot be had, or is not as its ``SPEC`` says.
    """
    component, module, spec = registry.find("datasets", name), registry.load("datasets", name), spec_of(name)
    load = _checked_load(component.origin, getattr(module, "load", None), data_dir)

    def part(split: SplitName) -> Split:
        found = load(split, data_dir)
        if not isinstance(found, Split):
            raise DataError(
                f"{component.origin}: load({split!r}, ...) must return a Split, as Split(images, labels), "
                f"not {type(found).__name__}"
            )
        return found

    source = Source(name, spec, part("train"), part("test"))
    if component.is_guest:
        return checked(source, component.origin, code=True)
    return checked(source, data_dir / getattr(module, "PLACE", ""))


def _checked_load(where: str, found: object, data_dir: Path) -> Callable[[str, Path], object]:
    """``found``, if it is a function of a split's name and the data folder."""
    if not callable(found):
        raise DataError(f"{where}: defines no function load; it must, {LOAD}")
    with suppress(ValueError):  # it has no signature that could be told
        signature = inspect.signature(found)
        try:
            signature.bind(SPLITS[0], data_dir)
        except TypeError:
            raise DataError(
                f"{where}: load takes ({', '.join(signature.parameters)}); it must take two, {LOAD}"
            ) from None
    return found
