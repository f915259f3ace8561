"""Which trial next: with `proposals` the only file that knows Optuna.

One driver asks and tells, so no trial is claimed twice. A grid is enumerated by the study and enqueued here: Optuna's grid
sampler repeats and loses cells. Its line stands in memory, and Optuna is told of a trial when that begins: to ask Optuna for the
next, it reads all that wait there, and of three thousand the last would come after hours.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.pool import NullPool

from bench import databases
from bench.run.queue_file import TABLES, checked
from bench.score import Metric, Score
from bench.study.definition import StudyError, Trial
from bench.text import reason

log = logging.getLogger(__name__)

ATTEMPTS = 3  # of one trial, where another attempt can help
LOCK_SECONDS = 60  # how long Optuna waits for SQLite; its own 5 s end in "database is locked"
# A server that says nothing any more, behind a network that is cut: it is not waited for without end.
HEARD: dict[str, Any] = {"connect_timeout": 10, "keepalives_idle": 30, "tcp_user_timeout": 60_000}
BACK_SECONDS = 60.0  # how long a database server that was there, and is not, is waited for

optuna.logging.set_verbosity(optuna.logging.WARNING)

Storage = RDBStorage  # for those who only hand it on


def open_storage(url: str, *, anew: bool = False) -> Storage:
    """The database that holds the queues; a local file is made where there is none, and anew where it is damaged.

    Args:
        anew: set a local file aside whatever it looks like.

    Raises:
        ValueError: it is no address of a database, or of one whose tables are another Optuna's or another program's.
        OSError: the file can lie nowhere.
    """
    file = checked(url)
    if file is not None:
        if anew:
            databases.set_aside(file)
        databases.have(file, TABLES, lambda beside: Storage(beside).engine.dispose())
    # A server that was restarted has closed every connection: each is tried before it is used.
    options: dict[str, Any] = {"pool_pre_ping": True} if file is None else {"connect_args": {"timeout": LOCK_SECONDS}}
    options |= _heard(url)
    try:
        with _maker(url):
            if file is None:
                _tabled(url)
            storage = Storage(url, engine_kwargs=options)
    except RuntimeError as error:
        raise ValueError(str(error)) from None
    if file is None:
        event.listen(storage.engine, "do_connect", _patiently)
    return storage


def check(url: str) -> None:
    """That the database of a server that holds the queues, or is to hold them, can be used; nothing is made there.

    Raises:
        ValueError: as `open_storage`.
    """
    if _tabled(url):
        open_storage(url).engine.dispose()


def _tabled(url: str) -> bool:
    """Whether Optuna's tables are in the database of a server.

    Raises:
        ValueError: another program's are, beside which Optuna would make its own.
    """
    with create_engine(url, poolclass=NullPool, **_heard(url)).connect() as connection:
        tables = set(inspect(connection).get_table_names())
    if "version_info" not in tables and "alembic_version" in tables:
        raise ValueError("its tables are another program's: the runs and the queue need a database each")
    return "version_info" in tables


def _heard(url: str) -> dict[str, Any]:
    return {"connect_args": HEARD} if url.startswith("postgresql+psycopg") else {}


@contextlib.contextmanager
def _maker(url: str) -> Iterator[None]:
    """Alone among the drivers of all machines in making the tables in PostgreSQL: Optuna looks first, and then makes."""
    if not url.startswith("postgresql"):
        yield
        return
    with create_engine(url, poolclass=NullPool, **_heard(url)).connect() as connection:  # whose end is the lock's
        connection.execute(text("select pg_advisory_lock(hashtext('bench'))"))
        yield


@contextlib.contextmanager
def sole_of_all(url: str, study: str) -> Iterator[None]:
    """Hold a study among the drivers of all machines whose queues lie in one PostgreSQL, which frees it when its holder is gone.

    Raises:
        StudyError: another driver holds it.
    """
    if not url.startswith("postgresql"):
        yield
        return
    with create_engine(url, poolclass=NullPool, **_heard(url)).connect() as connection:
        ask = text("select pg_try_advisory_lock(hashtext('bench'), hashtext(:study))")
        held = connection.execute(ask, {"study": study}).scalar()
        connection.commit()  # the lock is the connection's, and no transaction stays open
        if not held:
            raise StudyError(
                f"study {study} is being run by a driver elsewhere with the same queue: wait for it, or stop it"
            )
        try:
            yield
        finally:
            connection.invalidate()  # a server that was restarted meanwhile has closed it already


def _patiently(dialect: Any, record: object, arguments: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Connect again to a database that was there before; what is being restarted is waited for."""
    end, said = time.monotonic() + BACK_SECONDS, False
    while True:
        try:
            return dialect.connect(*arguments, **options)
        except dialect.loaded_dbapi.OperationalError as error:
            if time.monotonic() > end:
                raise
            if not said:
                log.warning("the queue's database: %s; trying again", reason(error))
            said = True
            time.sleep(1)


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
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=3),
            load_if_exists=True,
        )
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(name)
        self._objective = objective
        self._line: deque[tuple[Trial, int]] = deque()  # with the attempt that each has come to
        self._wanted: dict[str, Trial] = {}
        self._running: dict[str, int] = {}  # by key, Optuna's IDs
        self._finished = dict(finished)
        self._close_orphans()
        self._waiting = len(self._frozen(TrialState.WAITING))

    def enqueue(self, trials: Iterable[Trial]) -> None:
        """Put ``trials`` in line; those that were interrupted come first, where their checkpoints stand.

        What an earlier driver left waiting, to be tried again, leaves Optuna's line; its attempt is kept where it is wanted here.
        """
        interrupted = {frozen.user_attrs["key"]: frozen.user_attrs.get("attempt", 1) for frozen in self._interrupted()}
        attempts = {**self._leave(), **interrupted}
        for trial in sorted(trials, key=lambda trial: trial.key not in interrupted):
            self._line.append((trial, attempts.get(trial.key, 1)))

    def next(self) -> Trial | None:
        """The next trial to start; None where nothing is waiting now, though a running one may yet come back."""
        if self._line:
            trial, attempt = self._line.popleft()
            self._running[trial.key] = self._begin(trial, attempt)
            return trial
        while self._waiting:
            asked = self._ask()
            self._waiting -= 1
            wanted = self._wanted.pop(asked.user_attrs.get("key", ""), None)
            if wanted is None:  # enqueued by an earlier invocation with other settings
                self._study.tell(asked, state=TrialState.FAIL)
            else:
                self._running[wanted.key] = asked._trial_id
                return wanted
        return None

    @property
    def open(self) -> bool:
        """Whether a trial is waiting or running."""
        return bool(self._line or self._waiting or self._running)

    def report(self, trial: Trial, epoch: int, loss: float) -> bool:
        """Every trial of a grid is worth going on with."""
        return False

    def tell(self, trial: Trial, objective: Score | None, *, pruned: bool = False) -> None:
        """Close ``trial`` with its objective, or as failed where that is blank."""
        asked = self._running.pop(trial.key)
        value = objective.value if objective else None
        if pruned:  # whose value is the last that was reported
            self._study.tell(self._storage.get_trial(asked).number, state=TrialState.PRUNED)
        elif value is None or math.isnan(value):
            self._storage.set_trial_state_values(asked, TrialState.FAIL)
        else:
            self._finished[trial.key] = value
            self._storage.set_trial_state_values(asked, TrialState.COMPLETE, [value])

    def interrupt(self, trial: Trial) -> None:
        """Close ``trial``, which was stopped and not ended: it comes first when the queue is opened again."""
        self._storage.set_trial_user_attr(self._running[trial.key], "interrupted", True)
        self.tell(trial, None)

    def retry(self, trial: Trial) -> bool:
        """Close ``trial`` as failed and put it in line again; False where it has had its attempts."""
        asked = self._storage.get_trial(self._running[trial.key])
        attempt = asked.user_attrs.get("attempt", 1)
        if attempt >= ATTEMPTS:
            self.tell(trial, None)
            return False
        self.interrupt(trial)  # which it is, should it be stopped here
        self._enqueue(trial, asked.params, attempt + 1)
        return True

    def _ask(self) -> optuna.Trial:
        return self._study.ask()

    def _begin(self, trial: Trial, attempt: int) -> int:
        """Tell Optuna that a trial runs, in one go; the ID that it has there."""
        running = optuna.trial.create_trial(state=TrialState.RUNNING, user_attrs=_attributes(trial, attempt))
        return self._storage.create_new_trial(self._study_id, template_trial=running)

    def _leave(self) -> dict[str, int]:
        """Let all that wait leave Optuna's line; the attempt that each has come to, by key."""
        attempts = {}
        for waiting in self._frozen(TrialState.WAITING):
            self._storage.set_trial_state_values(waiting._trial_id, TrialState.FAIL)
            attempts[waiting.user_attrs.get("key", "")] = waiting.user_attrs.get("attempt", 1)
        self._waiting = 0
        return attempts

    def _enqueue(self, trial: Trial, params: Mapping[str, Any], attempt: int, *, again: bool = True) -> None:
        """Put it in line; ``again`` where it is no other configuration than one that was there."""
        self._wanted[trial.key] = trial
        self._study.enqueue_trial(dict(params), user_attrs=_attributes(trial, attempt, again=again))
        self._waiting += 1

    def _frozen(self, *states: TrialState) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=states or None)

    def _close_orphans(self) -> None:
        """Close what a dead driver left running: with its value where the run had finished, as interrupted where not."""
        for orphan in self._frozen(TrialState.RUNNING):
            value = self._finished.get(orphan.user_attrs.get("key", ""))
            if value is None:
                optuna.Trial(self._study, orphan._trial_id).set_user_attr("interrupted", True)
                self._study.tell(orphan.number, state=TrialState.FAIL)
            else:
                self._study.tell(orphan.number, value)

    def _interrupted(self) -> list[FrozenTrial]:
        """What was stopped before its end and has not been gone on with."""
        return [e for e in self._last() if e.state == TrialState.FAIL and e.user_attrs.get("interrupted")]

    def _last(self) -> Iterable[FrozenTrial]:
        """The last attempt at every trial."""
        return {frozen.user_attrs["key"]: frozen for frozen in self._frozen() if "key" in frozen.user_attrs}.values()


def _attributes(trial: Trial, attempt: int, *, again: bool = True) -> dict[str, Any]:
    return {"key": trial.key, "attempt": attempt, "again": again, "trial": json.dumps(trial.as_dict())}
