"""Where trials run: every executor, on work that needs no model."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from bench.executors import Resources
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
    yield "done"


def collect(seeds: list[int], resources: Resources) -> Events:
    return [(each.seed, event) for each, event in run(iter([trial(seed) for seed in seeds]), work, resources)]


@pytest.mark.parametrize(("name", "promise"), promises("executors"))
def test_every_executor_keeps_its_promises(name: str, promise: str) -> None:
    try_promise("executors", name, promise)


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
