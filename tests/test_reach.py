"""Stores that are down, refuse, answer nonsense or never answer: one line within the time that is allowed, and no password."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

import bench.tracking.reach as reach
from bench.cli import main
from bench.paths import Paths
from bench.tracking.errors import StoreError
from bench.tracking.lookup import finished_run, studies
from bench.tracking.reach import answered, check_address, first_line
from bench.tracking.store import Store

SECRET = "s3cret"


@contextlib.contextmanager
def server(answer: bytes | None) -> Iterator[str]:
    """The address of a server that answers everything so, or never where that is None; a password stands in it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    kept.append(connection)
                    if answer is not None:
                        connection.recv(2**16)
                        connection.sendall(answer)
                        connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://me:{SECRET}@127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in kept:  # what still waits for an answer ends
                connection.close()


def response(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


ANSWERS = {
    "refused": (response("401 Unauthorized", "no"), "error code 401"),
    "broken": (response("500 Internal Server Error", "<html>\n</html>"), "too many 500 error responses"),
    "no server of MLflow's": (response("200 OK", "<html>\n</html>"), "not in a valid JSON format"),
    "no server at all": (b"hello\n\n", "BadStatusLine"),
}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(reach, "SAY_SECONDS", 0.05)


@pytest.mark.parametrize("kind", sorted(ANSWERS))
def test_a_server_that_cannot_be_used_is_one_line_without_its_password(
    kind: str, inside: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, said = ANSWERS[kind]
    with server(answer) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        for words in (
            ("run", "study", "smoke"),
            ("report", "smoke"),
            ("report", "--all"),
            ("apply", "generate", "0123"),
        ):
            result = CliRunner().invoke(main, list(words), catch_exceptions=False)
            assert result.exit_code == 2, result.output
            last = result.output.splitlines()[-1]
            assert last.startswith(
                f"Error: the tracking store http://***@{address.rpartition('@')[2]} cannot be used: "
            )
            assert said in last
            assert SECRET not in result.output
            assert "Traceback" not in result.output
        doctor = CliRunner().invoke(main, ["doctor"], catch_exceptions=False)
        assert doctor.exit_code == 1
        assert said in doctor.output
        assert doctor.output.endswith("1 to fix\n")
        assert SECRET not in doctor.output


def test_what_is_waited_for_is_said_and_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(reach, "START_SECONDS", 0.2)
    with server(None) as address:
        shown = f"http://***@{address.rpartition('@')[2]}"
        for ask in (
            lambda: Store(tmp_path, address, "x", "", create=True),
            lambda: studies(tmp_path, address),
            lambda: finished_run(tmp_path, address, "0123"),
        ):
            with pytest.raises(StoreError) as caught:
                ask()
            assert str(caught.value) == f"the tracking store {shown} cannot be used: it does not answer within 0.2 s"
            assert caplog.messages == [f"waiting for the tracking store {shown} to answer, for 0.2 s at most"]
            caplog.clear()


def test_what_answers_late_is_still_heard(caplog: pytest.LogCaptureFixture) -> None:
    ready = threading.Event()
    threading.Timer(0.2, ready.set).start()
    assert answered("http://me:s3cret@host", lambda: ready.wait(10))
    assert caplog.messages == ["waiting for the tracking store http://***@host to answer"]

    def fail() -> None:
        raise KeyError("a fault of ours keeps its own name")

    with pytest.raises(KeyError, match="a fault of ours"):
        answered("http://host", fail)


@pytest.mark.parametrize("uri", ["http://[x", "http://host:port", "nosuch://host", "mysql://me:s3cret@host/db"])
def test_an_address_of_no_store_is_one_line(tmp_path: Path, uri: str) -> None:
    with pytest.raises(StoreError, match=r"^the tracking store .* cannot be used: [^\n]+$") as caught:
        Store(tmp_path, uri, "x", "", create=False)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("storage", "said"),
    [
        ("x", "must be an address such as sqlite:"),
        ("{}", "must be an address such as sqlite:"),
        ("sqlite:///{x}.db", "it holds { }, which Optuna would fill in"),
        ("nosuch://me:s3cret@host/db", "cannot be used: Can't load plugin"),
        ("postgresql://me:s3@cret@host/db", "write @ as %40"),
        ("postgresql://me:s3cret@host/db", "from version to version: postgresql+psycopg://"),
        ("postgresql+nosuch://me:s3cret@host/db", "Can't load plugin"),
        ("sqlite:////proc/none/queue.db", "No such file or directory"),
    ],
)
def test_a_queue_that_cannot_be_had_is_one_line(inside: Paths, storage: str, said: str) -> None:
    result = CliRunner().invoke(main, ["run", "study", "smoke", "--storage", storage])
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) == 1
    assert said in result.output
    assert not any(part in result.output for part in ("s3cret", "cret@"))


def test_a_database_s_password_must_not_be_cut_in_two() -> None:
    check_address("MLFLOW_TRACKING_URI", "postgresql+psycopg://me:s3cret%40@host/db")
    check_address("MLFLOW_TRACKING_URI", "http://me:s3@cret@host")  # where the last @ ends it
    with pytest.raises(StoreError, match="write @ as %40"):
        check_address("MLFLOW_TRACKING_URI", "postgresql://me:s3/cret@host/db")


def test_a_connection_that_was_tried_often_says_what_it_came_to() -> None:
    text = "HTTPConnectionPool(host='h', port=1): Max retries exceeded with url: /api (Caused by Refused('no'))"
    assert first_line(OSError(text)) == "Refused('no')"
    assert first_line(OSError("a\nb")) == "a"
    assert first_line(OSError()) == "OSError"
