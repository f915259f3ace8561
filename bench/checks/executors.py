"""What every executor promises."""

from __future__ import annotations

import inspect
import os
import signal
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from bench import registry
from bench.checks import NotPromised, expect
from bench.executors import NotInstalled, Resources
from bench.study.definition import SECTIONS, Failure, Trial

DIES, FAILS, SLEEPS = 1, 2, 3  # seeds of trials that do so; any other does its work
SECONDS = 60.0  # that a sleeping trial takes, unless it is stopped

Run = Callable[..., Generator[tuple[Trial, Any], bool | None, None]]


def subject(name: str) -> Run:
    """The ``run`` of the executor ``name``."""
    try:
        run: Run = registry.load("executors", name).run
    except NotInstalled as error:
        raise NotPromised(str(error)) from None
    return run


def work(trial: Trial) -> Iterator[Any]:
    """What a trial of the checks does, by its seed; needs no model."""
    yield "begun"
    if trial.seed == DIES:
        os.kill(os.getpid(), signal.SIGKILL)
    if trial.seed == FAILS:
        raise ValueError("no good\nat all")
    if trial.seed == SLEEPS:
        time.sleep(SECONDS)
    yield "done"


def check_it_takes_trials_work_and_resources(run: Run) -> None:
    """``run(trials, work, resources)`` is all there is."""
    found = list(inspect.signature(run).parameters)
    expect(found == ["trials", "work", "resources"], f"run must take trials, work, resources, not {', '.join(found)}")


def check_every_trials_events_come_in_their_order(run: Run) -> None:
    """What each trial yields is handed on unread and in order, with its trial."""
    events = _events(run, [0, 4, 5])
    for seed in (0, 4, 5):
        own = [event for each, event in events if each == seed]
        expect(own == ["begun", "done"], f"of a trial that yields 'begun', 'done' came {own}")


def check_one_death_is_one_trials_own(run: Run) -> None:
    """A process that is killed, or work that raises, is a `Failure` of that trial in one line; the others go on."""
    events = _events(run, [DIES, FAILS, 0])
    last = dict(events)
    for seed, kind, what in ((DIES, "killed", "a trial that is killed"), (FAILS, "error", "work that raises")):
        found = last[seed]
        expect(
            isinstance(found, Failure) and found.kind == kind, f"{what} must be a Failure of kind {kind!r}, not {found}"
        )
    expect(last[DIES].retriable, "a killed trial can be tried again")
    expect(
        last[FAILS].reason == "ValueError: no good",
        f"the reason must be the error's first line, not {last[FAILS].reason!r}",
    )
    expect(last[0] == "done", "a trial beside them must end as it would alone")


def check_a_trial_that_takes_too_long_is_stopped(run: Run) -> None:
    """After ``resources.timeout`` seconds a trial is a `Failure` of the kind ``timed out``."""
    events = _events(run, [SLEEPS], Resources(timeout=4.0))
    last = dict(events)[SLEEPS]
    expect(
        isinstance(last, Failure) and last.kind == "timed out", f"a trial past its time must have timed out, not {last}"
    )


def check_sending_true_stops_the_trial(run: Run) -> None:
    """True sent back for an event stops that trial, and the next one starts."""
    started = time.monotonic()
    events = _events(run, [SLEEPS, 0], Resources(), stop=SLEEPS)
    expect([seed for seed, _ in events] == [SLEEPS, 0, 0], f"after the stop the next trial must run: {events}")
    expect(time.monotonic() - started < SECONDS, "the trial was not stopped but waited for")


def check_closing_stops_every_trial(run: Run) -> None:
    """Closing the generator ends what runs, without waiting for it."""
    generator = run(iter([_trial(SLEEPS)]), work, Resources())
    next(generator)
    started = time.monotonic()
    generator.close()
    expect(time.monotonic() - started < SECONDS / 2, "closing waited for the trial to end")


def check_none_waits_for_what_is_running(run: Run) -> None:
    """None among the trials means: nothing to start before something ends; they are asked again then."""
    finished: list[int] = []

    def trials() -> Iterator[Trial | None]:
        yield _trial(0)
        while not finished:
            yield None
        yield _trial(5)

    seen = []
    for trial, event in run(trials(), work, Resources(workers=2)):
        seen.append(trial.seed)
        if event == "done":
            finished.append(trial.seed)
    expect(seen == [0, 0, 5, 5], f"the second trial must follow the end of the first: {seen}")


def _trial(seed: int) -> Trial:
    return Trial("check", "vae", "digits", seed, {section: {} for section in SECTIONS})


def _events(
    run: Run, seeds: Sequence[int], resources: Resources | None = None, stop: int | None = None
) -> list[tuple[int, Any]]:
    """Every event by the seed of its trial; the trial of seed ``stop`` is told to stop."""
    events: list[tuple[int, Any]] = []
    generator = run(iter([_trial(seed) for seed in seeds]), work, resources or Resources(workers=2))
    verdict: bool | None = None
    while True:
        try:
            trial, event = generator.send(verdict)
        except StopIteration:
            return events
        events.append((trial.seed, event))
        verdict = trial.seed == stop
