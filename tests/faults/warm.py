"""Drivers without the seconds that imports take: forked from a process that has read everything and done nothing.

It is the command line all the same: a session and group of processes of its own, its own output, and the end of an interpreter.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

MARK = "BENCH_FAULTS_CASE"  # the variable by which the processes of a case are known

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")  # which libraries start when they are read


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
        assert self.ask({"ask": "ready"}) == "ready"
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
            options: ``mark``, ``environment``; ``file_size``, bytes that no file may exceed; ``user``, to whom it belongs;
                ``kill``, the name of a function and how often it may be called before the driver is killed in it.
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


def _serve() -> None:
    import bench.cli.report
    import bench.cli.run
    import bench.run.driver
    import bench.tracking.writer  # noqa: F401  all that a command reads, read once

    threads = [(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    assert set(threads[1:]) <= {"jemalloc_bg_thd"}, (
        f"threads run, which a fork would lose: {threads}"
    )  # that one comes back
    for asked in sys.stdin:
        question = json.loads(asked)
        answer: Any = "ready"
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
    from bench.cli import main
    from tests.faults.moments import kill_in

    os.setsid()
    output = os.open(question["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream, number in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(stream, number)
    os.chdir(question["folder"])
    for name in ("MLFLOW_TRACKING_URI", "BENCH_DATA_DIR", "BENCH_STORAGE", *THREADS):
        os.environ.pop(name, None)
    os.environ.update({MARK: question["mark"], "COLUMNS": "200", **question.get("environment", {})})
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if size := question.get("file_size"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    if kill := question.get("kill"):
        kill_in(*kill)
    if user := question.get("user"):
        os.setgid(user)
        os.setuid(user)
    sys.argv = ["bench", *question["words"]]
    main()


if __name__ == "__main__":
    _serve()
