"""The one room where rooms meet: a study becomes trials, trials become events, events become what is remembered."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench import registry
from bench.executors import Resources
from bench.measure.evaluation import fetch
from bench.paths import Paths
from bench.run.plan import Plan, Planner
from bench.run.provenance import provenance
from bench.run.queue import Queue, Search, open_storage
from bench.run.worker import Epoch, Event, Finished, Started, Work, forget
from bench.study.catalogue import Catalogue
from bench.study.definition import Cell, Failure, Study, StudyError, Trial, Variant
from bench.tracking.store import Store
from bench.tracking.writer import Writer

FLUSH_SECONDS = 5.0  # how long the end of one trial waits for the tracking store
CLOSE_SECONDS = 60.0  # how long the end of a study does


@dataclass
class Outcome:
    """How an invocation ended, filled in as it goes."""

    finished: list[Trial] = field(default_factory=list)
    failed: list[tuple[Trial, Failure]] = field(default_factory=list)
    pruned: list[Trial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Driver:
    """Runs one study; a context manager that holds the study's lock, since there is one driver and one writer.

    Raises:
        StudyError: the study cannot run as written, or another process is running it.
        StoreError: the tracking store cannot be used.
    """

    def __init__(self, study: Study, catalogue: Catalogue, paths: Paths, command: str) -> None:
        """``command`` is the line that reproduces this invocation; it is remembered with every run."""
        self.study = study
        self.catalogue = catalogue
        self.paths = paths
        self.command = command
        self.outcome = Outcome()
        self.planner = Planner(study, catalogue, paths.data)
        self._stack = contextlib.ExitStack()
        self._running: dict[str, tuple[Trial, Queue | None]] = {}
        self._attempts: dict[str, int] = {}

    def __enter__(self) -> Driver:
        locks = self.paths.store / "locks"
        self._stack.enter_context(_sole_driver(locks, self.study.name))
        with FileLock(locks / "databases.lock"):
            self.store = Store(self.paths.store, self.paths.tracking, self.study.name, self.study.question, create=True)
            self._storage = open_storage(self.paths.queue)
        self.store.close_orphans()
        self.records = self.store.records()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def plan(self, *, rerun: bool = False, remeasure: bool = False) -> Plan:
        """Everything that can be known before it starts, checked; see `Planner.plan`."""
        return self.planner.plan(self.records, rerun=rerun, remeasure=remeasure)

    def run(self, plan: Plan, executor: str, resources: Resources) -> Generator[tuple[Trial, Event], None, None]:
        """Run what is missing and yield every event once it is handed to the tracker; `outcome` says how it ended.

        Closing the generator stops every trial, and notes it as interrupted.
        """
        self._writer = Writer(self.store, provenance(self.command))
        try:
            self._fetch_weights(resources)
            if self.study.is_search:
                searches = self._searches()
                yield from self._drive([search for _, search in searches], [], plan, executor, resources)
                for trial in (trial for each in searches for trial in self._confirmations(*each)):
                    plan.trials.append(trial)
                    if trial.key in self.records and self.records[trial.key].state == "finished":
                        plan.done.add(trial.key)
            queue = Queue(self._storage, self.study.name, self.study.objective, self._objectives())
            queue.enqueue(plan.todo)
            again = [trial for trial in plan.trials if trial.key in plan.again]
            yield from self._drive([queue], again, plan, executor, resources)
        finally:
            if unwritten := self._writer.close(CLOSE_SECONDS):
                self.outcome.notes.append(unwritten)

    def _fetch_weights(self, resources: Resources) -> None:
        """Download what the metrics' extractors need, once and here: trials never ask the network."""
        asked = any(
            settings.get("evaluation", {}).get("inception_on_cpu", False)
            for settings in (self.study.settings, self.study.overrides, *self.study.on.values())
        )
        self.outcome.notes += fetch(self._metrics, self.paths.data, costly=asked or bool(resources.gpus))

    def _drive(
        self, queues: Sequence[Queue], again: list[Trial], plan: Plan, executor: str, resources: Resources
    ) -> Iterator[tuple[Trial, Event]]:
        """Feed an executor from ``queues`` and hand on its events until nothing is open."""
        work = Work(
            metrics=self._metrics,
            data_dir=self.paths.data,
            folder=self.paths.store,
            guests=self.paths.guests,
            again={
                trial.key: (
                    self.store.artifact(self.records[trial.key].run_id, "model.safetensors"),
                    plan.again[trial.key],
                )
                for trial in again
            },
        )
        run = registry.load("executors", executor).run
        events: Generator[tuple[Trial, Any], bool | None, None]
        events = run(self._pull(queues, list(again)), work, resources)
        stop: bool | None = None
        try:
            while True:
                try:
                    trial, event = events.send(stop)
                except StopIteration:
                    return
                stop = self._handle(trial, event, work)
                yield trial, event
        finally:
            events.close()
            for trial, queue in self._running.values():
                self._writer.interrupt(trial)
                if queue is not None:
                    queue.tell(trial, None)
            self._running.clear()

    def _pull(self, queues: Sequence[Queue], again: list[Trial]) -> Iterator[Trial | None]:
        """The next trial whenever an executor has room; None while only running ones could bring more."""
        while again or any(queue.open for queue in queues):
            if again:
                trial, queue = again.pop(0), None
                self._start(trial, None)
                yield trial
                continue
            for queue in queues:
                if (queued := queue.next()) is not None:
                    self._start(queued, queue)
                    yield queued
                    break
            else:
                yield None

    def _start(self, trial: Trial, queue: Queue | None) -> None:
        self._running[trial.key] = (trial, queue)
        record = self.records.get(trial.key)
        if queue is not None and record is not None and record.state == "finished" and trial.key not in self._attempts:
            record = None  # trained again on purpose: a run of its own, beside the old one
            forget(self.paths.store / "checkpoints" / trial.key)
        before = self._attempts.get(trial.key, record.attempt if record else 0)
        self._attempts[trial.key] = before + (queue is not None)
        self._writer.start(trial, record, self._attempts[trial.key])

    def _handle(self, trial: Trial, event: Event, work: Work) -> bool:
        """Write one event down and tell the queue; True where the trial is to be stopped."""
        queue = self._running[trial.key][1]
        match event:
            case Started():
                self._writer.facts(trial, event.tags, {"parameters": event.parameters}, event.data)
            case Epoch():
                self._writer.epoch(trial, event.progress.epoch, _measures(trial, event), event.pictures)
                return queue is not None and self._gives_up(trial, event, queue, work)
            case Finished(scores, files):
                self._writer.finish(trial, scores, files, then=partial(forget, work.checkpoint(trial)))
                self._writer.flush(FLUSH_SECONDS)
                if queue is not None:
                    queue.tell(trial, scores[self.study.objective.name].value)
                self.outcome.finished.append(trial)
                del self._running[trial.key]
            case Failure():
                self._writer.fail(trial, event)
                self._writer.flush(FLUSH_SECONDS)
                del self._running[trial.key]
                if queue is not None and event.retriable and queue.retry(trial):
                    self.outcome.notes.append(f"{trial.name}: {event.kind}: {event.reason}; tried again")
                    return False
                if queue is not None and trial in queue:
                    queue.tell(trial, None)
                if event.kind == "diverged":
                    forget(work.checkpoint(trial))
                self.outcome.failed.append((trial, event))
        return False

    def _gives_up(self, trial: Trial, event: Epoch, queue: Queue, work: Work) -> bool:
        """Whether a search has seen enough of the trial; only the held-out loss can be followed while it trains."""
        progress = event.progress
        loss = progress.held_out.get("loss")
        prunes = isinstance(queue, Search) and self.study.prune and self.study.objective.name == "test_loss"
        if not prunes or loss is None or not progress.epoch or not queue.report(trial, progress.epoch, loss):
            return False
        self._writer.prune(trial, progress.epoch)
        self._writer.flush(FLUSH_SECONDS)
        queue.tell(trial, None, pruned=True)
        forget(work.checkpoint(trial))
        self.outcome.pruned.append(trial)
        del self._running[trial.key]
        return True

    @property
    def _metrics(self) -> tuple[str, ...]:
        return tuple(metric.name for metric in self.study.metrics)

    def _objectives(self) -> dict[str, float | None]:
        objective = self.study.objective.name
        return {
            key: record.scores[objective].value if objective in record.scores else None
            for key, record in self.records.items()
            if record.state == "finished"
        }

    def _searches(self) -> list[tuple[Variant, Search]]:
        """One search per data set and variant; another space or other fixed settings are another search."""
        searches = []
        for dataset in self.study.datasets:
            for variant in self.study.variants_on(dataset):
                propose = partial(self._propose, variant, dataset)
                corner = propose(dict.fromkeys(self.study.vary))
                name = (
                    f"{self.study.name} {variant.name or variant.model} {dataset} {_hash(self.study.vary, corner.key)}"
                )
                search = Search(
                    self._storage,
                    name,
                    self.study.objective,
                    self._objectives(),
                    space=self.study.vary,
                    total=self.study.trials,
                    propose=propose,
                )
                searches.append((variant, search))
        return searches

    def _propose(self, variant: Variant, dataset: str, cell: Cell) -> Trial:
        fingerprint = self.planner.fingerprint(dataset)
        return self.study.trial(self.catalogue, variant, dataset, 0, cell, fingerprint, proposal=True)

    def _confirmations(self, variant: Variant, search: Search) -> Iterator[Trial]:
        """The search's best configurations on the test split, over seeds that the search did not choose them by."""
        confirm = self.study.confirm
        if confirm is None:
            return
        for best in search.best(confirm.top):
            for seed in range(1, confirm.seeds + 1):
                yield self.study.trial(self.catalogue, variant, best.dataset, seed, best.varied, best.fingerprint)


