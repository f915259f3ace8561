"""One file per data set; the file name is the set's name. This is their front door, and that of anybody's own images.

A file has ``SPEC: ImageSpec`` and ``load(split, data_dir) -> Split``. ``<data dir>/<name>.npz`` is used before it is asked.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from filelock import FileLock

from bench import registry
from bench.contract import DataError, Split
from bench.datasets._code import loaded, spec_of
from bench.datasets._files import Track, digests_of, fingerprint_of, untracked
from bench.datasets._folders import list_folder
from bench.datasets._images import centre_square, read_image
from bench.datasets._npz import LAYOUT, read_npz, write_npz
from bench.datasets._readers import (
    DAMAGED,
    SPLITS,
    Source,
    SplitName,
    check_image_size,
    from_arrays,
    read_folder,
    read_idx_split,
    resize,
)
from bench.registry import unknown
from bench.text import reason

__all__ = [
    "LAYOUT",
    "SPLITS",
    "Source",
    "SplitName",
    "Track",
    "at_hand",
    "centre_square",
    "fetched",
    "filling",
    "fingerprint",
    "from_arrays",
    "located",
    "open_dataset",
    "read_idx_split",
    "read_image",
    "spec_of",
    "untracked",
    "write_npz",
]

KEPT = "decoded"  # the folder in the data folder that holds what may be removed at any time
NETWORK_SECONDS = 20.0  # after which a server that does not answer counts as out of reach


def open_dataset(name: str, data_dir: Path, image_size: int | None = None, track: Track = untracked) -> Source:
    """The data set ``name``: one that `bench` knows, or a path (`registry.path`) to a ``.npz`` file or a folder of images.

    Args:
        data_dir: where known sets are, and where what is decoded and resized is kept.
        image_size: take the centre square of every image, resized to so many pixels along a side.

    Raises:
        DataError: it cannot be had.
    """
    check_image_size(image_size)
    path = registry.path(name)
    if name in registry.names("datasets"):
        own = data_dir / f"{name}.npz"
        source = read_npz(own, name, spec_of(name)) if own.exists() else loaded(name, data_dir)
    elif _is(path, Path.is_dir):
        return read_folder(path, name, image_size, data_dir / KEPT, track)
    elif path.suffix == ".npz" and _is(path, Path.is_file):
        source = replace(read_npz(path, name, None), fingerprint=fingerprint(name, data_dir, track))
    else:
        raise _no_such(name)
    return source if image_size is None else resize(source, image_size, data_dir / KEPT, track)


def fingerprint(name: str, data_dir: Path, track: Track = untracked) -> str:
    """What tells a path's content apart from another content at the same path; empty for a data set known by name.

    Raises:
        DataError: there is no such path, or nothing that could be read there.
    """
    if name in registry.names("datasets"):
        return ""
    path = registry.path(name)
    if not _is(path, Path.is_dir) and not _is(path, Path.is_file):
        raise _no_such(name)
    files = list_folder(path).files if path.is_dir() else [path]
    return fingerprint_of(path, digests_of(path, files, data_dir / KEPT, track))


def at_hand(name: str, data_dir: Path) -> bool:
    """Whether a known data set can be had without a download."""
    place = getattr(registry.load("datasets", name), "PLACE", None)
    return place is None or any((data_dir / each).exists() for each in (f"{name}.npz", place))


def located(name: str, data_dir: Path) -> str:
    """In words, where a known data set is here, or how it is had."""
    if (data_dir / f"{name}.npz").exists():
        return f"in {name}.npz"
    place = getattr(registry.load("datasets", name), "PLACE", None)
    if place is None:
        return "comes with the package"
    if at_hand(name, data_dir):
        return f"in {place}"
    return f"not here: the first run on it downloads it, or put {name}.npz or torchvision's {place} there yourself"


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
        _check_files(target)
        return read()
    except DAMAGED as error:
        raise DataError(f"{target} is damaged ({reason(error)}); remove it and {name} is fetched again") from error


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
            f"cannot download {name} into {data_dir}: {reason(error)}; put it there yourself as {name}.npz ({LAYOUT}) or"
            f" as {place} in torchvision's layout"
        ) from error
    finally:
        socket.setdefaulttimeout(patience)
        shutil.rmtree(partial, ignore_errors=True)


def _check_files(place: Path) -> None:
    """Refuse what is neither a file nor a folder: who reads a pipe waits without end, who reads a device reads without end.

    Raises:
        OSError: there is something of the kind, or a folder that cannot be looked into.
    """
    if place.is_dir():
        with os.scandir(place) as entries:
            for entry in entries:
                if not entry.is_file():
                    _check_files(Path(entry.path))
    elif not place.is_file():
        raise OSError(f"{place.name} is no file")


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
        raise DataError(f"cannot write {what} into {data_dir}: {reason(error)}") from error
    try:
        yield
    finally:
        lock.release()


def _is(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Whether a path leads to a file, or to a folder; one that no file system can have leads nowhere."""
    try:
        return kind(path)
    except (OSError, ValueError):
        return False


def _no_such(name: str) -> DataError:
    return DataError(
        f"{unknown('data set', name, registry.names('datasets'))}; or give a path to a .npz file or to a folder of images"
    )
