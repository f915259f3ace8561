"""One driver for each study at a time."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bench.study.definition import StudyError


@contextlib.contextmanager
def sole_driver(locks: Path, study: str) -> Iterator[None]:
    """Hold the study's lock, which the kernel frees when its holder dies; the name beside it is for whoever must wait.

    Raises:
        StudyError: another process holds it.
    """
    locks.mkdir(parents=True, exist_ok=True)
    holder = locks / f"{study}.holder"
    try:
        with FileLock(locks / f"{study}.lock", timeout=0):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            yield
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise StudyError(f"study {study} is being run by {who}: wait for it, or stop it and run this again") from None
