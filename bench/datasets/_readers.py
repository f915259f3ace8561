"""Whole data sets: a folder of images, decoded once; images resized once; and what all of them are checked for."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import PIL
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from torch import Tensor

from bench.cache import Like, cached, digest
from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.datasets._files import Track, digests_of, fingerprint_of
from bench.datasets._folders import divide, in_words, list_folder
from bench.datasets._idx import read_idx
from bench.datasets._images import decode, resize_all, resize_rule
from bench.ranges import LARGEST_SIDE
from bench.text import is_plain, reason

log = logging.getLogger(__name__)

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
LONGEST_CLASS = 255  # characters, as a folder's name can have
# What the readers of other libraries raise over a damaged file.
DAMAGED = (
    OSError,
    EOFError,
    LookupError,
    ValueError,
    TypeError,
    AssertionError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
    Image.DecompressionBombError,
)


@dataclass(frozen=True)
class Source:
    """A whole data set, in memory on the CPU.

    Attributes:
        validation: what a search is measured on, where the set says so itself.
        resized: how its images were resized, in words; empty where they are as they came.
        fingerprint: of its content where it was read from a path; empty otherwise.
    """

    name: str
    spec: ImageSpec
    train: Split
    test: Split
    validation: Split | None = None
    resized: str = ""
    fingerprint: str = ""


def from_arrays(images: NDArray[Any], labels: NDArray[Any] | None) -> Split:
    """A split from uint8 ``(N, H, W)`` or ``(N, H, W, C)`` images; hidden labels where there are none."""
    if images.ndim == 3:
        images = images[..., None]
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    known = torch.full((len(images),), HIDDEN) if labels is None else torch.from_numpy(labels.astype(np.int64))
    return Split(pixels, known)


def read_idx_split(folder: Path, split: SplitName) -> Split:
    """A split of a set that is published as MNIST is: two files in the IDX format, images and labels, with its names.

    Raises:
        ValueError: a file is no such array.
        OSError: it cannot be read.
    """
    part = "train" if split == "train" else "t10k"
    images = read_idx(folder / f"{part}-images-idx3-ubyte", 3)
    return from_arrays(images, read_idx(folder / f"{part}-labels-idx1-ubyte", 1))


def read_folder(root: Path, name: str, image_size: int | None, folder: Path, track: Track) -> Source:
    """A folder of images, each decoded once: what came of them is kept in ``folder`` under the fingerprint of the files.

    Raises:
        DataError: it is in none of the layouts that there are, or an image cannot be read or is not as large as the others.
    """
    listing = list_folder(root)
    digests = digests_of(root, listing.files, folder, track)
    fingerprint = fingerprint_of(root, digests)
    parts = divide(listing, digests)
    files = [file for part in parts.values() for file, _ in part]

    def make() -> dict[str, Tensor]:
        log.warning("%s", in_words(listing, parts))
        images = decode(files, image_size, track, word)
        if digests_of(root, listing.files, folder, track) != digests:
            raise DataError(f"{root} has changed while it was read: run this again")
        return {"images": images}

    word = root.resolve().name
    sides = (None, image_size, image_size)
    images = _kept(folder, word, [fingerprint, image_size], make, {"images": (torch.uint8, (len(files), *sides))})[
        "images"
    ]
    channels, height, width = images.shape[1:]
    splits = {}
    start = 0
    for split, part in parts.items():
        labels = torch.tensor([label for _, label in part])
        splits[split] = Split(images[start : start + len(part)], labels)
        start += len(part)
    return Source(
        name,
        ImageSpec(channels, height, width, listing.classes),
        splits["train"],
        splits["test"],
        splits.get("validation"),
        resize_rule(image_size) if image_size else "",
        fingerprint,
    )


def resize(source: Source, image_size: int, folder: Path, track: Track) -> Source:
    """The centre square of every image of ``source``, resized once: what came of them is kept in ``folder``."""
    whole = {"train": source.train.images, "test": source.test.images}

    def make() -> dict[str, Tensor]:
        return {word: resize_all(images, image_size, track, source.name) for word, images in whole.items()}

    shapes = [list(images.shape) for images in whole.values()]
    sides = (source.spec.channels, image_size, image_size)
    like: Like = {word: (torch.uint8, (len(images), *sides)) for word, images in whole.items()}
    images = _kept(folder, Path(source.name).stem, [digest(*whole.values()), shapes, image_size], make, like)
    return replace(
        source,
        spec=replace(source.spec, height=image_size, width=image_size),
        train=Split(images["train"], source.train.labels),
        test=Split(images["test"], source.test.labels),
        resized=resize_rule(image_size),
    )


def check_image_size(image_size: int | None) -> None:
    """Refuse a size that no image can have.

    Raises:
        DataError: it is none.
    """
    if image_size is not None and not 1 <= image_size <= LARGEST_SIDE:
        raise DataError(f"image_size = {image_size}: must be from 1 to {LARGEST_SIDE} pixels")


def _kept(
    folder: Path, name: str, recipe: list[object], make: Callable[[], dict[str, Tensor]], like: Like
) -> dict[str, Tensor]:
    """``make()``, done once for each recipe by whoever comes first; where nothing can be kept, by every process anew.

    Pillow's version is part of the recipe, so that what is kept is what would be read.
    """
    key = hashlib.sha256(json.dumps([*recipe, PIL.__version__]).encode()).hexdigest()[:16]
    file = folder / f"{name[:40]}-{key}.safetensors"
    try:
        return cached(file, make, torch.device("cpu"), like)
    except (OSError, SafetensorError) as error:
        log.warning("%s cannot be kept (%s); every process reads the images anew", file, reason(error))
        return make()


def checked(source: Source, where: Path | str, *, code: bool = False) -> Source:
    """``source``, if its images, labels and classes are as its spec says.

    Args:
        where: begins the line on what is not.
        code: whether ``where`` is a file of code, whose ``SPEC`` and ``load`` are to be put right.

    Raises:
        DataError: they are not.
    """
    classes = source.spec.classes
    if odd := [word for word in classes if not (is_plain(word) and 0 < len(word) <= LONGEST_CLASS)]:
        raise DataError(
            f"{where}: the class {odd[0]!r} must be named in one line of at most {LONGEST_CLASS} characters"
        )
    for word, split in zip(SPLITS, (source.train, source.test), strict=True):
        loaded = f"load({word!r}, ...)"
        if (found := shape_of(split)) != source.spec.shape:
            wrong = f"images of {source.name} are {source.spec.shape} (C, H, W), not {found}"
            ours = (
                f"SPEC has images of {source.spec.shape} (C, H, W), and {loaded} returns {found}; they must be the same"
            )
            raise DataError(f"{where}: {ours if code else wrong}")
        if not split.images.numel():
            ours = f"{loaded} returns no images; it must return at least one"
            raise DataError(f"{where}: {ours if code else f'{source.name} has no images in {word}'}")
        lowest, highest = int(split.labels.min()), int(split.labels.max())
        if not classes:
            if (lowest, highest) != (HIDDEN, HIDDEN):
                ours = f"SPEC has no classes, and {loaded} returns labels from {lowest} to {highest}"
                right = f"it must name the classes, or every label be HIDDEN ({HIDDEN})"
                wrong = f"{source.name} has no classes; leave y_{word} out"
                raise DataError(f"{where}: {f'{ours}; {right}' if code else wrong}")
            continue
        # A training label may be hidden; a model is measured against all of the others.
        if lowest < (HIDDEN if word == "train" else 0) or highest >= len(classes):
            raise DataError(
                f"{where}: labels run from 0 to {len(classes) - 1}; those of {loaded if code else word}, "
                f"from {lowest} to {highest}"
            )
        counts = torch.bincount(split.labels[split.labels != HIDDEN], minlength=len(classes))
        if not counts.all():
            absent = int(counts.argmin())
            ours = (
                f"{loaded} returns no images of class {classes[absent]!r} (label {absent}); it must return some of each"
            )
            wrong = f"class {classes[absent]!r} has no images in {word} (label {absent})"
            raise DataError(f"{where}: {ours if code else wrong}")
    return source


def shape_of(split: Split) -> tuple[int, int, int]:
    """``(C, H, W)``"""
    channels, height, width = split.images.shape[1:]
    return channels, height, width
