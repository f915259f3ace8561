"""An executor that plays trials of known values, and what is read of what it was given to play."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from bench.checkpoint import Progress
from bench.executors import Resources, local
from bench.paths import Paths
from bench.run.driver import Driver, Outcome
from bench.run.worker import Epoch, Finished, Started
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study, Trial
from bench.study.file import build
from bench.tracking.store import Store

Play = Generator[tuple[Trial, Any], bool | None, None]
FILES = {"trial.toml": b"x = 1\n", "model.safetensors": b"weights"}


class Player:
    """Trials that come to values known beforehand; ``before`` may disturb any of them, at any event.

    Attributes:
        begun: the trials, in the order in which they were begun.
        again: what was asked for again of trials that are trained already.
    """

    def __init__(self, value: Callable[[Trial], float], before: Callable[[Trial, int], object] | None = None) -> None:
        self.value = value
        self.before = before or (lambda trial, epoch: None)
        self.begun: list[Trial] = []
        self.again: dict[str, tuple[str, ...]] = {}

    def run(self, trials: Iterator[Trial | None], work: Any, resources: Resources) -> Play:
        for trial in trials:
            assert trial is not None, "nothing runs that could be waited for"
            if trial.key in work.again:
                self.again[trial.key] = work.again[trial.key].asked.metrics
                yield trial, Finished({name: Score(7.0) for name in self.again[trial.key]}, {})
                continue
            self.begun.append(trial)
            yield trial, Started(1, {"threads": "3"}, {"sha256": "0" * 64})
            for epoch in range(4):
                disturbed = self.before(trial, epoch)
                if isinstance(disturbed, Failure):
                    yield trial, disturbed
                    break
                if (yield trial, Epoch(Progress(epoch, {}, {}, {"loss": self.value(trial)}, 1.0, 1.0, 1.0), {})):
                    break
            else:
                scores = {name: Score(self.value(trial)) for name in work.asked.metrics}
                yield trial, Finished(scores, FILES)


def dimension(trial: Trial) -> float:
    return float(trial.settings["params"]["latent_dim"])


def grid(
    known: Catalogue, paths: Paths, name: str, dimensions: list[int], metrics: tuple[str, ...] = ("psnr",)
) -> Study:
    tables = {
        "question": "Which?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": list(metrics),
        "vary": {"latent_dim": dimensions},
    }
    return build(tables, paths.study(name), known, seeds=1)


def drive(study: Study, known: Catalogue, paths: Paths, player: Player, **options: bool) -> Outcome:
    with pytest.MonkeyPatch.context() as patch, Driver(study, known, paths, f"bench run study {study.name}") as driver:
        patch.setattr(local, "run", player.run)
        for _ in driver.run(driver.plan(**options), "local", Resources()):
            pass
        return driver.outcome


def rows(paths: Paths, study: str) -> Any:
    return Store(paths.store, None, study, "", create=False).table()


def runs(paths: Paths, study: str) -> list[Any]:
    store = Store(paths.store, None, study, "", create=False)
    return list(store.client.search_runs([str(store.experiment_id)]))


class Stop(BaseException):
    """What stops a driver in the middle: Ctrl-C, or the end of its process where nothing is closed."""


def stopping(event: int) -> Callable[[Trial, int], None]:
    """Stop at the event of this number."""
    count = 0

    def before(trial: Trial, epoch: int) -> None:
        nonlocal count
        count += 1
        if count == event:
            raise Stop

    return before
