"""Where trials run: every executor, on work that needs no model."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.executors import Resources, local
from bench.executors.local import run, slots
from bench.study.definition import SECTIONS, Failure, Trial
from tests.promises import promises, try_promise

EMPTY: dict[str, Any] = {section: {} for section in SECTIONS}
Events = list[tuple[int, Any]]


def trial(seed: int) -> Trial:
    return Trial("v", "vae", "digits", seed, EMPTY)


def work(each: Trial) -> Iterator[Any]:
    """What a trial does is in its seed."""
    yield os.environ["OMP_NUM_THREADS"], os.environ["CUDA_VISIBLE_DEVICES"]
    match each.seed:
        case 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case 2:
            raise ValueError("no good\nat all")
        case 4:
            os._exit(7)
        case 6:
            time.sleep(60)
    yield "done"


def collect(seeds: list[int], resources: Resources) -> Events:
    return [(each.seed, event) for each, event in run(iter([trial(seed) for seed in seeds]), work, resources)]


@pytest.mark.parametrize(("name", "promise"), [each for each in promises("executors") if each[0] != "ray"])
def test_every_executor_keeps_its_promises(name: str, promise: str) -> None:
    """Ray on its own cluster: tests/test_ray.py."""
    try_promise("executors", name, promise)


def test_a_trial_whose_driver_is_gone_ends_without_a_word(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come to tell something before it is ended itself, and a traceback would be the last that the user sees."""
    for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "1")
    driver, events = local.CONTEXT.Pipe(duplex=False)
    driver.close()
    before = signal.getsignal(signal.SIGINT)
    try:
        local._work(events, work, trial(0), {})
    finally:
        signal.signal(signal.SIGINT, before)
    assert events.closed


def test_events_come_from_every_trial_and_one_death_is_one_trials() -> None:
    events = collect([0, 1, 2, 4, 5], Resources(workers=2))
    by_seed = {seed: [event for each, event in events if each == seed] for seed in (0, 1, 2, 4, 5)}
    assert by_seed[0][1:] == by_seed[5][1:] == ["done"]
    assert by_seed[1][-1] == Failure("killed", "the trial's process was ended by SIGKILL")
    assert by_seed[1][-1].retriable
    assert (by_seed[2][-1].kind, by_seed[2][-1].reason) == ("error", "ValueError: no good")
    assert "in work" in by_seed[2][-1].details
    assert by_seed[4][-1] == Failure("error", "the trial's process ended with exit status 7")


def test_gpus_are_shared_out_by_their_numbers() -> None:
    shares = slots(Resources(gpus=("0", "2"), trials_per_gpu=2))
    assert [share["CUDA_VISIBLE_DEVICES"] for share in shares] == ["0", "2", "0", "2"]
    assert {share["CUDA_VISIBLE_DEVICES"] for share in slots(Resources(workers=3))} == {""}


def test_the_drivers_own_environment_stays_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "13")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    events = collect([0], Resources())
    assert events[0][1][1] == ""
    assert os.environ["OMP_NUM_THREADS"] == "13"
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def server() -> psutil.Process:
    """The server that this process's children are forked from."""
    (found,) = [each for each in psutil.Process().children() if "forkserver" in " ".join(each.cmdline())]
    return found


def test_the_server_of_processes_is_started_before_the_first_trial_and_serves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "13")
    local.ready(Resources(workers=2))
    before = server()
    assert os.environ["OMP_NUM_THREADS"] == "13"
    assert collect([0], Resources(workers=2))[-1] == (0, "done")
    assert server() == before


def test_where_the_server_of_processes_is_ended_its_children_are_and_the_next_has_another() -> None:
    """A child that has said that it is done was done, whoever could tell how it ended."""
    events = []
    for each, event in run(iter([trial(6), trial(0), trial(5)]), work, Resources(workers=2)):
        events.append((each.seed, event))
        if (each.seed, event) == (0, "done"):
            end_the_server_before_it_tells_of_an_end()
    by_seed = {
        seed: [event for each, event in events if each == seed and type(event) is not tuple] for seed in (6, 0, 5)
    }
    lost = Failure("killed", "the server of the trials' processes was ended, and this one with it")
    assert by_seed == {6: [lost], 0: ["done"], 5: ["done"]}


def end_the_server_before_it_tells_of_an_end() -> None:
    """Stopped, it collects no child; once one of its children has ended, it is killed."""
    stopped = server()
    stopped.suspend()
    for _ in range(6000):
        if any(each.status() == psutil.STATUS_ZOMBIE for each in stopped.children()):
            break
        time.sleep(0.01)
    stopped.kill()


def test_a_server_that_cannot_be_reached_is_tried_again_and_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    start = local.CONTEXT.Process.start

    def failing(process: Any) -> None:
        nonlocal calls
        calls += 1
        if calls in (1, 3, 4, 5):
            raise EOFError
        start(process)

    monkeypatch.setattr(local, "WAITS", (0.0, 0.0))
    monkeypatch.setattr(local.CONTEXT.Process, "start", failing)
    events = collect([0, 5, 7], Resources())
    assert [seed for seed, event in events if event == "done"] == [0, 7]
    assert (5, Failure("killed", "no process could be started for it: no answer")) in events


DRIVER = """
from bench.executors import Resources, local
from tests.test_executors import run, trial, work
for each, event in run(iter([trial(6), trial(6)]), work, Resources(workers=2)):
    print("begun", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a process that is stopped ends with its parent on Linux alone")
@pytest.mark.parametrize("stopped", ["child", "server", "nothing"])
def test_no_process_outlives_a_driver_that_is_killed(stopped: str) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], cwd=Path(__file__).parent.parent, stdout=subprocess.PIPE, text=True
    )
    assert driver.stdout is not None
    with driver:
        for _ in range(2):
            assert driver.stdout.readline() == "begun\n"
        family = psutil.Process(driver.pid).children(recursive=True)
        (above,) = [each for each in family if "forkserver" in " ".join(each.cmdline()) and each.ppid() == driver.pid]
        assert len(above.children()) == 2
        if stopped != "nothing":
            (above if stopped == "server" else above.children()[0]).suspend()
        driver.kill()
    _, alive = psutil.wait_procs(family, timeout=30)
    for each in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    assert not alive
