"""Files that are there whole or not at all, whatever ends the process or the machine that writes them."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path
from typing import Literal

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, in a quota, in what one file may hold
Weights = Literal[
    "full", "half", "none"
]  # how trained weights go into a file: as they are, in half precision, not at all


def write_whole(path: Path, content: bytes) -> None:
    """Write beside ``path``, wait for the disk, and move it there: after a kill or a power cut it is the old file or the new.

    Raises:
        OSError: it cannot be written, as on a full disk; what was there is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def sync(folder: Path) -> None:
    """Wait until the disk knows which files a folder holds."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def sha256(content: bytes) -> str:
    """The digest of a file's content, 64 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()
