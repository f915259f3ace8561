"""How long what is left of a study takes, by what its trials took so far; every time is in seconds on one clock."""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.study.definition import Trial

if TYPE_CHECKING:
    from bench.run.plan import Plan


@dataclass
class Running:
    """A trial that runs, or ran.

    Attributes:
        like: what other trials can be like it, from its replicates to any.
        since: when its last event came.
        epoch: the last that is known of it; None before the first.
        spent: on epochs that were watched from their beginning to their end.
        watched: how many those are.
    """

    trial: Trial
    key: str
    like: tuple[Hashable, ...]
    began: float
    since: float
    epoch: int | None = None
    spent: float = 0.0
    watched: int = 0


class Mean:
    """Means of what was seen, of trials that are alike."""

    def __init__(self) -> None:
        self._sums: dict[Hashable, tuple[float, int]] = {}

    def add(self, like: tuple[Hashable, ...], value: float) -> None:
        """One more that was seen of such a trial."""
        for each in like:
            total, count = self._sums.get(each, (0.0, 0))
            self._sums[each] = total + value, count + 1

    def of(self, like: tuple[Hashable, ...]) -> float | None:
        """The mean over the nearest that were seen; None where none was."""
        near = next((self._sums[each] for each in like if each in self._sums), None)
        return None if near is None else near[0] / near[1]


class Remaining:
    """Watches trials and tells what is left, of each and of all.

    Attributes:
        running: the trials that run, by key.
        ended: the keys of those that did.
    """

    def __init__(self, plan: Plan, slots: int = 1) -> None:
        """``slots`` is how many trials run at a time."""
        self.plan = plan
        self.slots = slots
        self.running: dict[str, Running] = {}
        self.ended: set[str] = set()
        self._identities: dict[int, tuple[Trial, str, tuple[Hashable, ...]]] = {}
        self._epochs, self._measures, self._wholes = Mean(), Mean(), Mean()

    @property
    def total(self) -> int:
        """The trials that this invocation has to do, those included that a search is yet to propose or to confirm."""
        plan = self.plan
        asked = len(plan.todo) + len(plan.again) + plan.proposals - plan.tried + plan.confirmations
        return max(asked, len(self.running) + len(self.ended))

    def begin(self, trial: Trial, now: float) -> Running:
        """A trial has begun, once more perhaps."""
        key, like = self._identity(trial)
        self.ended.discard(key)
        return self.running.setdefault(key, Running(trial, key, like, now, now))

    def passed(self, trial: Trial, epoch: int, now: float, *, told_again: bool = False) -> Running:
        """An epoch of a trial is over; one that is ``told_again`` was trained before it was interrupted."""
        running = self.begin(trial, now)
        if not told_again and running.epoch is not None:
            running.spent += now - running.since
            running.watched += 1
            self._epochs.add(running.like, now - running.since)
        running.epoch, running.since = epoch, now
        return running

    def end(self, trial: Trial, now: float, *, whole: bool = True) -> Running:
        """A trial has ended, as a ``whole`` or before it was through."""
        running = self.begin(trial, now)
        if whole and running.epoch is not None:
            self._measures.add(running.like, now - running.since)
        if whole and running.watched:
            self._wholes.add(running.like, now - running.began)
        del self.running[running.key]
        self.ended.add(running.key)
        return running

    def of(self, running: Running, now: float) -> float | None:
        """What is left of a trial that runs, its measures included; None before anything is known."""
        own = running.spent / running.watched if running.watched else self._epochs.of(running.like)
        if own is None:
            known = self.plan.seconds.get(running.key)
            return None if known is None else max(0.0, known - (now - running.began))
        elapsed = now - running.since
        own = max(own, elapsed)  # an epoch that is not over takes at least as long as it has taken
        left = own * (_epochs(running.trial) - (running.epoch or 0)) + (self._measures.of(running.like) or 0.0)
        return max(0.0, left - elapsed)

    def of_all(self, now: float) -> float | None:
        """What is left of the study, were each free slot given the next trial; None before anything is known."""
        ends = [0.0] * max(0, self.slots - len(self.running))
        for running in self.running.values():
            if (left := self.of(running, now)) is None:
                return None
            ends.append(left)
        heapq.heapify(ends)
        for seconds in self._waiting():
            if seconds is None:
                return None
            heapq.heapreplace(ends, ends[0] + seconds)
        return max(ends)

    def _waiting(self) -> Iterator[float | None]:
        """How long each trial takes that has not begun."""
        named = [self._identity(trial) for trial in self.plan.todo]
        waiting = [
            (trial, *each) for trial, each in zip(self.plan.todo, named, strict=True) if not self._begun(each[0])
        ]
        again = [key for key in self.plan.again if not self._begun(key)]
        for trial, key, like in waiting:
            yield self._whole(trial, key, like)
        for _ in again:
            yield self._measures.of((None,)) or 0.0
        unknown = self.total - len(self.running) - len(self.ended) - len(waiting) - len(again)
        for _ in range(unknown):  # what a search will propose is like what it has
            near = next(iter(self.running.values()), None)
            yield self._wholes.of((None,)) or (None if near is None else self._whole(near.trial, near.key, near.like))

    def _begun(self, key: str) -> bool:
        return key in self.running or key in self.ended

    def _whole(self, trial: Trial, key: str, like: tuple[Hashable, ...]) -> float | None:
        """A trial from its beginning to its end: by its replicates, or else by what earlier runs took, or else by the nearest."""
        if (epoch := self._epochs.of(like[:1])) is None:
            if key in self.plan.seconds:
                return self.plan.seconds[key]
            epoch = self._epochs.of(like)
        return None if epoch is None else epoch * _epochs(trial) + (self._measures.of(like) or 0.0)

    def _identity(self, trial: Trial) -> tuple[str, tuple[Hashable, ...]]:
        """Its key, and what others are like it; computed once, since both are hashes over all settings."""
        if id(trial) not in self._identities:
            like = (trial.configuration, (trial.model, trial.dataset), (trial.model,), None)
            self._identities[id(trial)] = trial, trial.key, like
        return self._identities[id(trial)][1:]


def clock(seconds: float | None) -> str:
    """A time as clocks show it, ``1:02:03`` or ``2:03``; blank where it is not known."""
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _epochs(trial: Trial) -> int:
    return int(trial.settings["training"]["epochs"])
