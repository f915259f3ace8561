"""A few seconds of `python -m tests.fuzz`, which runs for as long as it is asked to."""

from __future__ import annotations

import os
import pickle
import random
import socket
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fuzz.__main__ import PAIRS, TARGETS, chosen, fuzz, opened, shares
from tests.fuzz.guard import Guard
from tests.fuzz.target import Payload
from tests.fuzz.texts import Archives


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="what memory there is is found in /proc")
@pytest.mark.parametrize("kind", TARGETS)
def test_bad_input_is_read_or_refused_in_a_line(
    kind: str, tmp_path: Path, guard: Guard, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "BENCH_DATA_DIR", "BENCH_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Archives, "EMPTY", empty_database)
    with tempfile.TemporaryDirectory(prefix="bench-fuzz-", dir=tmp_path) as folder:  # of pipes, endless links and 2 TiB
        target = opened(kind, Path(folder))
        for mutation in target.MUTATIONS:
            found = fuzz(target, mutation, range(4), 0, guard)
            assert not found.broken
            assert found.outcomes.total() == 4


def test_an_input_is_the_same_again_by_its_number(tmp_path: Path) -> None:
    seen = []
    for run in ("a", "b"):
        target = TARGETS["studies"](tmp_path / run)
        target.make("values", random.Random("0 studies values 7"))
        seen.append((tmp_path / run / "own.toml").read_bytes())
    assert seen[0] == seen[1]


def test_inputs_are_divided_among_all_readers_and_mutations() -> None:
    counts = shares(PAIRS, 20_000)
    assert counts.keys() == set(PAIRS)
    assert 20_000 <= sum(counts.values()) < 20_000 + len(PAIRS)
    assert counts["npz", "bytes"] == counts["commands", "words"] > counts["archives", "bytes"]
    assert chosen(["idx:bytes", "commands"]) == [
        ("idx", "bytes"),
        *(("commands", mutation) for mutation in TARGETS["commands"].MUTATIONS),
    ]


@pytest.mark.parametrize(
    "deed",
    [
        lambda folder: pickle.loads(pickle.dumps(Payload(folder / "executed"))),
        lambda folder: subprocess.run(["true"], check=True),
        lambda folder: os.system("true"),
        lambda folder: socket.create_connection(("127.0.0.1", 9)),
        lambda folder: (folder / "x").write_bytes(b""),
        lambda folder: (folder / "inside" / ".." / "x").mkdir(),
        lambda folder: (folder / "inside" / "x").rename(folder / "x"),
    ],
    ids=["unpickles", "starts", "shell", "connects", "writes", "makes a folder", "moves"],
)
def test_the_guard_sees_what_may_not_be_done(deed: Callable[[Path], object], tmp_path: Path, guard: Guard) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "x").touch()
    with guard.watching(tmp_path / "inside"), pytest.raises(PermissionError, match="not to be done"):
        deed(tmp_path)
    assert len(guard.seen) == 1
    assert [each.name for each in tmp_path.iterdir()] == ["inside"]
