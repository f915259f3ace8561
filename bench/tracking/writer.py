"""The runs of a study, written in a thread of its own, so that a slow or absent tracking server holds up no trial.

What is told of a run waits a moment for more of it: a write of fifty epochs costs little more than one of a single epoch. What
could not be written is written by the next invocation: a trial's checkpoint goes only when its run is complete.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlflow.exceptions import MlflowException

from bench.files import FULL
from bench.score import Score
from bench.study.definition import Failure, Trial
from bench.text import without_passwords
from bench.tracking.reach import first_line
from bench.tracking.rows import Record
from bench.tracking.run_log import RunLog
from bench.tracking.store import Store

log = logging.getLogger(__name__)

GATHER_SECONDS = 1.0  # that what is told of a run waits for more of it
RETRY_SECONDS = 5.0  # between two tries to reach a tracking server that does not answer
# Of a database of one's own: what no waiting heals.
HOPELESS = (
    "disk is full",
    "readonly database",
    "disk I/O error",
    "malformed",
    "not a database",
    "unable to open database",
)


@dataclass(frozen=True)
class Task:
    """Something to be written.

    Attributes:
        run: that it is told of, if of one.
        gathers: the run is told, and writes it later; what does not gather is written with all that waits of its run.
        everything: all that waits of any run is written first.
    """

    write: Callable[[], None]
    run: RunLog | None = None
    gathers: bool = False
    everything: bool = False


class Writer:
    """Writes what happens to trials, in the order in which it happened, without holding up who tells it."""

    def __init__(self, store: Store, provenance: Mapping[str, str]) -> None:
        """``provenance`` is written on every run: commit, command line, user."""
        self.store = store
        self.provenance = provenance
        self._runs: dict[str, RunLog] = {}
        self._tasks: queue.Queue[Task | None] = queue.Queue()
        self._handed_in = 0  # counted by who tells; what follows, by who writes
        self._noted: dict[RunLog, int] = {}  # what was told of each run and waits
        self._due = math.inf  # when the first of that has waited long enough
        self._written = 0
        self._said = ""  # of what went wrong last
        self._gone: set[RunLog] = set()  # runs that somebody has deleted
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True, name="tracking")
        self._thread.start()

    def start(self, trial: Trial, record: Record | None, attempt: int) -> None:
        """A trial begins, or goes on in the run of ``record``."""
        begun = RunLog(self.store, trial, self.provenance, record.run_id if record else "")
        run = self._runs.setdefault(trial.key, begun)
        self._put(lambda: run.start(attempt), run)

    def refer(self, trial: Trial, record: Record) -> None:
        """A trial needs no training: another study's run of it, ``record``, stands for it."""
        run = RunLog(self.store, trial, self.provenance)
        self._put(lambda: run.refer(record), run)

    def facts(self, trial: Trial, tags: Mapping[str, str], params: Mapping[str, Any], data: Mapping[str, str]) -> None:
        """What the trial's process says of itself before it trains: device, versions, parameter count, data."""
        run = self._runs[trial.key]
        self._put(lambda: run.facts(tags, params, data), run, gathers=True)

    def epoch(self, trial: Trial, epoch: int, metrics: Mapping[str, float], pictures: Mapping[str, bytes]) -> None:
        """One epoch's measures, and PNG pictures by name; what a resumed run already holds is not written again."""
        run, moment = self._runs[trial.key], _now()
        self._put(lambda: run.epoch(epoch, metrics, pictures, moment), run, gathers=True)

    def finish(
        self,
        trial: Trial,
        scores: Mapping[str, Score],
        files: Mapping[str, bytes],
        applied: Mapping[str, str],
        then: Callable[[], None],
    ) -> None:
        """The trial is done: scores by metric, files by artifact path, and what its model was `bench.tracking.rows.APPLIED` to.

        ``then`` is called once all of it is written, and not before.
        """
        run, moment = self._runs[trial.key], _now()

        def write() -> None:
            run.finish(scores, files, applied, moment)
            then()

        self._put(write, run)

    def fail(self, trial: Trial, failure: Failure) -> None:
        """The trial ended without its scores."""
        run = self._runs[trial.key]
        self._put(lambda: run.fail(failure), run)

    def prune(self, trial: Trial, epoch: int) -> None:
        """The search gave the trial up after ``epoch``."""
        run = self._runs[trial.key]
        self._put(lambda: run.end("pruned", {"reason": f"not worth going on with after epoch {epoch}"}), run)

    def interrupt(self, trial: Trial) -> None:
        """The trial was stopped by its user and can go on later."""
        run = self._runs[trial.key]
        self._put(lambda: run.end("interrupted"), run)

    def flush(self, seconds: float, *, everything: bool = True) -> bool:
        """Wait until all is written, but no longer than ``seconds``, nor where nothing is written any more; whether it is.

        Without ``everything`` only how trials began and ended is: epochs of those that go on still wait for more of them.
        """
        done = threading.Event()
        self._tasks.put(Task(done.set, everything=everything))
        end = time.monotonic() + seconds
        while not (self._given_up.is_set() or time.monotonic() > end):
            if done.wait(0.05):
                return True
        return False

    def close(self, seconds: float) -> str:
        """Write what is left and stop; one line on what could not be written, or nothing.

        No write is begun after this: a later writer has the runs to itself.
        """
        written = self.flush(seconds)
        unwritten = self._handed_in - self._written
        self._given_up.set()
        self._tasks.put(None)
        if written:
            self._thread.join()
            return ""
        return (
            f"{unwritten} writes did not reach {without_passwords(self.store.uri)} "
            f"({self._said or 'no answer'}); the next run of the study writes them from its checkpoints"
        )

    @property
    def broken(self) -> bool:
        """Whether nothing is written any more, since trying again would be of no use: the disk is full, say."""
        return self._given_up.is_set()

    @property
    def away(self) -> bool:
        """Whether the store could not be reached when it was tried last."""
        return bool(self._said)

    def _put(self, write: Callable[[], None], run: RunLog, *, gathers: bool = False) -> None:
        self._handed_in += 1
        self._tasks.put(Task(write, run, gathers))

    def _write(self) -> None:
        while (task := self._next()) is not None:
            for run in list(self._noted) if task.everything else []:
                self._try(run.flush, run)
            self._try(task.write, None if task.gathers else task.run)
            if task.run and not self._given_up.is_set():
                if task.gathers:
                    self._due = min(self._due, time.monotonic() + GATHER_SECONDS)
                    self._noted[task.run] = self._noted.get(task.run, 0) + 1
                else:
                    self._written += 1

    def _next(self) -> Task | None:
        """What is to be done next; None at the end."""
        if not self._noted or self._given_up.is_set():  # nothing waits, or it is not written any more
            return self._tasks.get()
        left = self._due - time.monotonic()
        if left > 0:
            with suppress(queue.Empty):
                return self._tasks.get(timeout=left)
        return Task(lambda: None, everything=True)

    def _try(self, write: Callable[[], None], run: RunLog | None) -> None:
        """Write, as often as it takes, unless that is given up; nothing that was told of ``run`` waits after that."""
        while not self._given_up.is_set():
            try:
                write()
            except Exception as error:
                if run is None or not is_gone(error):
                    self._trouble(error)
                    continue
                if run not in self._gone:
                    log.warning(
                        "tracking store: a run of %s was deleted; what comes of it is not written", run.trial.name
                    )
                self._gone.add(run)
            self._said = ""
            if run:
                self._written += self._noted.pop(run, 0)
            if not self._noted:
                self._due = math.inf
            return

    def _trouble(self, error: Exception) -> None:
        """Say what came of a try, once, and wait for the next, or give up."""
        line = first_line(error)
        if (isinstance(error, OSError) and error.errno in FULL) or "disk is full" in str(error):
            line = f"disk full: {line}"
        hopeless = not isinstance(error, (MlflowException, OSError))
        if self.store.local:
            hopeless |= isinstance(error, OSError) or any(words in str(error) for words in HOPELESS)
        if hopeless:
            self._said = line
            self._given_up.set()
            return
        if line != self._said:
            log.warning("tracking store: %s; trying again", line)
        self._said = line
        self._given_up.wait(RETRY_SECONDS)


def is_gone(error: Exception) -> bool:
    """Whether a run cannot be written since it is there no more: no waiting heals that, and it concerns no other run."""
    return isinstance(error, MlflowException) and (
        error.error_code == "RESOURCE_DOES_NOT_EXIST" or "must be in the 'active' state" in str(error)
    )


def _now() -> int:
    """Milliseconds since 1970, as MLflow counts."""
    return int(time.time() * 1000)
