"""`bench ui`: who may ask, what others see of it, and that nothing of it outlives it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.cli.ui import _serve
from bench.paths import Paths
from bench.tracking.store import Store

BENCH = [sys.executable, "-c", "from bench.cli import main; main()"]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def status(port: int, host: str, path: str = "/") -> int:
    """The status of an answer to somebody who asks under the name ``host``."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path, headers={"Host": host})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status


@pytest.fixture
def served(inside: Paths) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """`bench ui` as a user starts it, on a database whose address holds a password."""
    Store(inside.store, None, "smoke", "?", create=True)
    port = free_port()
    uri = f"sqlite:///{inside.store}/mlflow.db?password=s3cret"
    command = [*BENCH, "ui", "--port", str(port)]
    process = subprocess.Popen(
        command,
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for _ in range(600):
            try:
                status(port, "localhost", "/health")
                break
            except OSError:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.1)
        yield process, port
    finally:
        process.kill()
        process.wait()


def test_it_serves_this_machine_alone_and_ends_whole(served: tuple[subprocess.Popen[str], int]) -> None:
    process, port = served
    for path in ("/", "/mlflow", "/opening.js", "/ajax-api/2.0/mlflow/users/current"):
        # The second through a tunnel.
        assert status(port, f"localhost:{port}", path) == status(port, "127.0.0.1:8080", path) == 200
        assert (
            status(port, "10.example.com", path) == 403
        )  # a site whose name leads here: MLflow's rule would let it in
    everything = list(psutil.Process(process.pid).children(recursive=True))
    assert len(everything) == 1  # which MLflow's own command would start from another
    for each in everything:
        assert "s3cret" not in " ".join(each.cmdline())
        assert {c.laddr.ip for c in each.net_connections() if c.status == psutil.CONN_LISTEN} <= {"127.0.0.1"}
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "s3cret" not in output
    _, alive = psutil.wait_procs(everything, timeout=30)
    assert not alive


def test_a_port_that_is_taken_is_one_line_and_exit_status_1(inside: Paths) -> None:
    Store(inside.store, None, "smoke", "?", create=True)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["ui", "--port", str(port)], catch_exceptions=False)
    assert result.exit_code == 1
    assert len(result.output.splitlines()) == 1
    assert f"port {port} of '127.0.0.1' cannot be listened on: [Errno" in result.output
    for host in ("nowhere.invalid", "x" * 300, "\n"):
        result = CliRunner().invoke(main, ["ui", "--host", host], catch_exceptions=False)
        assert result.exit_code == 1
        assert len(result.output.splitlines()) == 1


def test_a_server_that_ends_by_itself_gives_its_status() -> None:
    assert _serve([sys.executable, "-c", "raise SystemExit(3)"], os.environ) == 3
    assert _serve([sys.executable, "-c", ""], os.environ) == 0  # which is a fault too: nobody told it to


def test_what_a_server_started_ends_with_it(tmp_path: Path) -> None:
    script = "import os, signal, subprocess, sys, time; "
    script += "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
    script += f"open({str(tmp_path / 'child')!r}, 'w').write(str(child.pid)); "
    script += f"os.kill({os.getpid()}, signal.SIGTERM); time.sleep(60)"
    assert _serve([sys.executable, "-c", script], os.environ) is None
    assert not psutil.pid_exists(int((tmp_path / "child").read_text()))


def test_a_server_that_does_not_listen_to_reason_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.cli.ui.PATIENCE", 0.2)
    before = psutil.Process().children()  # another test's server of processes among them
    deaf = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
    deaf += f"os.kill({os.getpid()}, signal.SIGTERM); time.sleep(60)"
    assert _serve([sys.executable, "-c", deaf], os.environ) is None
    assert psutil.Process().children() == before
