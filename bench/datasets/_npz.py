"""Data sets as NumPy's ``.npz`` archives: what they claim is set against what they hold before anything is unpacked."""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.contract import DataError, ImageSpec, Split
from bench.datasets._readers import SPLITS, Source, SplitName, checked, from_arrays, shape_of
from bench.memory import available, in_words
from bench.text import reason

LAYOUT = (
    "x_train, y_train, x_test, y_test: uint8 images (N, H, W) or (N, H, W, C) with C 1 or 3, and their integer labels"
)
ARRAYS = ("x_train", "y_train", "x_test", "y_test", "classes")
MOST_CLASSES = 100_000
LONGEST_HEADER = 2**14  # bytes of an array's, more than NumPy reads
COPIES = 2  # of the images in memory while they are read


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


def read_npz(path: Path, name: str, spec: ImageSpec | None) -> Source:
    """An archive of `LAYOUT`.

    Args:
        spec: what it must be; None where it says so itself.

    Raises:
        DataError: it cannot be read, or is not so.
    """
    if not path.is_file():  # a pipe would be waited for without end
        raise DataError(f"{path} is no file; it must be an .npz of {LAYOUT}{', or be removed' if spec else ''}")
    try:
        arrays = _unpacked(path)
    except DataError:
        raise
    except Exception as error:  # whatever NumPy and the decompressors raise over a damaged file
        raise DataError(
            f"{path} cannot be read ({reason(error)}); it must be an .npz of {LAYOUT}{', or be removed' if spec else ''}"
        ) from error
    train, test = (_split_of(path, arrays, split, labelled=bool(spec and spec.classes)) for split in SPLITS)
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{path}: x_train and x_test hold images of different shapes, {shape_of(train)} and {shape_of(test)}"
        )
    if ("y_train" in arrays) != ("y_test" in arrays):
        raise DataError(f"{path} has labels for one split alone; it must hold both y_train and y_test, or neither")
    classes = tuple(str(word) for word in arrays["classes"].flat) if "classes" in arrays else None
    if classes is not None and len(classes) > MOST_CLASSES:
        raise DataError(f"{path}: holds {len(classes):,} classes; there can be at most {MOST_CLASSES:,}")
    if classes is not None and len(set(classes)) < len(classes):
        raise DataError(f"{path}: classes are {', '.join(classes)}; their names must differ")
    if spec is None:
        if classes is None:
            highest = max(int(split.labels.max()) for split in (train, test))
            if highest >= min(len(train), MOST_CLASSES):
                raise DataError(
                    f"{path}: labels run up to {highest}, and there are {len(train)} training images; every class must have "
                    f"one, of at most {MOST_CLASSES:,}: number the classes from 0"
                )
            classes = tuple(str(label) for label in range(highest + 1))
        spec = ImageSpec(*shape_of(train), classes)
    elif classes not in (None, spec.classes):
        raise DataError(f"{path}: the classes of {name} are {', '.join(spec.classes)}, in this order")
    return checked(Source(name, spec, train, test), path)


def _unpacked(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of `LAYOUT` that an archive holds.

    What an array's header claims is what would be allocated for it, so it must be what the archive has of it, and all of them
    together no more than the memory there is.

    Raises:
        DataError: they are more than that.
        Exception: it is damaged.
    """
    size = 0
    with path.open("rb") as handle, zipfile.ZipFile(handle) as archive:
        named = [(info.filename.removesuffix(".npy"), info) for info in archive.infolist()]
        members = {name: info for name, info in named if name in ARRAYS}
        for name, info in members.items():
            if sum(name == other for other, _ in named) > 1:
                raise ValueError(f"{name} is in it twice")
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{name} is packed in a way that NumPy does not")
            with archive.open(info) as member:
                start = io.BytesIO(member.read(LONGEST_HEADER))  # a header may say that it is 4 GiB long
            version = np.lib.format.read_magic(start)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(start)
            if dtype.hasobject:
                raise ValueError(f"Object arrays, as {name} is one, are not read: what is in them can be code")
            claimed, held = math.prod(shape) * dtype.itemsize, info.file_size - start.tell()
            if claimed != held or min(shape, default=0) < 0:
                raise ValueError(f"{name} says that it is {dtype} {shape}, and holds {held:,} bytes")
            size += claimed
    if COPIES * size > (room := available()):
        raise DataError(
            f"{path}: unpacked and read it takes {in_words(COPIES * size)} of memory, and there are {in_words(room)}"
        )
    with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
        return {name: np.asarray(file[name]) for name in members}


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
    if labels is not None and int(labels.max()) > np.iinfo(np.int64).max:
        raise DataError(f"{path}: y_{split} runs up to {labels.max()}; classes are numbered from 0")
    return from_arrays(images, labels)
