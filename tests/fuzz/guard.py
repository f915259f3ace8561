"""What reading a file may not do: run something, write elsewhere, take memory before it has looked."""

from __future__ import annotations

import contextlib
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

ROOM = (
    2 * 2**30
)  # bytes of address space beyond what there is at the start; allocators and threads alone take half of it
RUNS = (
    *("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "subprocess.Popen"),
    *("pickle.find_class", "socket.connect", "socket.bind"),
)
WRITES = {  # how many of an event's first arguments are paths that it changes
    **dict.fromkeys(("os.mkdir", "os.remove", "os.rmdir", "os.chmod", "os.utime"), 1),
    **dict.fromkeys(("os.rename", "os.link", "os.symlink"), 2),
}
TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Guard:
    """Sees what the interpreter does (PEP 578) while it is `watching`; what may not be is stopped and remembered.

    Attributes:
        seen: a line for each thing that may not be.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self._folder: Path | None = None
        sys.addaudithook(self._hear)  # for as long as the process lives

    @contextlib.contextmanager
    def watching(self, folder: Path) -> Iterator[None]:
        """Nothing is run, and nothing written but below ``folder``, where temporary files lie too."""
        self.seen.clear()
        bytecode, temporary = sys.dont_write_bytecode, tempfile.tempdir
        sys.dont_write_bytecode, tempfile.tempdir = True, str(folder)
        self._folder = folder
        try:
            yield
        finally:
            self._folder = None
            sys.dont_write_bytecode, tempfile.tempdir = bytecode, temporary

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        folder = self._folder
        if folder is None:
            return
        paths: tuple[Any, ...] = ()
        if event == "open":
            paths = arguments[:1] if (arguments[2] or 0) & TO_WRITE else ()
        elif event in WRITES and arguments[-1] in (-1, None):  # else within a folder that is open already
            paths = arguments[event == "os.symlink" : WRITES[event]]  # which may lead anywhere
        elif event == "sqlite3.connect":
            address = str(arguments[0])
            paths = (unquote(urlsplit(address).path),) if address.startswith("file:") else arguments[:1]
        elif event == "shutil.rmtree":
            paths = arguments[:1]
        elif event in RUNS and not (event == "subprocess.Popen" and "git" in (arguments[0], arguments[1][0])):
            self._stop(f"{event} {arguments!r:.150}")
        for path in paths:
            follow = event in ("open", "sqlite3.connect")  # else a link itself is meant
            if isinstance(path, (str, bytes, os.PathLike)) and not _below(os.fsdecode(path), folder, follow):
                self._stop(f"{event} {path!r:.150}")

    def _stop(self, what: str) -> None:
        self.seen.append(what)
        raise PermissionError(f"not to be done: {what}")


def _below(path: str, folder: Path, follow: bool) -> bool:
    if path in (":memory:", os.devnull):
        return True
    parent, name = os.path.split(path)
    whole = os.path.realpath(path) if follow else os.path.join(os.path.realpath(parent), name)
    return Path(whole).is_relative_to(folder)


@contextlib.contextmanager
def bounded(room: int = ROOM) -> Iterator[None]:
    """No more memory than ``room`` bytes beyond what is taken."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was short somewhere behind an error: something was allocated before anybody looked how much it is."""
    words = ("cannot allocate", "can't allocate", "unable to allocate", "memoryerror", "out of memory")
    while error is not None:
        if isinstance(error, MemoryError) or any(word in str(error).lower() for word in words):
            return True
        error = error.__cause__ or error.__context__
    return False
