"""Whole data sets from files: ``.npz`` archives and folders of images, decoded once; checked, and refused in one line."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
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

from bench.cache import cached, digest
from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.datasets._files import Track, digests_of, fingerprint_of, reason
from bench.datasets._folders import divide, in_words, list_folder
from bench.datasets._images import decode, resize_all, resize_rule
from bench.ranges import LARGEST_SIDE

log = logging.getLogger(__name__)

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
LAYOUT = (
    "x_train, y_train, x_test, y_test: uint8 images (N, H, W) or (N, H, W, C) with C 1 or 3, and their integer labels"
)
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


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a cache whole or not at all; the caller is `filling` its folder.

    Raises:
        DataError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(partial, path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error
    finally:
        partial.unlink(missing_ok=True)


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
    images = _kept(folder, word, [fingerprint, image_size], make)["images"]
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
    images = _kept(folder, Path(source.name).stem, [digest(*whole.values()), shapes, image_size], make)
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


def _kept(folder: Path, name: str, recipe: list[object], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
    """``make()``, done once for each recipe by whoever comes first; where nothing can be kept, by every process anew.

    Pillow's version is part of the recipe, so that what is kept is what would be read.
    """
    key = hashlib.sha256(json.dumps([*recipe, PIL.__version__]).encode()).hexdigest()[:16]
    file = folder / f"{name[:40]}-{key}.safetensors"
    try:
        return cached(file, make, torch.device("cpu"))
    except (OSError, SafetensorError) as error:
        log.warning("%s cannot be kept (%s); every process reads the images anew", file, reason(error))
        return make()


def read_npz(path: Path, name: str, spec: ImageSpec | None) -> Source:
    """An archive of `LAYOUT`.

    Args:
        spec: what it must be; None where it says so itself.

    Raises:
        DataError: it cannot be read, or is not so.
    """
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in file.files}
    except Exception as error:  # whatever NumPy and the decompressors raise over a damaged file
        raise DataError(
            f"{path} cannot be read ({reason(error)}); it must be an .npz of {LAYOUT}{', or be removed' if spec else ''}"
        ) from error
    train, test = (_split_of(path, arrays, split, labelled=bool(spec and spec.classes)) for split in SPLITS)
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{path}: x_train and x_test hold images of different shapes, {_shape(train)} and {_shape(test)}"
        )
    if ("y_train" in arrays) != ("y_test" in arrays):
        raise DataError(f"{path} has labels for one split alone; it must hold both y_train and y_test, or neither")
    classes = tuple(str(word) for word in arrays["classes"].flat) if "classes" in arrays else None
    if classes is not None and len(set(classes)) < len(classes):
        raise DataError(f"{path}: classes are {', '.join(classes)}; their names must differ")
    if spec is None:
        if classes is None:
            highest = max(int(split.labels.max()) for split in (train, test))
            if highest >= len(train):
                raise DataError(
                    f"{path}: labels run up to {highest}, and there are {len(train)} training images; every class must have "
                    "one: number the classes from 0"
                )
            classes = tuple(str(label) for label in range(highest + 1))
        spec = ImageSpec(*_shape(train), classes)
    elif classes not in (None, spec.classes):
        raise DataError(f"{path}: the classes of {name} are {', '.join(spec.classes)}, in this order")
    return checked(Source(name, spec, train, test), path)


def _split_of(path: Path, arrays: Mapping[str, NDArray[Any]], split: SplitName, *, labelled: bool) -> Split:
    images, labels = arrays.get(f"x_{split}"), arrays.get(f"y_{split}")
    if images is None or (labelled and labels is None):
        raise DataError(f"{path} has no {'x' if images is None else 'y'}_{split}; it must hold {LAYOUT}")
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or (images.ndim == 4 and images.shape[3] not in (1, 3)):
        raise DataError(f"{path}: x_{split} is {images.dtype} {images.shape}; it must be as in {LAYOUT}")
    if not images.size:
        raise DataError(f"{path}: x_{split} holds no images")
    if labels is not None and (labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer)):
        raise DataError(
            f"{path}: y_{split} is {labels.dtype} {labels.shape}; it must be whole numbers, one for each of {len(images)}"
        )
    return from_arrays(images, labels)


def checked(source: Source, where: Path) -> Source:
    """``source``, if its images and labels are as its spec says.

    Raises:
        DataError: they are not; ``where`` begins the line.
    """
    classes = source.spec.classes
    for word, split in zip(SPLITS, (source.train, source.test), strict=True):
        if _shape(split) != source.spec.shape:
            raise DataError(f"{where}: images of {source.name} are {source.spec.shape} (C, H, W), not {_shape(split)}")
        lowest, highest = int(split.labels.min()), int(split.labels.max())
        if not classes:
            if (lowest, highest) != (HIDDEN, HIDDEN):
                raise DataError(f"{where}: {source.name} has no classes; leave y_{word} out")
            continue
        # A training label may be hidden; a model is measured against all of the others.
        if lowest < (HIDDEN if word == "train" else 0) or highest >= len(classes):
            raise DataError(
                f"{where}: labels run from 0 to {len(classes) - 1}; those of {word}, from {lowest} to {highest}"
            )
        counts = torch.bincount(split.labels[split.labels != HIDDEN], minlength=len(classes))
        if not counts.all():
            absent = int(counts.argmin())
            raise DataError(f"{where}: class {classes[absent]!r} has no images in {word} (label {absent})")
    return source


def _shape(split: Split) -> tuple[int, int, int]:
    channels, height, width = split.images.shape[1:]
    return channels, height, width
