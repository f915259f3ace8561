"""Inside a job of a queueing system: its trials one after another, and what they say as files that their driver reads."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any

from bench.executors import failure_of
from bench.files import write_whole
from bench.study.definition import Failure, Trial

WARNING = getattr(signal, f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}", signal.SIGUSR2)
"""What submitit has SLURM send 90 s before a job's time is up, and when another takes its place."""


class Word(Enum):
    """What a job says between its trials' events."""

    BEGUN = 1
    DONE = 2
    LEAVES = 3  # before its time is up: trials that it has not begun are for another job


class Ending(BaseException):
    """The job is about to be ended: no error of the trial's, and none that whatever it is in the midst of should handle."""


ENDED = Failure("killed", "its job was about to be ended, for its time or for another job")


def event_file(number: int) -> str:
    """The name of the file in which a job's event lies: they are counted from 0."""
    return f"{number:08d}.event"


def stop_file(index: int) -> str:
    """The name of the file that tells a job to leave one of its trials."""
    return f"{index}.stop"


def run_pack(
    place: Path, trials: Sequence[Trial], work: Callable[[Trial], Iterable[Any]], environment: dict[str, str]
) -> None:
    """Run the trials, and write every event into ``place``, each file whole.

    A job that is to be ended says so of the trial that it is at, and leaves. One that a queueing system begins a second time,
    as it may when a node has failed, ends at once: its driver has other plans for what was in it.

    Raises:
        SystemExit: the driver is gone, or this is the second time.
    """
    os.environ.update(environment)
    job = _Told(place)
    try:
        (place / "begun").touch(exist_ok=False)
    except FileExistsError:
        raise SystemExit("this job has been begun before") from None
    except FileNotFoundError:
        raise SystemExit("its driver is gone") from None
    with job.warned():
        for index, trial in enumerate(trials):
            job.say(index, Word.BEGUN)
            try:
                with job.at_work():
                    for event in work(trial):
                        job.say(index, event)
                        if (place / stop_file(index)).exists():
                            break
            except Ending:
                job.say(index, ENDED)
            except Exception as error:
                job.say(index, failure_of(error))
            job.say(index, Word.DONE)
            if job.ends and index + 1 < len(trials):
                job.say(index, Word.LEAVES)
                return


class _Told:
    """Events on their way to the driver, and the warning that the job is to be ended.

    Attributes:
        ends: it has come.
    """

    def __init__(self, place: Path) -> None:
        self.ends = False
        self._place = place
        self._number = 0
        self._at_work = self._writing = False

    def say(self, index: int, event: Any) -> None:
        """Write down an event of one of the trials; a warning waits for it.

        Raises:
            Ending: the job was warned meanwhile, and is at work.
            SystemExit: the driver is gone.
        """
        if not self._place.is_dir():
            raise SystemExit("its driver is gone")
        self._writing = True
        try:
            write_whole(self._place / event_file(self._number), pickle.dumps((index, event)))
            self._number += 1
        finally:
            self._writing = False
        self._heed()

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """What a warning ends, with an `Ending`."""
        self._at_work = True
        try:
            self._heed()
            yield
        finally:
            self._at_work = False

    @contextmanager
    def warned(self) -> Iterator[None]:
        """Heed the warning in place of submitit, which would raise an error in the midst of a trial, or begin the job anew."""
        if threading.current_thread() is not threading.main_thread():
            yield  # a job that runs in its driver is warned of nothing
            return
        before = signal.signal(WARNING, self._warn)
        try:
            yield
        finally:
            signal.signal(WARNING, before)

    def _warn(self, *_: object) -> None:
        if not self.ends:
            self.ends = True
            self._heed()

    def _heed(self) -> None:
        if self.ends and self._at_work and not self._writing:
            raise Ending
