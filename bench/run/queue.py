"""Which trial next: the only file that knows Optuna.

One driver asks and tells, so no trial is claimed twice. A grid is enumerated by the study and enqueued here (Optuna's grid
sampler repeats and loses cells); a search is sampled with TPE and counts its configurations in total, not per invocation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from bench import databases
from bench.score import Metric
from bench.study.definition import Cell, Range, Trial

ATTEMPTS = 3  # of one trial, where another attempt can help
TABLES = (
    "alembic_version",
    "studies",
    "trials",
    "trial_params",
    "trial_user_attributes",
    "trial_values",
    "version_info",
)
LOCK_SECONDS = 60  # how long Optuna waits for SQLite; its own 5 s end in "database is locked"

optuna.logging.set_verbosity(optuna.logging.WARNING)

Storage = RDBStorage  # for those who only hand it on


def open_storage(url: str) -> Storage:
    """The database that holds the queues; a local file is made where there is none, and anew where it is damaged.

    Raises:
        ValueError: it is no address of a database.
    """
    if "://" not in url:
        raise ValueError("it must be an address such as sqlite:////folder/queue.db or postgresql://host/database")
    if odd := set("{}") & set(url):
        raise ValueError(f"it holds {' '.join(sorted(odd))}, which Optuna would fill in")
    if not url.startswith("sqlite:///"):
        return Storage(url)
    databases.have(Path(url.removeprefix("sqlite:///")), TABLES, lambda beside: Storage(beside).engine.dispose())
    return Storage(url, engine_kwargs={"connect_args": {"timeout": LOCK_SECONDS}})


def unsound(url: str, *, fix: bool) -> str:
    """What is wrong with the queues' database, where it is a local file; empty where nothing is. ``fix`` sets it aside."""
    file = Path(url.removeprefix("sqlite:///"))
    wrong = databases.damage(file, TABLES) if url.startswith("sqlite:///") else ""
    if wrong and fix:
        databases.set_aside(file)
    return wrong


