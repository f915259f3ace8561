"""The one room where rooms meet: a study becomes trials, trials become events, events become what is remembered."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from filelock import FileLock

from bench import registry
from bench.datasets import Track, untracked
from bench.executors import Resources
from bench.paths import Paths
from bench.previews import picture_epochs
from bench.run.lock import sole_driver
from bench.run.plan import Plan, Planner
from bench.run.provenance import provenance
from bench.run.queue import Queue, open_storage
from bench.run.search import confirmations, searches
from bench.run.trial_queue import Again, TrialQueue
from bench.run.worker import Epoch, Event, Finished, Saved, Started, Work, forget
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study, Trial
from bench.tracking.reach import answered, check_address
from bench.tracking.run_files import WEIGHTS
from bench.tracking.store import Store
from bench.tracking.writer import Writer

FLUSH_SECONDS = 5.0  # how long the end of one trial waits for the tracking store
CLOSE_SECONDS = 60.0  # how long the end of a study does

Events = Generator[tuple[Trial, Event], bool | None, None]


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

    def __init__(
        self, study: Study, catalogue: Catalogue, paths: Paths, command: str, track: Track = untracked
    ) -> None:
        """``command`` is the line that reproduces this invocation; it is remembered with every run.

        ``track`` shows how far the reading of many files is.
        """
        self.study = study
        self.paths = paths
        self.command = command
        self.outcome = Outcome()
        self.planner = Planner(study, catalogue, paths.data, track)
        self._stack = contextlib.ExitStack()
        self._running: dict[str, tuple[Trial, TrialQueue]] = {}
        self._attempts: dict[str, int] = {}

    def __enter__(self) -> Driver:
        locks = self.paths.store / "locks"
        self._stack.enter_context(sole_driver(locks, self.study.name))
        self.store = Store(self.paths.store, self.paths.tracking, self.study.name, self.study.question, create=True)
        check_address("--storage", self.paths.queue)
        with FileLock(locks / "databases.lock"):
            opening = partial(open_storage, self.paths.queue)
            self._storage = answered(self.paths.queue, opening, start=True, what="the queue's database")
        self.store.close_orphans()
        self.records = self.store.records()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def plan(self, *, rerun: bool = False, remeasure: bool = False) -> Plan:
        """Everything that can be known before it starts, checked; see `Planner.plan`."""
        return self.planner.plan(self.records, rerun=rerun, remeasure=remeasure)

    def run(self, plan: Plan, executor: str, resources: Resources) -> Events:
        """Run what is missing and yield every event once it is handed to the tracker; `outcome` says how it ended.

        Closing the generator stops every trial, and notes it as interrupted.
        """
        self._writer = Writer(self.store, provenance(self.command))
        try:
            self._work = self._work_of(plan)
            self.outcome.notes += [*self.planner.fetch(bool(resources.gpus)), *self._undrawn(plan)]
            drive = partial(self._drive, registry.load("executors", executor).run, resources)
            if self.study.is_search:
                found = searches(self.planner, self._storage, self.planner.objectives(self.records))
                yield from drive([each.queue for each in found])
                plan.confirm(confirmations(self.planner, found), self.records)
            again = Again(trial for trial in plan.trials if trial.key in plan.again)
            queue = Queue(self._storage, self.study.name, self.study.objective, self.planner.objectives(self.records))
            queue.enqueue(plan.todo)
            yield from drive([again, queue])
        finally:
            if unwritten := self._writer.close(CLOSE_SECONDS):
                self.outcome.notes.append(unwritten)
            self.store.keep_copy()

    def _work_of(self, plan: Plan) -> Work:
        """What a trial's process does with it."""
        anew = {trial.key for trial in plan.todo if self._finished(trial)}
        runs = {key: self.records[key] for key in plan.again}
        return Work(
            metrics=tuple(metric.name for metric in self.study.metrics),
            data_dir=self.paths.data,
            folder=self.paths.store,
            guests=self.paths.guests,
            again={
                key: Saved(self.store.artifact(run.run_id, WEIGHTS), run.files.get(WEIGHTS, ""), plan.again[key])
                for key, run in runs.items()
            },
            pictures=self.study.pictures,
            threads={key: record.threads for key, record in self.records.items() if record.threads and key not in anew},
        )

    def _undrawn(self, plan: Plan) -> list[str]:
        """A line on the trials that were finished before the study named epochs for its pictures, and were not looked at then.

        They are not trained again for it: what they came to is what it would come to again.
        """
        lacking, epochs = 0, set[int]()
        for trial in plan.trials if self.study.pictures else ():
            if trial.key in plan.done and (drawn := self.store.drawn(self.records[trial.key].run_id)):
                due = picture_epochs(trial.settings["training"]["epochs"], self.study.pictures)
                missing = due.intersection(self.study.pictures) - {epoch for _, epoch in drawn}
                lacking += bool(missing)
                epochs |= missing
        if not lacking:
            return []
        listed = ", ".join(map(str, sorted(epochs)))
        return [f"no pictures of epoch {listed} in {lacking} finished trials; to train them again for it: --rerun"]

    def _drive(self, run: Callable[..., Events], resources: Resources, queues: Sequence[TrialQueue]) -> Events:
        """Feed an executor from ``queues`` and hand on its events until nothing is open."""
        events = run(self._pull(queues), self._work, resources)
        stop: bool | None = None
        try:
            while True:
                try:
                    trial, event = events.send(stop)
                except StopIteration:
                    return
                stop = self._handle(trial, event)
                yield trial, event
        finally:
            events.close()
            for trial, queue in self._running.values():
                self._writer.interrupt(trial)
                queue.tell(trial, None)
            self._running.clear()

    def _pull(self, queues: Sequence[TrialQueue]) -> Iterator[Trial | None]:
        """The next trial whenever an executor has room; None while only running ones could bring more."""
        while any(queue.open for queue in queues):
            for queue in queues:
                if (trial := queue.next()) is not None:
                    self._start(trial, queue)
                    yield trial
                    break
            else:
                yield None

    def _start(self, trial: Trial, queue: TrialQueue) -> None:
        self._running[trial.key] = (trial, queue)
        record = self.records.get(trial.key)
        if queue.trains and self._finished(trial) and trial.key not in self._attempts:
            record = None  # trained again on purpose: a run of its own, beside the old one
            forget(self._work.checkpoint(trial))
        before = self._attempts.get(trial.key, record.attempt if record else 0)
        self._attempts[trial.key] = before + queue.trains
        self._writer.start(trial, record, self._attempts[trial.key])

    def _handle(self, trial: Trial, event: Event) -> bool:
        """Write one event down and tell the queue it came from; True where the trial is to be stopped."""
        queue = self._running[trial.key][1]
        match event:
            case Started():
                self._writer.facts(trial, event.tags, {"parameters": event.parameters}, event.data)
            case Epoch(progress, pictures):
                self._writer.epoch(trial, progress.epoch, event.measures(trial.held_out), pictures)
                loss = progress.held_out.get("loss")
                if loss is None or not progress.epoch or not queue.report(trial, progress.epoch, loss):
                    return False
                self._writer.prune(trial, progress.epoch)
                self._end(trial)
                queue.tell(trial, None, pruned=True)
                forget(self._work.checkpoint(trial))
                self.outcome.pruned.append(trial)
                return True
            case Finished(scores, files):
                self._writer.finish(trial, scores, files, then=partial(forget, self._work.checkpoint(trial)))
                self._end(trial)
                queue.tell(trial, scores.get(self.study.objective.name, Score(None)).value)
                self.outcome.finished.append(trial)
            case Failure():
                self._writer.fail(trial, event)
                self._end(trial)
                if event.retriable and queue.retry(trial):
                    self.outcome.notes.append(f"{trial.name}: {event.kind}: {event.reason}; tried again")
                    return False
                if not event.retriable:
                    queue.tell(trial, None)
                if event.kind == "diverged":
                    forget(self._work.checkpoint(trial))
                self.outcome.failed.append((trial, event))
        return False

    def _finished(self, trial: Trial) -> bool:
        """Whether a run of it had finished when this began."""
        return trial.key in self.records and self.records[trial.key].state == "finished"

    def _end(self, trial: Trial) -> None:
        """Give the tracker a moment to write down how the trial ended, so that this is known before the queue is told."""
        self._writer.flush(FLUSH_SECONDS)
        del self._running[trial.key]
