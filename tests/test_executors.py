"""Where trials run: every executor, on work that needs no model."""

from __future__ import annotations

import inspect
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from bench import registry
from bench.executors import Resources
from bench.executors.local import run, slots
from bench.study.definition import SECTIONS, Failure, Trial

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
        case 3:
            time.sleep(60)
        case 4:
            os._exit(7)
    yield "done"


def collect(seeds: list[int], resources: Resources, stop: int | None = None) -> Events:
    events: Events = []
    generator = run(iter([trial(seed) for seed in seeds]), work, resources)
    verdict: bool | None = None
    while True:
        try:
            each, event = generator.send(verdict)
        except StopIteration:
            return events
        events.append((each.seed, event))
        verdict = each.seed == stop


@pytest.mark.parametrize("name", registry.names("executors"))
def test_every_executor_keeps_the_contract(name: str) -> None:
    assert list(inspect.signature(registry.load("executors", name).run).parameters) == ["trials", "work", "resources"]


def test_events_come_from_every_trial_and_one_death_is_one_trials() -> None:
    events = collect([0, 1, 2, 4, 5], Resources(workers=2))
    by_seed = {seed: [event for each, event in events if each == seed] for seed in (0, 1, 2, 4, 5)}
    assert by_seed[0][1:] == by_seed[5][1:] == ["done"]
    assert by_seed[1][-1] == Failure("killed", "the trial's process was ended by SIGKILL")
    assert by_seed[1][-1].retriable
    assert (by_seed[2][-1].kind, by_seed[2][-1].reason) == ("error", "ValueError: no good")
    assert "in work" in by_seed[2][-1].details
    assert by_seed[4][-1] == Failure("error", "the trial's process ended with exit status 7")


def test_a_trial_that_takes_too_long_is_stopped() -> None:
    events = collect([3], Resources(timeout=4.0))
    assert events[-1] == (3, Failure("timed out", "stopped after 4 s"))
    assert not events[-1][1].retriable


def test_a_trial_is_stopped_when_it_is_told_to() -> None:
    events = collect([3, 0], Resources(), stop=3)
    assert [seed for seed, _ in events] == [3, 0, 0]


def test_closing_ends_the_children() -> None:
    generator = run(iter([trial(3)]), work, Resources())
    next(generator)
    started = time.monotonic()
    generator.close()
    assert time.monotonic() - started < 30  # and not the 60 s that the trial sleeps


def test_none_waits_for_what_is_running() -> None:
    finished: list[int] = []

    def trials() -> Iterator[Trial | None]:
        yield trial(0)
        while not finished:
            yield None
        yield trial(5)

    seeds = []
    for each, event in run(trials(), work, Resources(workers=2)):
        seeds.append(each.seed)
        if event == "done":
            finished.append(each.seed)
    assert seeds == [0, 0, 5, 5]


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