class Queue:
    """Trials in the order in which they are to be trained, one Optuna study behind them.

    Whoever makes a queue holds the study's lock, so every trial that Optuna calls RUNNING is dead and is closed here.
    """

    trains = True

    def __init__(self, storage: Storage, name: str, objective: Metric, finished: Mapping[str, float | None]) -> None:
        """Open the queue ``name``; ``finished`` gives the objective's value by key, as the tracked runs hold it."""
        self._study = optuna.create_study(
            study_name=name,
            storage=storage,
            direction="maximize" if objective.sign < 0 else "minimize",
            sampler=optuna.samplers.TPESampler(seed=0),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
            load_if_exists=True,
        )
        self._objective = objective
        self._wanted: dict[str, Trial] = {}
        self._running: dict[str, optuna.Trial] = {}
        self._finished = dict(finished)
        self._orphans = self._close_orphans()
        self._waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))

    def enqueue(self, trials: Iterable[Trial]) -> None:
        """Put ``trials`` in line; those that a dead driver left running come first, where their checkpoints stand.

        One that an earlier driver left waiting keeps its place, or has it behind them, and its attempt.
        """
        interrupted = {orphan.user_attrs.get("key") for orphan in self._orphans}
        attempts = self._leave() if interrupted else {}
        in_line = {frozen.user_attrs.get("key") for frozen in self._frozen(TrialState.WAITING)}
        for trial in sorted(trials, key=lambda trial: trial.key not in interrupted):
            if trial.key in in_line:
                self._wanted[trial.key] = trial
            else:
                self._enqueue(trial, {}, attempts.get(trial.key, 1))

    def next(self) -> Trial | None:
        """The next trial to start; None where nothing is waiting now, though a running one may yet come back."""
        while self._waiting:
            asked = self._study.ask()
            self._waiting -= 1
            trial = self._wanted.pop(asked.user_attrs.get("key", ""), None)
            if trial is None:  # enqueued by an earlier invocation with other settings
                self._study.tell(asked, state=TrialState.FAIL)
            else:
                self._running[trial.key] = asked
                return trial
        return None

    @property
    def open(self) -> bool:
        """Whether a trial is waiting or running."""
        return bool(self._waiting or self._running)

    def report(self, trial: Trial, epoch: int, loss: float) -> bool:
        """Every trial of a grid is worth going on with."""
        return False

    def tell(self, trial: Trial, value: float | None, *, pruned: bool = False) -> None:
        """Close ``trial`` with its objective, or as failed where it has none."""
        asked = self._running.pop(trial.key)
        if pruned:
            self._study.tell(asked, state=TrialState.PRUNED)
        elif value is None:
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            self._finished[trial.key] = value
            self._study.tell(asked, value)

    def retry(self, trial: Trial) -> bool:
        """Close ``trial`` as failed and put it in line again; False where it has had its attempts."""
        attempt = self._running[trial.key].user_attrs.get("attempt", 1)
        params = self._running[trial.key].params
        self.tell(trial, None)
        if attempt >= ATTEMPTS:
            return False
        self._enqueue(trial, params, attempt + 1)
        return True

    def _leave(self) -> dict[str, int]:
        """Let all that wait leave Optuna's line, which has no front to step into; the attempt that each has come to, by key."""
        attempts = {}
        while self._waiting:
            asked = self._study.ask()
            self._waiting -= 1
            attempts[asked.user_attrs.get("key", "")] = asked.user_attrs.get("attempt", 1)
            self._study.tell(asked, state=TrialState.FAIL)
        return attempts

    def _enqueue(self, trial: Trial, params: Mapping[str, Any], attempt: int) -> None:
        self._wanted[trial.key] = trial
        attributes = {"key": trial.key, "attempt": attempt, "trial": json.dumps(trial.as_dict())}
        self._study.enqueue_trial(dict(params), user_attrs=attributes)
        self._waiting += 1

    def _frozen(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _close_orphans(self) -> list[FrozenTrial]:
        """Close what a dead driver left running: with its value where the run had finished, as failed where not."""
        unfinished = []
        for orphan in self._frozen(TrialState.RUNNING):
            value = self._finished.get(orphan.user_attrs.get("key", ""))
            if value is None:
                self._study.tell(orphan.number, state=TrialState.FAIL)
                unfinished.append(orphan)
            else:
                self._study.tell(orphan.number, value)
        return unfinished


class Search(Queue):
    """A queue that proposes its own trials until ``total`` configurations have been tried."""

    def __init__(
        self,
        storage: Storage,
        name: str,
        objective: Metric,
        finished: Mapping[str, float | None],
        *,
        space: Mapping[str, tuple[Any, ...] | Range],
        total: int,
        propose: Callable[[Cell], Trial],
        prune: bool = True,
    ) -> None:
        """Open the queue ``name``.

        Args:
            propose: makes the trial of a point of ``space``.
            prune: give up trials whose held-out loss, which is the objective then, lies behind that of the others.
        """
        super().__init__(storage, name, objective, finished)
        self._space = space
        self._total = total
        self._propose = propose
        self._prune = prune
        for orphan in self._orphans:
            if "trial" in orphan.user_attrs:
                # An interrupted configuration is the same configuration: it goes on where its checkpoint stands.
                self._enqueue(Trial.from_dict(json.loads(orphan.user_attrs["trial"])), orphan.params, attempt=2)
        for frozen in self._frozen(TrialState.WAITING):
            if "trial" in frozen.user_attrs:
                self._wanted[frozen.user_attrs["key"]] = Trial.from_dict(json.loads(frozen.user_attrs["trial"]))

    def next(self) -> Trial | None:
        """A trial that is to be tried again, or else a new proposal, up to the total."""
        waiting = super().next()
        while waiting is None and self._tried < self._total:
            asked = self._study.ask()
            trial = self._propose({name: _suggest(asked, name, values) for name, values in self._space.items()})
            asked.set_user_attr("trial", json.dumps(trial.as_dict()))
            asked.set_user_attr("key", trial.key)
            if trial.key in self._running:
                self._study.tell(asked, state=TrialState.PRUNED)
            elif self._finished.get(trial.key) is not None:  # drawn before, in a space small enough for that
                self._study.tell(asked, self._finished[trial.key])
            else:
                self._running[trial.key] = asked
                return trial
        return waiting

    def report(self, trial: Trial, epoch: int, loss: float) -> bool:
        """Tell the held-out loss; True where the median of the others at this epoch is better than the best so far."""
        if not self._prune:
            return False
        asked = self._running[trial.key]
        asked.report(loss, epoch)
        return bool(asked.should_prune())

    @property
    def open(self) -> bool:
        """Whether a trial is waiting, running or yet to be proposed."""
        return super().open or self._tried < self._total

    @property
    def _tried(self) -> int:
        """Configurations proposed so far; a second attempt at one is not a second configuration."""
        return sum("key" in t.user_attrs and t.user_attrs.get("attempt", 1) == 1 for t in self._frozen())

    def best(self, top: int) -> list[Trial]:
        """The ``top`` finished configurations, the best first."""
        sign = self._objective.sign
        done = sorted(self._frozen(TrialState.COMPLETE), key=lambda frozen: sign * float(frozen.value or 0.0))
        trials = {t.user_attrs["key"]: Trial.from_dict(json.loads(t.user_attrs["trial"])) for t in done}
        return list(trials.values())[:top]


def _suggest(asked: optuna.Trial, name: str, values: tuple[Any, ...] | Range) -> Any:
    """One setting's value; a list of choices is drawn by its JSON text, since Optuna keeps no lists."""
    if not isinstance(values, Range):
        return json.loads(asked.suggest_categorical(name, [json.dumps(value) for value in values]))
    if values.integer:
        return asked.suggest_int(name, int(values.low), int(values.high), log=values.log)
    return asked.suggest_float(name, values.low, values.high, log=values.log)
