"""What an executor is fed with: the next trial that this driver has to itself and that nobody has finished meanwhile."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence

from bench.run.lock import TrialLocks
from bench.run.trial_queue import TrialQueue
from bench.study.definition import Trial
from bench.tracking.words import title

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0  # between two looks at a trial that another driver is busy with


class Feed:
    """Takes trials from queues, in their order, and keeps those that are running.

    A trial that another study's driver is busy with waits until that is done with it; it is finished then, as a rule.

    Attributes:
        running: by key, with the queue that each came from.
    """

    def __init__(self, locks: TrialLocks, begin: Callable[[Trial, TrialQueue], bool]) -> None:
        """``begin`` starts a trial that is this driver's own by now, or ends it where there is nothing to be done: False then."""
        self.running: dict[str, tuple[Trial, TrialQueue]] = {}
        self._locks = locks
        self._begin = begin
        self._elsewhere: list[tuple[Trial, TrialQueue]] = []

    def trials(self, queues: Sequence[TrialQueue]) -> Iterator[Trial | None]:
        """The next trial whenever an executor has room; None while only running ones could bring more."""
        while any(queue.open for queue in queues):
            trial = self._next(queues)
            if trial is not None or self.running:
                yield trial
            elif self._elsewhere:
                time.sleep(LOOK_SECONDS)  # there is nothing else to do

    def ended(self, trial: Trial) -> TrialQueue:
        """A trial runs no more; the queue that is to be told."""
        return self.running.pop(trial.key)[1]

    def stop(self) -> Iterator[tuple[Trial, TrialQueue, bool]]:
        """All that was begun, or waits for another driver, with its queue and whether it was begun."""
        while self.running:
            yield *self.running.popitem()[1], True
        while self._elsewhere:
            yield *self._elsewhere.pop(), False

    def _next(self, queues: Sequence[TrialQueue]) -> Trial | None:
        for waiting in list(self._elsewhere):
            if self._locks.take(waiting[0].key):
                self._elsewhere.remove(waiting)
                if self._started(*waiting):
                    return waiting[0]
        for queue in queues:
            while (trial := queue.next()) is not None:
                if not self._locks.take(trial.key):
                    log.warning("%s waits: %s has it", title(trial), self._locks.holder(trial.key))
                    self._elsewhere.append((trial, queue))
                elif self._started(trial, queue):
                    return trial
        return None

    def _started(self, trial: Trial, queue: TrialQueue) -> bool:
        self.running[trial.key] = (trial, queue)
        if self._begin(trial, queue):
            return True
        del self.running[trial.key]
        self._locks.give_back(trial.key)
        return False
