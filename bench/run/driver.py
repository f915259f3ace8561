"""The one room where rooms meet: a study becomes trials, trials become events, events become what is remembered."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from bench import registry
from bench.errors import interrupt_behind
from bench.executors import Gone, Resources
from bench.paths import Paths
from bench.run.earlier import told_outdated
from bench.run.events import Epoch, Event, Finished, Saved, Started, checkpoints, forget
from bench.run.feed import Feed
from bench.run.lock import TrialLocks, folder_of_locks, sole_driver
from bench.run.outcome import Outcome as Outcome
from bench.run.outcome import Stopped
from bench.run.plan import Plan, Planner
from bench.run.provenance import provenance
from bench.run.queue_file import idle, trouble
from bench.run.sweep import sweep
from bench.run.trial_queue import Again, TrialQueue
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study, StudyError, Trial
from bench.tracking.errors import StoreError
from bench.tracking.reach import answered, check_address, first_line
from bench.tracking.rows import Record
from bench.tracking.run_files import WEIGHTS
from bench.tracking.shared import elsewhere
from bench.tracking.store import Store
from bench.tracking.words import title

if TYPE_CHECKING:
    from bench.datasets import Track
    from bench.run.away import Travelling
    from bench.run.queue import Storage

log = logging.getLogger(__name__)

FLUSH_SECONDS = 5.0  # how long the end of one trial waits for the tracking store
CLOSE_SECONDS = 60.0  # how long the end of a study does

Events = Generator[tuple[Trial, Event], bool | None, None]
Made = TypeVar("Made")


class Driver:
    """Runs one study; a context manager that holds the study's lock, since there is one driver and one writer.

    Raises:
        StudyError: the study cannot run as written, or another process is running it.
        StoreError: the tracking store cannot be used.
    """

    def __init__(
        self,
        study: Study,
        catalogue: Catalogue,
        paths: Paths,
        command: str,
        track: Track | None = None,
        *,
        looks: bool = False,
    ) -> None:
        """``command`` is what reproduces this invocation, remembered with every run; ``track`` shows how far the reading of many
        files is. One that only ``looks`` is asked for a plan and not to run it."""
        self.study = study
        self.paths = paths
        self.command = command
        self.outcome = Outcome()
        self.planner = Planner(study, catalogue, paths.data, track)
        self._looks = looks
        self._stack = contextlib.ExitStack()
        self._attempts: dict[str, int] = {}
        self._stored: set[str] = set()
        self._borrowed: list[Trial] = []  # while this ran, which nobody had finished when it began

    def __enter__(self) -> Driver:
        try:
            self._open()
        except BaseException:
            self._stack.close()  # or the study stays locked for as long as somebody holds the error
            raise
        return self

    def _open(self) -> None:
        locks = self._stack.enter_context(folder_of_locks(self.paths.store, looks=self._looks))
        self._stack.enter_context(sole_driver(locks, self.study.name))
        self._locks = TrialLocks(locks, self.study.name)
        self._stack.callback(self._locks.close)
        self._feed = Feed(self._locks, self._begin)
        study, runs = self.study, not self._looks
        self.store = Store(self.paths.store, self.paths.tracking, study.name, study.question, create=False, mend=runs)
        check_address("--storage", self.paths.queue)
        self._storage: Storage | None = None  # where nothing needs it
        self._stack.callback(self._leave_storage)
        ask = partial(answered, self.paths.queue, start=True, what="the queue's database")
        if not ask(partial(idle, self.paths.queue, self.study.name, looks=self._looks)):
            from bench.run.queue import check, sole_of_all

            if runs:
                self._storage = self._open_storage()
                self._stack.enter_context(sole_of_all(self.paths.queue, self.study.name))
            else:
                ask(partial(check, self.paths.queue))
        if runs:
            self.store.close_orphans()
        self.records = self.store.records()

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def plan(self, *, rerun: bool = False, rerun_changed: bool = False, remeasure: bool = False) -> Plan:
        """Everything that can be known before it starts, checked; see `Planner.plan`."""
        known = partial(elsewhere, self.store)
        plan = self.planner.plan(self.records, known, rerun=rerun, rerun_changed=rerun_changed, remeasure=remeasure)
        self.records |= plan.borrowed
        return plan

    def run(self, plan: Plan, executor: str, resources: Resources) -> Events:
        """Run what is missing and yield every event once it is handed to the tracker; `outcome` says how it ended.

        Closing the generator stops every trial, and notes it as interrupted. With nothing to be done, nothing is read of
        MLflow, Optuna and torch, which takes longer than all else.
        """
        sweep(self.store, self.records, self._locks)
        begun = plan.begun & {each.name for each in checkpoints(self.paths.store)}
        self.outcome.notes += told_outdated(self.study, plan.outdated, begun, self.records)
        self.outcome.notes += self.planner.undrawn(plan, self.records, self.store.drawn)
        if not (plan.work or plan.borrowed or self._storage):
            self.store.keep_copy()
            return
        place = registry.load("executors", executor)
        if plan.work and hasattr(place, "ready"):
            place.ready(resources)
        from bench.run.queue import Queue
        from bench.tracking.writer import Writer

        self._storage = self._storage or self._open_storage()
        self.store.create(self.study.question)
        self._writer = Writer(self.store, provenance(self.command))
        try:
            for trial in plan.trials:
                if trial.key in plan.borrowed:
                    self._writer.refer(trial, self.records[trial.key])
            self._work = self._work_of(plan, together=resources.slots > 1)
            self.outcome.notes += self.planner.fetch(bool(resources.gpus) or resources.use_gpus)
            drive = partial(self._drive, place.run, resources)
            if self.study.is_search:
                from bench.run.search import confirmations, searches

                found = self._queues(lambda storage: searches(self.planner, storage, self.records, self.store.losses))
                plan.tried = sum(each.queue.tried for each in found)
                yield from drive([each.queue for each in found])
                plan.confirm(confirmations(self.planner, found), self.records)
            finished = self.planner.objectives(self.records)
            queue = self._queues(lambda storage: Queue(storage, self.study.name, self.study.objective, finished))
            queue.enqueue(plan.todo)
            yield from drive([Again(trial for trial in plan.trials if trial.key in plan.again), queue])
            late = [trial for trial in self._borrowed if self.planner.missing(self.records[trial.key])]
            plan.again = {trial.key: self.planner.missing(self.records[trial.key]) for trial in late}
            self._work = self._work_of(plan)
            yield from drive([Again(late)])
        except (Stopped, Gone) as stopped:
            self.outcome.broken = str(stopped)
        except trouble() as error:
            if interrupt_behind(error):
                raise
            why = first_line(error.__cause__ or error)  # Optuna's own words guess at it
            self.outcome.broken = f"the queue {self.paths.queue} cannot be used: {why}; the same command goes on"
        finally:
            if unwritten := self._writer.close(CLOSE_SECONDS):
                self.outcome.broken = "; ".join(filter(None, (self.outcome.broken, unwritten)))
            self.outcome.finished = [trial for trial in self.outcome.finished if trial.key in self._stored]
            self.store.keep_copy()

    def _work_of(self, plan: Plan, *, together: bool = False) -> Travelling:
        """What a trial's process does with it; whether some run ``together``."""
        from bench.run.away import Travelling

        anew = {trial.key for trial in plan.todo if self._finished(trial)}
        on: dict[str, list[str]] = {}
        for trial in plan.todo if together else ():
            on.setdefault(trial.dataset, []).append(trial.key)
        runs = {key: self.records[key] for key in plan.again}
        return Travelling(
            asked=self.planner.missing(None),
            data_dir=self.paths.data,
            folder=self.paths.store,
            guests=self.paths.guests,
            again={
                key: Saved(self.store.artifact(run.run_id, WEIGHTS), run.files.get(WEIGHTS, ""), plan.again[key])
                for key, run in runs.items()
            },
            pictures=self.study.pictures,
            changed_anew=self.planner.changed_anew,
            threads={key: record.threads for key, record in self.records.items() if record.threads and key not in anew},
            first=frozenset(keys[0] for keys in on.values() if len(keys) > 1),
        )

    def _drive(self, run: Callable[..., Events], resources: Resources, queues: Sequence[TrialQueue]) -> Events:
        """Feed an executor from ``queues`` and hand on its events until nothing is open."""
        events = run(self._feed.trials(queues), self._work, resources)
        stop: bool | None = None
        try:
            while True:
                try:
                    trial, event = events.send(stop)
                except StopIteration:
                    return
                stop = self._handle(trial, event)
                yield trial, event
                if self._writer.broken:
                    raise Stopped(f"{self.study.name} was stopped, since nothing can be stored")
        finally:
            events.close()
            with contextlib.suppress(*trouble()):
                for trial, queue, begun in self._feed.stop():
                    if begun:
                        self._writer.interrupt(trial)
                    queue.interrupt(trial)
                    self._locks.give_back(trial.key)

    def _begin(self, trial: Trial, queue: TrialQueue) -> bool:
        """Begin a trial that is this driver's alone; False where another study has finished it by now, and that is all."""
        record = self.records.get(trial.key)
        if queue.trains and not self._finished(trial) and (found := self._found(trial)):
            self.records[trial.key] = found
            self._borrowed.append(trial)
            self._writer.refer(trial, found)
            queue.tell(trial, found.scores.get(self.study.objective.name, Score(None)))
            self.outcome.notes.append(f"{title(trial)}: finished in study {found.study}")
            return False
        if queue.trains and record and self._finished(trial) and trial.key not in self._attempts:
            if record.redone:
                record = replace(record, run_id=record.redone, state="interrupted")
            else:
                record = None  # trained again on purpose: a run of its own, beside the old one
                forget(self._work.checkpoint(trial))
        before = self._attempts.get(trial.key, record.attempt if record else 0)
        self._attempts[trial.key] = before + queue.trains
        self._writer.start(trial, record, self._attempts[trial.key])
        return True

    def _handle(self, trial: Trial, event: Event) -> bool:
        """Write one event down and tell the queue it came from; True where the trial is to be stopped."""
        if trial.key not in self._feed.running:  # its process was ended between its last event and its own end
            return False
        queue = self._feed.running[trial.key][1]
        match event:
            case Started():
                params = {**self.planner.catalogue.chosen(trial), "parameters": event.parameters}
                self._writer.facts(trial, event.tags, params, event.data)
            case Epoch(progress, pictures):
                self._writer.epoch(trial, progress.epoch, event.measures(trial.held_out), pictures)
                loss = progress.held_out.get("loss")
                if loss is None or not progress.epoch or not queue.report(trial, progress.epoch, loss):
                    return False
                self._writer.prune(trial, progress.epoch)
                self._end(trial)
                queue.tell(trial, None, pruned=True)
                forget(self._work.checkpoint(trial))
                self._locks.give_back(trial.key)
                self.outcome.pruned.append(trial)
                return True
            case Finished(scores, files, applied):
                self._writer.finish(trial, scores, files, applied, then=partial(self._is_stored, trial))
                self._end(trial)
                self.outcome.finished.append(trial)
                if self._writer.broken:  # and it is not
                    queue.interrupt(trial)
                else:
                    queue.tell(trial, scores.get(self.study.objective.name, Score(None)))
            case Failure():
                self._fail(trial, event, queue)
        return False

    def _fail(self, trial: Trial, failure: Failure, queue: TrialQueue) -> None:
        self._writer.fail(trial, failure)
        self._end(trial)
        self._locks.give_back(trial.key)
        if failure.retriable and queue.retry(trial):
            self.outcome.notes.append(f"{title(trial)}: {failure.kind}: {failure.reason}; tried again")
            return
        self.outcome.failed.append((trial, failure))
        if failure.kind == "disk full":
            queue.interrupt(trial)
            raise Stopped(f"{self.study.name} was stopped: the disk is full; with room on it the same command goes on")
        if not failure.retriable:
            queue.tell(trial, None)
        if failure.kind == "diverged":
            forget(self._work.checkpoint(trial))

    def _finished(self, trial: Trial) -> bool:
        """Whether a run of it had finished when this began."""
        return trial.key in self.records and self.records[trial.key].state == "finished"

    def _found(self, trial: Trial) -> Record | None:
        """Another study's finished run of the trial; None where there is none that serves, or nobody who could tell."""
        if self._writer.away:
            return None
        with contextlib.suppress(StoreError):
            found = elsewhere(self.store, [trial.key]).get(trial.key)
            enough = found and (not self.study.is_search or self.study.objective.name in found.scores)
            return found if found and enough and self.planner.counts(found) else None
        return None

    def _is_stored(self, trial: Trial) -> None:
        """All of a finished trial is written; called by the writer."""
        self._stored.add(trial.key)
        forget(self._work.checkpoint(trial))
        self._locks.give_back(trial.key)

    def _end(self, trial: Trial) -> None:
        """Give the tracker a moment to write down how the trial ended, so that this is known before the queue is told."""
        self._writer.flush(FLUSH_SECONDS, everything=False)
        self._feed.ended(trial)

    def _open_storage(self, *, anew: bool = False) -> Storage:
        from bench.run.queue import open_storage

        with FileLock(self.paths.store / "locks" / "databases.lock"):
            opening = partial(open_storage, self.paths.queue, anew=anew)
            return answered(self.paths.queue, opening, start=True, what="the queue's database")

    def _leave_storage(self) -> None:
        """Close the connections to the queue's database."""
        if self._storage is not None:
            self._storage.engine.dispose()

    def _queues(self, make: Callable[[Storage], Made]) -> Made:
        """Open queues; where what is read there makes no sense, in a database of its own: it is made again from the runs."""
        self._storage = storage = self._storage or self._open_storage()
        try:
            return make(storage)
        except Exception as error:
            if isinstance(error, (StudyError, StoreError, *trouble())):
                raise
            log.warning("the queue %s is damaged (%s) and is made anew", self.paths.queue, first_line(error))
            storage.engine.dispose()
            self._storage = storage = self._open_storage(anew=True)
            return make(storage)