@contextlib.contextmanager
def _sole_driver(locks: Path, study: str) -> Iterator[None]:
    """Hold the study's lock, which the kernel frees when its holder dies; the name beside it is for whoever must wait."""
    locks.mkdir(parents=True, exist_ok=True)
    holder = locks / f"{study}.holder"
    try:
        with FileLock(locks / f"{study}.lock", timeout=0):
            holder.write_text(f"process {os.getpid()} on {socket.gethostname()}")
            yield
    except Timeout:
        who = holder.read_text() if holder.exists() else "another process"
        raise StudyError(f"study {study} is being run by {who}: wait for it, or stop it and run this again") from None


def _measures(trial: Trial, event: Epoch) -> dict[str, float]:
    progress = event.progress
    measures = {f"train/{name}": value for name, value in progress.train.items()}
    measures |= {f"{trial.held_out}/{name}": value for name, value in progress.held_out.items()}
    measures |= {"time/epoch_s": progress.seconds, "memory/peak_mb": progress.peak_megabytes}
    if progress.epoch:
        measures["time/images_per_s"] = progress.images_per_second
    return measures


def _hash(space: Mapping[str, Any], key: str) -> str:
    return hashlib.sha256(f"{sorted(space.items())!r} {key}".encode()).hexdigest()[:8]
