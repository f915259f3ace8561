"""One file per data set; the file name is the set's name. This is their front door, and that of anybody's own images.

A file has ``SPEC: ImageSpec`` and ``load(split, data_dir) -> Split``. ``<data dir>/<name>.npz`` is used before it is asked.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.registry import names, take

SplitName = Literal["train", "test"]
SPLITS: tuple[SplitName, SplitName] = ("train", "test")
LAYOUT = (
    "x_train, y_train, x_test, y_test: uint8 images (N, H, W) or (N, H, W, C) with C 1 or 3, and their integer labels"
)
NETWORK_SECONDS = 20.0  # after which a server that does not answer counts as out of reach


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
    if name in names("datasets"):
        module = take("datasets", name)
        own = data_dir / f"{name}.npz"
        if own.exists():
            return _read_npz(own, name, module.SPEC)
        return Source(name, module.SPEC, *(module.load(split, data_dir) for split in SPLITS))
    path = Path(name)
    if path.is_dir():
        return _read_folder(path, name)
    if path.suffix == ".npz" and path.exists():
        return _read_npz(path, name, None)
    raise DataError(
        f"no data set {name!r}: there are {', '.join(names('datasets'))}, or give a path to a .npz file or to a folder "
        "train/<class>/*, test/<class>/*"
    )


def fingerprint(name: str) -> str:
    """What tells a path's content apart from another content at the same path; empty for a data set known by name.

    Raises:
        DataError: there is no such path.
    """
    if name in names("datasets"):
        return ""
    path = Path(name)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    if not files:
        raise DataError(
            f"no data set {name!r}: neither a known name ({', '.join(names('datasets'))}) nor a path with files"
        )
    digest = hashlib.sha256()
    for file in files:
        digest.update(str(file.relative_to(path)).encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def located(name: str, data_dir: Path) -> str:
    """In words, whether a known data set is here already."""
    if (data_dir / f"{name}.npz").exists():
        return f"in {name}.npz"
    place = getattr(take("datasets", name), "PLACE", None)
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
        DataError: no network, or what is there is damaged. Nothing half-written is left.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with FileLock(data_dir / f".{name}.lock"):
        if not (data_dir / place).exists():
            _download(name, data_dir, place, fetch)
        try:
            return read()
        except (OSError, ValueError, RuntimeError, EOFError, KeyError, IndexError) as error:
            raise DataError(
                f"{data_dir / place} is damaged ({type(error).__name__}: {error}); remove it and {name} is fetched again"
            ) from error


def _download(name: str, data_dir: Path, place: str, fetch: Callable[[Path], object]) -> None:
    patience = socket.getdefaulttimeout()
    with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as folder:
        socket.setdefaulttimeout(NETWORK_SECONDS)
        try:
            fetch(Path(folder))
        except (OSError, RuntimeError) as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise DataError(
                f"cannot download {name} into {data_dir}: {reason}; put it there yourself as {name}.npz ({LAYOUT})"
            ) from error
        finally:
            socket.setdefaulttimeout(patience)
        os.replace(Path(folder) / place, data_dir / place)


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write a cache whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npz", delete=False) as partial:
        try:
            np.savez(partial, allow_pickle=False, **arrays)
        except BaseException:
            os.unlink(partial.name)
            raise
    os.replace(partial.name, path)


def _read_npz(path: Path, name: str, spec: ImageSpec | None) -> Source:
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read ({error}); it must be an .npz of {LAYOUT}") from error
    splits = []
    for split in SPLITS:
        images, labels = arrays.get(f"x_{split}"), arrays.get(f"y_{split}")
        if images is None:
            raise DataError(f"{path} has no x_{split}; it must hold {LAYOUT}")
        if (
            images.dtype != np.uint8
            or images.ndim not in (3, 4)
            or (images.ndim == 4 and images.shape[3] not in (1, 3))
        ):
            raise DataError(f"{path}: x_{split} is {images.dtype} {images.shape}; it must be as in {LAYOUT}")
        if not len(images):
            raise DataError(f"{path}: x_{split} holds no images")
        if labels is not None and (labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer)):
            raise DataError(
                f"{path}: y_{split} is {labels.dtype} {labels.shape}; it must be whole numbers, one for each of {len(images)}"
            )
        splits.append(from_arrays(images, labels))
    train, test = splits
    if train.images.shape[1:] != test.images.shape[1:]:
        raise DataError(
            f"{path}: x_train and x_test hold images of different shapes, {_shape(train)} and {_shape(test)}"
        )
    labelled = [split for split in splits if (split.labels != HIDDEN).any()]
    highest = max((int(split.labels.max()) for split in labelled), default=-1)
    if spec is None:
        classes = (
            [str(word) for word in arrays["classes"]] if "classes" in arrays else [str(i) for i in range(highest + 1)]
        )
        channels, height, width = train.images.shape[1:]
        spec = ImageSpec(channels, height, width, tuple(classes))
    if tuple(train.images.shape[1:]) != spec.shape:
        raise DataError(f"{path}: images of {name} are {spec.shape} (C, H, W), not {_shape(train)}")
    for word, part in zip(SPLITS, splits, strict=True):
        if highest >= len(spec.classes) or int(part.labels.min()) < HIDDEN:
            raise DataError(f"{path}: labels run from 0 to {len(spec.classes) - 1}; y_{word} or its twin holds others")
        for label, class_name in enumerate(spec.classes if len(labelled) == 2 else ()):
            if not (part.labels == label).any():
                raise DataError(f"{path}: class {class_name!r} has no images in {word}")
    return Source(name, spec, train, test)


def _read_folder(root: Path, name: str) -> Source:
    classes: tuple[str, ...] = ()
    shape: tuple[int, ...] | None = None
    splits = []
    for split in SPLITS:
        folder = root / split
        found = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())) if folder.is_dir() else ()
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
                image = _read_image(file)
                shape = shape or image.shape
                if image.shape != shape:
                    raise DataError(
                        f"{file} is {image.shape} (H, W, C); the images before it are {shape}: make them alike"
                    )
                images.append(image)
                labels.append(label)
        splits.append(from_arrays(np.stack(images), np.array(labels)))
    channels, height, width = splits[0].images.shape[1:]
    return Source(name, ImageSpec(channels, height, width, classes), *splits)


def _read_image(file: Path) -> NDArray[np.uint8]:
    """One image, ``[H, W, C]``, grey or RGB."""
    try:
        with Image.open(file) as image:
            pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise DataError(f"{file} is no image that can be read ({error}); mend or remove it") from error
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _shape(split: Split) -> tuple[int, ...]:
    return tuple(split.images.shape[1:])
