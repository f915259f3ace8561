"""One driver for each study at a time, and one process for each trial, whatever study asks for it."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bench.study.definition import StudyError


@contextlib.contextmanager
def folder_of_locks(store: Path, *, looks: bool) -> Iterator[Path]:
    """Where the locks of a store lie; elsewhere for one that only ``looks``, who hinders nobody and leaves nothing."""
    if not looks:
        yield store / "locks"
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


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
            holder.write_text(_me())
            yield
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise StudyError(f"study {study} is being run by {who}: wait for it, or stop it and run this again") from None


class TrialLocks:
    """The trials that this driver has to itself: two studies may hold the same trial, and would share its checkpoint."""

    def __init__(self, locks: Path, study: str) -> None:
        self._folder = locks / "trials"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._study = study
        self._held: dict[str, FileLock] = {}

    def take(self, key: str) -> bool:
        """Hold the trial's lock, unless another driver does; whether it is held."""
        if key in self._held:
            return True
        lock = FileLock(self._folder / f"{key}.lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            return False
        self._held[key] = lock
        (self._folder / f"{key}.holder").write_text(f"study {self._study}, {_me()}")
        return True

    def holder(self, key: str) -> str:
        """Who holds it, in words."""
        try:
            return (self._folder / f"{key}.holder").read_text()
        except OSError:
            return "another process"

    def give_back(self, key: str) -> None:
        """Let others have the trial; from any thread."""
        if lock := self._held.pop(key, None):
            lock.release()

    def close(self) -> None:
        """Let others have all of them."""
        for key in list(self._held):
            self.give_back(key)


def _me() -> str:
    return f"process {os.getpid()} on {socket.gethostname()}"
