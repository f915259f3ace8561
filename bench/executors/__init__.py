"""One file per place where trials run; each has one function, ``run``.

``run(trials, work, resources)`` is a generator of ``(trial, event)``. It pulls from ``trials`` whenever it has room (None means
"nothing to start before something ends"), iterates ``work(trial)`` somewhere, and yields what that yields, unread. A trial
that ends without having said so comes as a `Failure`. Sending True back stops the trial whose event was just yielded.
Closing the generator stops all of them. Nothing here retries: the driver decides that.

A file may hold ``ready(resources)`` too, which is called as soon as it is known that there are trials: it begins what they wait
for, and waits for nothing.

A file whose trials run on other machines says so in ``ELSEWHERE``, which names the fields of `Resources` that it heeds beside
``workers``, ``timeout`` and ``use_gpus``: this machine is not shared out for them.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from bench.study.definition import Failure, StudyError, Trial

NO_LIMIT = sys.maxsize  # of trials at a time


class NotInstalled(StudyError):
    """An executor needs a package that is not here: one line that says how to get it."""


class Gone(Exception):
    """What trials run on is not there any more: one line. They are interrupted, and go on when it is back."""


class Lost(Exception):
    """What a trial was to be brought went with the process that made it: another attempt may have it."""


@dataclass(frozen=True)
class Resources:
    """What trials may use.

    Attributes:
        workers: trials at a time on processor cores, where there is no GPU to use; elsewhere at a time in all, or `NO_LIMIT`.
        gpus: the GPUs of this machine to use, as CUDA numbers them; empty where trials run elsewhere.
        use_gpus: whether trials elsewhere use a GPU, if there is one.
        trials_per_gpu: trials that share one GPU.
        timeout: seconds after which a trial is stopped; None for never.
        threads: processor threads of a trial that runs elsewhere.
        ray_address: of a Ray cluster, ``auto`` or ``HOST:PORT``; None for a Ray of this machine's own.
        trials_per_job: trials that one job of a queueing system runs, one after another.
        slurm: what such a job asks for, by the names of submitit's parameters.
        jobs: the folder where jobs and their driver meet, on a file system that both see; None for one of this machine's.
    """

    workers: int = 1
    gpus: tuple[str, ...] = ()
    use_gpus: bool = False
    trials_per_gpu: int = 1
    timeout: float | None = None
    threads: int = 1
    ray_address: str | None = None
    trials_per_job: int = 1
    slurm: Mapping[str, Any] = field(default_factory=dict)
    jobs: Path | None = None

    @property
    def slots(self) -> int:
        """How many trials run at a time; 1 where nobody knows, as on other machines."""
        return len(self.gpus) * self.trials_per_gpu or (1 if self.workers == NO_LIMIT else self.workers)


class Errand(Hashable, Protocol):
    """Something done once on the driver's machine, whose result many trials are brought; equal ones are one."""

    def __call__(self) -> Any:
        """Do it; what it returns travels."""


@dataclass(frozen=True)
class Kept:
    """What a trial elsewhere has kept to go on from, by file name: handed to `Travels.receive`, and not yielded."""

    files: Mapping[str, bytes]


@runtime_checkable
class Travels(Protocol):
    """Work that can be done where no file of the driver's is."""

    def pack(
        self, trial: Trial, threads: int, gpu: bool, at_once: int
    ) -> tuple[Callable[[Trial, Sequence[Callable[[], Any]]], Iterable[Any]], Sequence[Errand]]:
        """What is called there, and the errands whose results it is given, each as a function that waits for it.

        Args:
            threads: processor threads of the trial.
            gpu: whether it has a GPU there.
            at_once: how many trials run at a time, as far as is known: what they keep comes through one driver.
        """

    def receive(self, trial: Trial, kept: Kept) -> Failure | None:
        """Keep it on the driver's machine; the trial's end where that cannot be."""


def failure_of(error: Exception) -> Failure:
    """An exception that work did not foresee, as the trial's end."""
    if isinstance(error, Lost):
        return Failure("killed", str(error))
    what = str(error).strip().partition("\n")[0]
    line = f"{type(error).__name__}: {what}" if what else type(error).__name__
    return Failure("error", line, "".join(traceback.format_exception(error)))
