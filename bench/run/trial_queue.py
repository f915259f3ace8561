"""What the driver asks of a queue, and the one queue that needs no database: trials that are measured again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from bench.score import Score
from bench.study.definition import Trial


class TrialQueue(Protocol):
    """What the driver takes trials from, and tells how they ended.

    Attributes:
        trains: whether its trials are trained; where not, they are trained already.
    """

    trains: bool

    @property
    def open(self) -> bool:
        """Whether a trial is waiting or running, or may yet come."""

    def next(self) -> Trial | None:
        """The next trial to start; None where nothing is waiting now, though a running one may yet come back."""

    def report(self, trial: Trial, epoch: int, loss: float) -> bool:
        """Tell the held-out loss of a running trial; True where it is not worth going on with."""

    def tell(self, trial: Trial, objective: Score | None, *, pruned: bool = False) -> None:
        """Close a running trial with its objective; None where it did not finish.

        Raises:
            Stopped: nothing can come of the others either.
        """

    def interrupt(self, trial: Trial) -> None:
        """Close a running trial that was stopped before its end."""

    def retry(self, trial: Trial) -> bool:
        """Close a running trial as failed and put it in line again; False where it has had its attempts."""


class Again:
    """Trials that are trained already, to be measured again: once each, and nothing of it is kept."""

    trains = False

    def __init__(self, trials: Iterable[Trial]) -> None:
        self._waiting = list(trials)
        self._running: set[str] = set()

    @property
    def open(self) -> bool:
        """Whether a trial is waiting or running."""
        return bool(self._waiting or self._running)

    def next(self) -> Trial | None:
        """The next trial to measure."""
        if not self._waiting:
            return None
        trial = self._waiting.pop(0)
        self._running.add(trial.key)
        return trial

    def report(self, trial: Trial, epoch: int, loss: float) -> bool:
        """A trial that is not trained has nothing to report."""
        return False

    def tell(self, trial: Trial, objective: Score | None, *, pruned: bool = False) -> None:
        """Close ``trial``."""
        self._running.remove(trial.key)

    def interrupt(self, trial: Trial) -> None:
        """Close ``trial``; the next invocation measures it."""
        self._running.remove(trial.key)

    def retry(self, trial: Trial) -> bool:
        """Close ``trial``; the next invocation measures it."""
        self._running.remove(trial.key)
        return False
