"""Many files at once: read in threads while somebody watches, and known by their content without being read again."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bench.contract import DataError
from bench.text import reason

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST = 2**30  # bytes of what is known of files: five million of them
AT_ONCE = 256  # files handed to the threads: no more are still read after one of them has failed
SETTLED = 2_000_000_000  # nanoseconds; the coarsest file systems tell changes apart that are so far from one another


class Track(Protocol):
    """Shows how far a long reading is."""

    def __call__(self, items: Iterable[Item], what: str, total: int) -> Iterable[Item]:
        """Hand on ``items``, ``total`` in all, one by one; ``what`` says in words what is going on."""


def untracked(items: Iterable[Item], what: str, total: int) -> Iterable[Item]:
    """The `Track` that shows nothing."""
    return items


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item], track: Track, what: str
) -> Generator[Result, None, None]:
    """``work`` of each item, in their order."""
    if not items:
        return
    pool = ThreadPoolExecutor()
    try:
        parts = (items[start : start + AT_ONCE] for start in range(0, len(items), AT_ONCE))
        yield from track((result for part in parts for result in pool.map(work, part)), what, len(items))
    finally:
        pool.shutdown(cancel_futures=True)


def fingerprint_of(root: Path, digests: Mapping[Path, str]) -> str:
    """Hash of the places of files under ``root`` and of what they hold, 16 hexadecimal digits."""
    whole = hashlib.sha256()
    for file, digest in sorted(digests.items()):
        whole.update(os.fsencode(file.relative_to(root).as_posix()) + b"\0" + bytes.fromhex(digest))
    return whole.hexdigest()[:16]


def digests_of(root: Path, files: Sequence[Path], folder: Path, track: Track) -> dict[Path, str]:
    """SHA-256 of what each of ``files`` holds, 64 hexadecimal digits.

    As in git, a file is not read again while its size, its inode and its times are as they were: the time of its last change of
    any kind is the kernel's own, so that no copying and no ``touch`` hides one. What has changed within two seconds of being
    read is read again next time, since a change that follows in the same tick of the clock would not show.

    Args:
        root: what ``files`` are in.
        folder: where what is known is kept; nothing is where it cannot be written.

    Raises:
        DataError: a file cannot be read.
    """
    place = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    index = folder / f"{place}.json"
    known = _read(index)
    now = time.time_ns()
    names = [file.relative_to(root).as_posix() for file in files]
    marks = [_mark(file) for file in files]
    found = {
        name: known[name][-1]
        for name, mark in zip(names, marks, strict=True)
        if name in known and known[name][:-1] == mark
    }
    unread = [file for file, name in zip(files, names, strict=True) if name not in found]
    for file, digest in zip(
        unread, in_threads(_digest, unread, track, f"looking through {root.resolve().name}"), strict=True
    ):
        found[file.relative_to(root).as_posix()] = digest
    if unread:
        settled = {
            name: [*mark, found[name]]
            for name, mark in zip(names, marks, strict=True)
            if max(mark[1:3]) < now - SETTLED
        }
        _write(index, settled)
    return {file: found[name] for file, name in zip(files, names, strict=True)}


def _mark(file: Path) -> list[int]:
    """What changes with a file's content: its size, both its times of change in nanoseconds, and its inode."""
    try:
        status = file.stat()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {reason(error)}") from error
    if not stat.S_ISREG(status.st_mode):  # a link to a device, say, which could be read without end
        raise DataError(f"{file} cannot be read: it is no file")
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {reason(error)}") from error


def _read(index: Path) -> dict[str, list[Any]]:
    """Marks and digests by place; none where the file is absent or damaged, which costs no more than reading anew."""
    try:
        if not index.is_file() or index.stat().st_size > LARGEST:
            return {}
        known = json.loads(index.read_text(encoding="ascii"))
        assert all(len(entry) == 5 and len(bytes.fromhex(entry[4])) == 32 for entry in known.values())
    except (OSError, ValueError, TypeError, AttributeError, KeyError, RecursionError, AssertionError):
        return {}
    return dict(known)


def _write(index: Path, known: dict[str, list[Any]]) -> None:
    partial = index.with_name(f".{index.name}.{os.getpid()}")
    with suppress(OSError):  # it saves time alone
        try:
            index.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(known), encoding="ascii")
            os.replace(partial, index)
        finally:
            partial.unlink(missing_ok=True)
