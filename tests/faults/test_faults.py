"""The short run: one study, disturbed three times, and that what is broken would be seen."""

from __future__ import annotations

import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.faults import facts, processes
from tests.faults.case import Case
from tests.faults.disturbances import DISTURBANCES, SIGNALS
from tests.faults.harness import Harness, drawn
from tests.reliability import write_section

pytestmark = [
    pytest.mark.faults,
    pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc"),
]


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Iterator[Case]:
    """A grid that was disturbed and has ended."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "empty").mkdir()
    (folder / "empty" / "mlflow.db").write_bytes(empty_database.read_bytes())
    with Harness(folder) as harness:
        expected = harness.reference("grid", harness.warm)
        with harness.case("grid", folder / "case", harness.warm, expected, seed=5, bare=False) as disturbed:
            for disturb in (killed_in_a_call, stopped, without_a_server):
                disturb(disturbed)
            disturbed.complete()
            yield disturbed


def killed_in_a_call(case: Case) -> None:
    """The driver, after it has written the first trial's measures and before it knows."""
    assert case.end(case.start(kill=["log_batch", 1, True])) == -signal.SIGKILL


def stopped(case: Case) -> None:
    """A child, whose driver is killed then."""
    driver = case.start()
    assert case.wait_for(driver, lambda: processes.at_work(case.mark, driver.pid))
    assert SIGNALS["SIGSTOP of a child, then SIGKILL of the driver"](case, driver)
    assert case.end(driver) == -signal.SIGKILL


def without_a_server(case: Case) -> None:
    """The server of processes is killed once there is one: the driver goes on, to the end."""
    driver = case.start()
    assert case.wait_for(driver, lambda: processes.members(case.mark, driver.pid, "server"))
    assert SIGNALS["SIGKILL of the server of processes"](case, driver)
    assert case.end(driver) == 0


def test_a_study_that_was_disturbed_ends_as_one_that_was_not(case: Case) -> None:
    assert case.broken == []


def _sql(statement: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database:
            assert database.execute(statement).rowcount
            database.commit()

    return act


def _once_more(folder: Path) -> None:
    name = "images~samples+step+0+timestamp+1+00000000-0000-0000-0000-000000000000.png"
    _picture(folder).with_name(name).touch()


def _picture(folder: Path) -> Path:
    return sorted(folder.glob("mlruns/artifacts/one/*/artifacts/images/*.webp"))[0]


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a status": (_sql("update runs set status = 'KILLED'"), "is KILLED and its state finished"),
    "a running run": (_sql("update runs set status = 'RUNNING'"), "is RUNNING"),
    "a step": (
        _sql("delete from metrics where key = 'test/loss' and step = 3"),
        "metric test/loss has steps [0, 1, 2, 4, 5]",
    ),
    "a step twice": (
        _sql(
            "insert into metrics select key, value, timestamp + 1, run_uuid, step, is_nan from metrics where step = 2 "
            "and key = 'time/epoch_s'"
        ),
        "metric time/epoch_s has steps [0, 1, 2, 2, 3, 4, 5]",
    ),
    "a value": (_sql("update metrics set value = value * 1.0000001 where key = 'train/loss'"), "has other values"),
    "a param": (_sql("delete from params where key = 'seed'"), "params lack seed"),
    "a tag": (_sql("update tags set value = '9' where key = 'threads'"), "tags: threads is another"),
    "a trial": (_sql("delete from tags where key = 'key'"), "is finished 0 times"),
    "a thumbnail": (lambda folder: _picture(folder).unlink(), "files lack images/"),
    "a picture": (lambda folder: _picture(folder).write_bytes(b"cut"), "is another"),
    "a picture twice": (_once_more, "files stand there twice"),
    "a checkpoint": (
        lambda folder: (folder / "mlruns" / "checkpoints" / "key").mkdir(),
        "left behind: mlruns/checkpoints/key",
    ),
    "a partial file": (lambda folder: (folder / "mlruns" / ".x.partial").touch(), "left behind: mlruns/.x.partial"),
    "a report": (
        lambda folder: (folder / "mlruns" / "reports" / "one" / "summary.csv").unlink(),
        "the report of one is another",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_seen(what: str, case: Case, tmp_path: Path) -> None:
    """In a copy of what stands there, whose paths still lead to it: what changes a file puts it back."""
    act, said = BROKEN[what]
    kept = {path: path.read_bytes() for path in case.folder.rglob("*") if path.is_file()}
    folders = {path for path in case.folder.rglob("*") if path.is_dir()}
    try:
        act(case.folder)
        assert any(said in line for line in facts.broken(case.folder, case.expected))
    finally:
        for path in case.folder.rglob("*"):
            if path.is_file() and path not in kept:
                path.unlink()
            elif path.is_dir() and path not in folders:
                path.rmdir()
        for path, content in kept.items():
            if not path.exists() or path.read_bytes() != content:
                path.write_bytes(content)
    assert facts.broken(case.folder, case.expected) == []


def test_a_case_is_what_its_seed_says() -> None:
    assert drawn(17) == drawn(17)
    assert {name for seed in range(2000) for name in drawn(seed)[1]} == set(DISTURBANCES)


def test_a_section_takes_the_place_of_its_own_name_and_leaves_the_others(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    for title, text in (("Faults", "one"), ("Bad input", "a\n\n| b |"), ("Faults", "two \\1")):
        write_section(page, title, text)
    assert page.read_text() == "# Reliability\n\n## Faults\n\ntwo \\1\n\n## Bad input\n\na\n\n| b |\n"
