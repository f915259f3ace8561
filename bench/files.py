"""Files that are there whole or not at all, whatever ends the process or the machine that writes them."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import secrets
from pathlib import Path
from typing import Literal

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # no room on the disk, in a quota, in what one file may hold
Weights = Literal[
    "full", "half", "none"
]  # how trained weights go into a file: as they are, in half precision, not at all


def write_whole(path: Path, content: bytes) -> None:
    """Write beside ``path``, wait for the disk, and move it there: after a kill or a power cut it is the old file or the new.

    Of several that write it at once each has a file of its own until then, on whatever machine.

    Raises:
        OSError: it cannot be written, as on a full disk; what was there is there still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    sync(path.parent)


def remove_partial(path: Path) -> None:
    """Remove what was written of ``path`` when its writer was killed; whoever calls this is the only one that writes it now."""
    for between in (".????????.", "."):  # the second in earlier versions
        for partial in path.parent.glob(f".{glob.escape(path.name)}{between}partial"):
            partial.unlink(missing_ok=True)


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
