"""A real tracking server that is away, dies, hangs or answers nonsense."""

from __future__ import annotations

import contextlib
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.case import Broken, Case, last


class Server:
    """MLflow's own, with its files in a folder, and its runs there or in another database."""

    def __init__(self, folder: Path, database: str = "", *, workers: int = 1) -> None:
        self.folder = folder
        self.workers = workers
        self._database = database or f"sqlite:///{folder}/mlflow.db"
        self._process: subprocess.Popen[bytes] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"

    @property
    def process(self) -> int:
        """Its ID."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.folder.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--backend-store-uri", self._database, "--workers", str(self.workers)]
        command += ["--artifacts-destination", str(self.folder / "artifacts")]
        quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                command, env={**os.environ, **quiet}, stdout=log, stderr=log, start_new_session=True
            )
        end = time.monotonic() + 180
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(OSError), urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"the server does not start: {(self.folder / 'log.txt').read_text()[-2000:]}")

    def send(self, number: int) -> None:
        """Send a signal to all of it."""
        if self._process is not None:
            os.killpg(self._process.pid, number)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self.send(signal.SIGKILL)
            self._process.wait()
            self._process = None
            while self._taken():  # those that it had started take a moment longer
                time.sleep(0.05)

    def _taken(self) -> bool:
        try:
            socket.create_server(("127.0.0.1", self.port)).close()
        except OSError:
            return True
        return False


class _Nonsense(http.server.BaseHTTPRequestHandler):
    """Answers everything with an error of its own."""

    def _answer(self) -> None:
        self.send_response(500)
        self.end_headers()
        self.wfile.write(b"<html>\nno\n</html>")

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815  the names that http.server wants

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _nonsense(port: int) -> Iterator[None]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", port), _Nonsense) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def _server(case: Case) -> Server:
    assert case.server is not None
    return case.server


def down_at_the_start(case: Case) -> str:
    """It is not there: said in a line, before long."""
    server = _server(case)
    server.kill()
    started = time.monotonic()
    driver = case.start()
    status = case.end(driver)
    if status != 2 or time.monotonic() - started > 180 or "cannot be used" not in last(driver.said(), 1):
        raise Broken(f"of a server that is down it is said, with status {status}: {last(driver.said())}")
    server.start()
    return "a server that is down at the start"


def dies_and_comes_back(case: Case) -> str:
    """Half-way, for some seconds."""
    server, driver = _server(case), case.start()
    stage = case.stage(driver)
    server.kill()
    time.sleep(case.random.uniform(0, 5))
    server.start()
    case.end(driver)
    return f"a server that died {stage} and came back" if stage else ""


def dies_for_good(case: Case) -> str:
    """Half-way: what was trained waits in its checkpoints, and the status says so."""
    server, driver = _server(case), case.start()
    stage = case.stage(driver)
    server.kill()
    status = case.end(driver)
    server.start()
    if stage and status not in (0, 1, 2):
        raise Broken(f"with its server gone the command ended with {status}: {last(driver.said())}")
    return f"a server that died {stage} for good" if stage and status else ""


def hangs(case: Case) -> str:
    """It takes what it is sent, and answers when it is woken again."""
    server, driver = _server(case), case.start()
    stage = case.stage(driver)
    server.send(signal.SIGSTOP)
    time.sleep(case.random.uniform(3, 40))
    server.send(signal.SIGCONT)
    case.end(driver)
    return f"a server that hung {stage} for a while" if stage else ""


def hangs_for_good(case: Case) -> str:
    """It takes what it is sent, and is woken only when the command has given up."""
    server, driver = _server(case), case.start()
    stage = case.stage(driver)
    server.send(signal.SIGSTOP)
    status = case.end(driver)
    server.send(signal.SIGCONT)
    if stage and status not in (0, 1, 2):
        raise Broken(f"with its server hanging the command ended with {status}: {last(driver.said())}")
    return f"a server that hung {stage} for good" if stage and status else ""


def answers_nonsense(case: Case) -> str:
    """Another program at its address, which answers 500 to everything."""
    server, driver = _server(case), case.start()
    stage = case.stage(driver)
    server.kill()
    with _nonsense(server.port):
        time.sleep(case.random.uniform(3, 15))
    server.start()
    case.end(driver)
    return f"a server that answered 500 {stage} for a while" if stage else ""
