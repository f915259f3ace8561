"""The processes of a case, found by the mark in their environment."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from tests.faults.warm import MARK, SERVER


@dataclass(frozen=True)
class Process:
    """One process.

    Attributes:
        role: ``driver``, ``server`` of processes, ``child`` or ``tracker`` of resources.
    """

    pid: int
    parent: int
    role: str
    state: str


def family(mark: str, driver: int) -> list[Process]:
    """All that live of a case, those of the driver's session and those that bear the case's mark; a zombie does not."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError, IndexError):
                name, _, rest = (folder / "stat").read_text().rpartition(")")
                state, parent, _, session = rest.split()[:4]
                if state == "Z" or (int(session) != driver and not _marked(folder, mark)):
                    continue
                words = f"{name} {(folder / 'cmdline').read_bytes()!r}"
                found.append(Process(int(folder.name), int(parent), _role(int(folder.name), words, driver), state))
    servers = {each.pid for each in found if each.role == "server"}
    return [
        Process(each.pid, each.parent, "child", each.state)
        if each.role == "server" and each.parent in servers
        else each
        for each in found
    ]


def _marked(folder: Path, mark: str) -> bool:
    return f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")


def members(mark: str, driver: int, role: str) -> list[int]:
    """The IDs of those that have a role."""
    return [each.pid for each in family(mark, driver) if each.role == role]


def at_work(mark: str, driver: int) -> list[int]:
    """The children that have come to their work, where a second thread runs.

    One that is stopped before its first instruction cannot ask the kernel to be ended with its server, and nobody can for it.
    """
    found = []
    for pid in members(mark, driver, "child"):
        with contextlib.suppress(OSError):
            if len(list(Path(f"/proc/{pid}/task").iterdir())) > 1:
                found.append(pid)
    return found


def send(pid: int, number: int) -> bool:
    """Send a signal; whether there was somebody to get it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def outlived(mark: str, driver: int, seconds: float = 20.0) -> list[Process]:
    """Those that are still there so long after their driver; they are ended."""
    end = time.monotonic() + seconds
    while (left := family(mark, driver)) and time.monotonic() < end:
        time.sleep(0.05)
    for each in left:
        send(each.pid, signal.SIGKILL)
    return left


def _role(pid: int, words: str, driver: int) -> str:
    if "resource_tracker" in words:
        return "tracker"
    if SERVER in words:
        return "server"
    return "driver" if pid == driver else "other"
