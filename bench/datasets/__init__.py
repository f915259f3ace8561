"""One file per data set; the file name is the set's name. This is their front door, and that of anybody's own images.

A file has ``SPEC: ImageSpec`` and ``load(split, data_dir) -> Split``. ``<data dir>/<name>.npz`` is used before it is asked.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import socket
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

from bench import registry
from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.registry import unknown

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
LAYOUT = (
    "x_train, y_train, x_test, y_test: uint8 images (N, H, W) or (N, H, W, C) with C 1 or 3, and their integer labels"
)
NETWORK_SECONDS = 20.0  # after which a server that does not answer counts as out of reach
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


def open_dataset(name: str, data_dir: Path) -> Source:
    """The data set ``name``: one that `bench` knows, or a path to a ``.npz`` file or a folder of images.

    Raises:
        DataError: it cannot be had.
    """
    if name in registry.names("datasets"):
        module = registry.load("datasets", name)
        own = data_dir / f"{name}.npz"
        if own.exists():
            return _read_npz(own, name, module.SPEC)
        source = Source(name, module.SPEC, *(module.load(split, data_dir) for split in SPLITS))
        return _checked(source, data_dir / getattr(module, "PLACE", ""))
    path = Path(name)
    if path.is_dir():
        return _read_folder(path, name)
    if path.suffix == ".npz" and path.exists():
        return _read_npz(path, name, None)
    raise _no_such(name)


def fingerprint(name: str) -> str:
    """What tells a path's content apart from another content at the same path; empty for a data set known by name.

    Raises:
        DataError: there is no such path.
    """
    if name in registry.names("datasets"):
        return ""
    path = Path(name)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digest = hashlib.sha256()
    found = False
    for file in files:
        place = file.relative_to(path)
        if any(part.startswith(".") for part in place.parts):
            continue
        found = True
        with file.open("rb") as content:
            digest.update(place.as_posix().encode() + b"\0" + hashlib.file_digest(content, "sha256").digest())
    if not found:
        raise _no_such(name)
    return digest.hexdigest()[:16]


def located(name: str, data_dir: Path) -> str:
    """In words, whether a known data set is here already."""
    if (data_dir / f"{name}.npz").exists():
        return f"in {name}.npz"
    place = getattr(registry.load("datasets", name), "PLACE", None)
    if place is None:
        return "comes with the package"
    return f"in {place}" if (data_dir / place).exists() else "not here: downloaded when it is used"


def from_arrays(images: NDArray[Any], labels: NDArray[Any] | None) -> Split:
    """A split from uint8 ``(N, H, W)`` or ``(N, H, W, C)`` images; hidden labels where there are none."""
    if images.ndim == 3:
        images = images[..., None]
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    known = torch.full((len(images),), HIDDEN) if labels is None else torch.from_numpy(labels.astype(np.int64))
    return Split(pixels, known)


def fetched(name: str, data_dir: Path, place: str, fetch: Callable[[Path], object], read: Callable[[], Split]) -> Split:
    """``read()``, after ``fetch(folder)`` has downloaded the set where ``data_dir`` does not hold it; one process at a time.

    Args:
        place: the file or folder in ``data_dir`` that the set is.
        fetch: downloads the set into a folder, under ``place`` there.
        read: reads one split from ``data_dir``.

    Raises:
        DataError: no network, no room, or what is there is damaged. Nothing half-written is left.
    """
    target = data_dir / place
    if not target.exists():  # what is there can be read where nothing can be written
        with filling(data_dir, name):
            if not target.exists():
                _download(name, data_dir, place, fetch)
    try:
        return read()
    except DAMAGED as error:
        raise DataError(f"{target} is damaged ({_reason(error)}); remove it and {name} is fetched again") from error


def _download(name: str, data_dir: Path, place: str, fetch: Callable[[Path], object]) -> None:
    partial = data_dir / f".{place}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # what a killed download left
    patience = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_SECONDS)
    try:
        partial.mkdir()
        fetch(partial)
        os.replace(partial / place, data_dir / place)
    except (*DAMAGED, http.client.HTTPException) as error:
        raise DataError(
            f"cannot download {name} into {data_dir}: {_reason(error)}; put it there yourself as {name}.npz ({LAYOUT}) or"
            f" as {place} in torchvision's layout"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def filling(data_dir: Path, what: str) -> Iterator[None]:
    """Be the only process that puts ``what`` into ``data_dir``, which is made where it is not there.

    Raises:
        DataError: nothing can be written there.
    """
    lock = FileLock(data_dir / f".{what}.lock")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise DataError(f"cannot write {what} into {data_dir}: {_reason(error)}") from error
    try:
        yield
    finally:
        lock.release()


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
        raise DataError(f"cannot write {path}: {_reason(error)}") from error
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
        raise DataError(f"{file} is no image that can be read ({_reason(error)}); fix or remove it") from error


def _read_npz(path: Path, name: str, spec: ImageSpec | None) -> Source:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in file.files}
    except DAMAGED as error:
        raise DataError(
            f"{path} cannot be read ({_reason(error)}); it must be an .npz of {LAYOUT}{', or be removed' if spec else ''}"
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
    return _checked(Source(name, spec, train, test), path)


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


def _checked(source: Source, where: Path) -> Source:
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


def _read_folder(root: Path, name: str) -> Source:
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


def _no_such(name: str) -> DataError:
    return DataError(
        f"{unknown('data set', name, registry.names('datasets'))}; or give a path to a .npz file or to a folder train/<class>/*, "
        "test/<class>/*"
    )


def _reason(error: BaseException) -> str:
    """What an exception says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _shape(split: Split) -> tuple[int, int, int]:
    channels, height, width = split.images.shape[1:]
    return channels, height, width
