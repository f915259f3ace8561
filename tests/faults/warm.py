"""Drivers without the seconds that imports take: forked from a process that has read everything and done nothing.

It is the command line all the same: a session and group of processes of its own, its own output, and the end of an interpreter.
The first server of processes that a driver starts is such a fork too, made before the driver does anything, so that it holds
nothing of the driver's; another one, and every one of a case that is not ``quick``, is started as `multiprocessing` does it.
"""

from __future__ import annotations

import atexit
import ctypes
import fcntl
import gc
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from importlib import import_module
from multiprocessing import util
from pathlib import Path
from typing import Any

from PIL import Image

MARK = "BENCH_FAULTS_CASE"  # the variable by which the processes of a case are known

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # which libraries start when they are read
SERVER = "forkserver"  # what a server of processes is called in /proc, at most 15 letters
PR_SET_NAME = 15  # prctl(2)
READ = (
    "bench.api",
    "bench.cli.doctor",
    "bench.cli.progress",
    "bench.cli.report",
    "bench.cli.run",
    "bench.executors.local",
    "bench.networks.blocks",
    "bench.report.page",
    "bench.results",
    "bench.run.driver",
    "bench.tracking.writer",
    "multiprocessing.popen_forkserver",
    "pyarrow.pandas_compat",
    "rich.live",
    "tabulate",
    "torch._dynamo",
)
"""All that a command reads."""


class Warm:
    """The process that drivers are forked from; a context manager."""

    def __enter__(self) -> Warm:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.warm"],
            cwd=Path(__file__).parent.parent.parent,
            env={**os.environ, **dict.fromkeys(THREADS, "1")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *error: object) -> None:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.close()
        self._server.wait(30)
        self._server.stdout.close()

    def ask(self, question: Mapping[str, Any]) -> Any:
        """One question, one answer."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(question) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def start(self, words: Sequence[str], folder: Path, output: Path, **options: Any) -> Driver:
        """``bench`` with these words in ``folder``, everything that it says in ``output``.

        Args:
            options: ``mark``, ``environment``; ``quick``, whether its server of processes is a fork too; ``file_size``, bytes
                that no file may exceed; ``kill``, the name of a function, the number of a call, and whether the driver is killed
                after it.
        """
        asked = {"ask": "start", "words": list(words), "folder": str(folder), "output": str(output), **options}
        return Driver(self, int(self.ask(asked)), output)


class Driver:
    """A command that runs."""

    def __init__(self, warm: Warm, pid: int, output: Path) -> None:
        self.warm = warm
        self.pid = pid
        self.output = output
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        if self._status is None:
            self._status = self.warm.ask({"ask": "poll", "pid": self.pid})
        return self._status

    def wait(self, seconds: float) -> int | None:
        """The same, after so many seconds at most."""
        end = time.monotonic() + seconds
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.02)
        return self._status

    def said(self) -> str:
        """All that it has said."""
        return self.output.read_text(errors="replace")


_serves = False


def _tie() -> None:
    """What `bench.executors._tied` does in whatever a server forks, which reads it before anything else."""
    if _serves:
        from bench.executors.local import die_with_parent

        die_with_parent()


def _serve() -> None:
    os.register_at_fork(after_in_child=_tie)
    for name in READ:
        import_module(name)
    Image.init()
    gc.collect()
    gc.freeze()  # what is never thrown away needs no looking at, in any of the forks
    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert set(threads[1:]) <= {"jemalloc_bg_thd"}, (
        f"threads run, which a fork would lose: {threads}"
    )  # that one comes back
    for asked in sys.stdin:
        question = json.loads(asked)
        answer: Any = None
        if question["ask"] == "start":
            answer = os.fork()
            if answer == 0:
                _become(question)
                return
        elif question["ask"] == "poll":
            pid, status = os.waitpid(question["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _become(question: Mapping[str, Any]) -> None:
    """Be the command, to the end of this process."""
    from bench.cli import program
    from tests.faults.moments import kill_in

    os.setsid()
    output = os.open(question["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream, number in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(stream, number)
    os.chdir(question["folder"])
    for name in ("MLFLOW_TRACKING_URI", "BENCH_DATA_DIR", "BENCH_STORAGE", *THREADS):
        os.environ.pop(name, None)
    os.environ.update({MARK: question["mark"], "COLUMNS": "200", **question.get("environment", {})})
    if size := question.get("file_size"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    if question["quick"]:
        if code := _with_a_server_in_wait():
            exec(code, {})
            return
        _pack_loosely()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if kill := question.get("kill"):
        kill_in(*kill)
    sys.argv = ["bench", *question["words"]]
    try:
        program()
    except SystemExit as ended:
        if not question["quick"]:
            raise
        _end(ended.code)


def _end(status: object) -> None:
    """What an interpreter does at its end, but for giving all memory back piece by piece, which takes half a second."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    if isinstance(status, str):
        print(status, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status if isinstance(status, int) else int(status is not None))


def _pack_loosely() -> None:
    """Let a report's pictures, which nobody compares, take no longer than they must: it was a third of a command's time."""
    from bench import images

    save = images._saved
    images._saved = lambda image, **options: save(image, **{**options, "optimize": False, "compress_level": 1})


def _with_a_server_in_wait() -> str:
    """Fork: the parent gets nothing, and the child, once the parent starts a server of processes, the code that this runs."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        ours.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return _wait_to_serve(theirs)
    theirs.close()
    start = util.spawnv_passfds
    waits = True

    def started(path: bytes, words: Sequence[str], descriptors: Sequence[int]) -> int:
        nonlocal waits
        if waits and SERVER in words[-1]:
            waits = False
            told = {"code": words[-1], "descriptors": list(descriptors), "environment": dict(os.environ)}
            try:
                socket.send_fds(ours, [json.dumps(told).encode()], list(descriptors))
            except OSError:  # somebody has ended it
                pass
            else:
                return pid
            finally:
                ours.close()
        return start(path, words, descriptors)

    setattr(util, "spawnv_passfds", started)  # noqa: B010  its words are typed more narrowly than what it is called with
    return ""


def _wait_to_serve(asked: socket.socket) -> str:
    """The code to run, once this process is told to serve; it ends with its driver until then."""
    message, descriptors, _, _ = socket.recv_fds(asked, 100_000, 8)
    asked.close()
    if not message:
        os._exit(0)
    global _serves
    _serves = True
    told = json.loads(message)
    high = [fcntl.fcntl(each, fcntl.F_DUPFD, 200) for each in descriptors]
    for each in descriptors:
        os.close(each)
    for each, number in zip(high, told["descriptors"], strict=True):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(told["environment"])
    ctypes.CDLL(None).prctl(PR_SET_NAME, SERVER.encode())
    signal.signal(signal.SIGINT, signal.default_int_handler)
    return str(told["code"])


if __name__ == "__main__":
    _serve()
