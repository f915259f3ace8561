"""What comes in from files: ``.npz`` archives, folders of images, and single images; checked, and refused in one line."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bench.contract import HIDDEN, DataError, ImageSpec, Split

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
    """A whole data set, in memory on the CPU."""

    name: str
    spec: ImageSpec
    train: Split
    test: Split


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


def read_image(file: Path) -> Image.Image:
    """One whole image, grey (mode L) or RGB.

    Raises:
        DataError: it is no image, or has more than 8 bits per channel.
    """
    try:
        with Image.open(file) as image:
            if image.mode.startswith(("I", "F")):
                raise DataError(f"{file} has more than 8 bits per channel (mode {image.mode}); save it with 8")
            return image.convert("L" if image.mode in ("1", "L", "LA") else "RGB")
    except DAMAGED as error:
        raise DataError(f"{file} is no image that can be read ({reason(error)}); fix or remove it") from error


def read_npz(path: Path, name: str, spec: ImageSpec | None) -> Source:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in file.files}
    except DAMAGED as error:
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


def read_folder(root: Path, name: str) -> Source:
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    splits = []
    for split in SPLITS:
        folder = root / split
        entries = folder.iterdir() if folder.is_dir() else ()
        found = tuple(sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")))
        if not found:
            raise DataError(f"{folder} must hold one folder of images for each class, as in {split}/<class>/*")
        if classes and found != classes:
            raise DataError(f"{root}: train and test must hold the same classes, not {classes} and {found}")
        classes = found
        images: list[NDArray[np.uint8]] = []
        labels: list[int] = []
        for label, word in enumerate(classes):
            files = sorted(
                file for file in (folder / word).iterdir() if file.is_file() and not file.name.startswith(".")
            )
            if not files:
                raise DataError(f"{folder / word}: class {word!r} has no images in {split}")
            for file in files:
                image = np.asarray(read_image(file))
                image = image[..., None] if image.ndim == 2 else image
                shape = shape or image.shape
                if image.shape != shape:
                    raise DataError(
                        f"{file} is {image.shape} (H, W, C); the images before it are {shape}: make them alike"
                    )
                images.append(image)
                labels.append(label)
        splits.append(from_arrays(np.stack(images), np.array(labels)))
    return Source(name, ImageSpec(*_shape(splits[0]), classes), *splits)


def reason(error: BaseException) -> str:
    """What an exception says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _shape(split: Split) -> tuple[int, int, int]:
    channels, height, width = split.images.shape[1:]
    return channels, height, width
