"""Trials as jobs of SLURM, through submitit: one job for each, or for a pack of trials that it runs one after another.

The driver stays where it is called, and needs no GPU. It and the jobs meet in ``mlruns/jobs``, which must lie, as all of
``mlruns`` and the data sets, on a file system that the nodes share: events come as numbered files, each written whole, and a
trial that is to stop finds a file that says so. Nothing listens on a network. A job that died, or was about to be ended for its
time, is a `Failure` of the trial it was at; those that it had not begun go into another. SLURM begins none a second time.

Where there is no SLURM, jobs are processes on this machine: for trying it out. ``--slurm cluster=debug`` runs them in the driver.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from bench.executors import NO_LIMIT, Gone, NotInstalled, Resources
from bench.executors._job import Word, event_file, run_pack, stop_file
from bench.files import write_whole
from bench.study.definition import Failure, StudyError, Trial

if find_spec("submitit") is None:
    raise NotInstalled(
        "--executor submitit: submitit is not installed here; it comes with the extra: pip install -e '.[slurm]'"
    )

ELSEWHERE = ("slurm", "threads", "trials_per_job")
LOOK_SECONDS = 0.5  # between two looks at what all jobs have said
SETTLE_SECONDS = 60.0  # that a file may take to be seen elsewhere: NFS keeps what it knows of a folder for so long
MOST_JOBS = 100  # at a time, waiting ones too, unless --workers says so: each is a line in everybody's queue
MINUTES = 24 * 60  # that a job may take, unless --slurm timeout_min says so
LAST_LINES = 20  # of what a dead job printed that are kept with the failure
ONCE = {"no_requeue": True}  # what is to be tried again goes into another job, from where it had come to
SHARED = [
    "cpus_per_task",
    "gpus_per_node",
    "mem_gb",
    "name",
    "nodes",
    "stderr_to_stdout",
    "tasks_per_node",
    "timeout_min",
]
"""submitit's names for what every queueing system has; all others are SLURM's own."""


def run(
    trials: Iterator[Trial | None], work: Callable[[Trial], Iterable[Any]], resources: Resources
) -> Generator[tuple[Trial, Any], bool | None, None]:
    """Run ``trials`` as jobs; see `bench.executors`.

    Raises:
        StudyError: there is nothing to hand jobs to, or what they ask for is refused.
        Gone: no more jobs are taken.
    """
    jobs: list[_Job] = []
    waiting: list[Sequence[Trial]] = []  # what jobs that died had not begun
    with _folder(resources.jobs) as folder, _Submitter(folder, work, resources) as submitter:
        while True:
            while len(jobs) < submitter.most:
                pack = list(waiting.pop()) if waiting else _taken(trials, resources.trials_per_job)
                if not pack:
                    break
                jobs.append(submitter.submit(pack))
            if not jobs:
                return
            for job in list(jobs):
                job.look()
                for trial, event in job.read():
                    if (yield trial, event):
                        job.stop()
                if job.overdue and (late := job.at):
                    job.give_up()
                    yield late, Failure("timed out", f"stopped after {resources.timeout:g} s")
                if job.ended:
                    jobs.remove(job)
                    if not (job.cancelled or job.leaves) and (lost := job.at or next(iter(job.rest), None)):
                        yield lost, job.failure()
                        job.rest = [each for each in job.rest if each is not lost]
                    waiting += [job.rest] if job.rest else []
            time.sleep(LOOK_SECONDS)


def _taken(trials: Iterator[Trial | None], most: int) -> list[Trial]:
    """The next trials for one job, as many as there are to begin now."""
    return list(itertools.islice(iter(lambda: next(trials, None), None), most))


@dataclass
class _Job:
    """One job, as far as its driver knows.

    Attributes:
        handle: submitit's.
        place: the folder of its files.
        rest: the trials that it has not begun.
        at: the trial that it is at; None between two, and where it is told to stop.
        ended: nothing more comes of it.
        leaves: it said so, before its time was up.
    """

    handle: Any
    place: Path
    trials: Sequence[Trial]
    timeout: float | None
    settle: float
    rest: Sequence[Trial] = field(init=False)
    at: Trial | None = None
    ended: bool = False
    cancelled: bool = False
    leaves: bool = False
    _read: int = 0
    _deadline: float | None = None
    _over: float | None = None

    def __post_init__(self) -> None:
        self.rest = self.trials

    @property
    def overdue(self) -> bool:
        """Whether the trial that it is at takes too long."""
        return self._deadline is not None and time.monotonic() > self._deadline

    def look(self) -> None:
        """See whether it runs: one that does not may have said more than can be seen yet."""
        if self._over is None and self.handle.done():
            self._over = time.monotonic()

    def read(self) -> Iterator[tuple[Trial, Any]]:
        """What its trials have said since, in order."""
        there = set(os.listdir(self.place))
        while not self.ended and (name := event_file(self._read)) in there:
            index, event = pickle.loads((self.place / name).read_bytes())
            (self.place / name).unlink()
            self._read += 1
            if event is Word.BEGUN:
                self.at, self.rest = self.trials[index], self.trials[index + 1 :]
                self._deadline = None if self.timeout is None else time.monotonic() + self.timeout
            elif event is Word.DONE:
                self.at = self._deadline = None
                self.ended = not self.rest
            elif event is Word.LEAVES:
                self.at = self._deadline = None
                self.ended = self.leaves = True
            elif self.at is not None:
                yield self.at, event
        if self._over is not None and (self.settle == 0 or time.monotonic() - self._over > self.settle):
            self.ended = True

    def stop(self) -> None:
        """Have it leave the trial that it is at: it looks for that after each event. One that has no other is cancelled."""
        if self.rest:
            index = len(self.trials) - len(self.rest) - 1
            write_whole(self.place / stop_file(index), b"")
            self.at = self._deadline = None
        else:
            self.give_up()

    def give_up(self) -> None:
        """Cancel it."""
        self.at = None
        self.handle.cancel(check=False)
        self.cancelled = self.ended = True

    def failure(self) -> Failure:
        """How it came to its end, of a trial that had not come to its own."""
        state = str(self.handle.state)
        said = "" if self.at else ", without a word: do the nodes share the folder that mlruns lies in?"
        last = "\n".join((self.handle.stderr() or "").splitlines()[-LAST_LINES:])
        kind = "out of memory" if state == "OUT_OF_MEMORY" else "killed"
        return Failure(kind, f"its job {self.handle.job_id} ended as {state.lower()}{said}", last)


class _Submitter:
    """Hands out jobs, and cancels those that are left at the end.

    Attributes:
        most: jobs at a time.
    """

    def __init__(self, folder: Path, work: Callable[[Trial], Iterable[Any]], resources: Resources) -> None:
        import submitit

        given = {name: value for name, value in resources.slurm.items() if name != "cluster"}
        named = {n if n in SHARED or n.startswith("slurm_") else f"slurm_{n}": value for n, value in given.items()}
        defaults = {"name": "bench", "timeout_min": MINUTES, "cpus_per_task": resources.threads}
        try:
            named["slurm_additional_parameters"] = {**ONCE, **named.get("slurm_additional_parameters", {})}
            self._executor = submitit.AutoExecutor(folder, cluster=resources.slurm.get("cluster"))
            self._executor.update_parameters(**{**defaults, **named})
        except (AssertionError, NameError, RuntimeError, TypeError, ValueError) as error:
            raise StudyError(f"--slurm: {str(error).strip().partition(chr(10))[0]}") from None
        self._on_slurm = self._executor.cluster == "slurm"
        unasked = MOST_JOBS if self._on_slurm else os.cpu_count() or 1
        self.most = unasked if resources.workers == NO_LIMIT else resources.workers
        self._folder, self._work, self._timeout = folder, work, resources.timeout
        self._environment = {"OMP_NUM_THREADS": str(resources.threads)}
        self._environment |= {} if resources.use_gpus else {"CUDA_VISIBLE_DEVICES": ""}
        self._jobs: list[_Job] = []

    def submit(self, pack: Sequence[Trial]) -> _Job:
        """A job of these trials."""
        place = Path(tempfile.mkdtemp(dir=self._folder, prefix="job-"))
        try:
            with _interruptible():
                handle = self._executor.submit(run_pack, place, pack, self._work, self._environment)
        except Exception as error:  # whatever it is that submitit makes of what sbatch says
            why = f"the job was not taken: {(str(error).strip() or type(error).__name__).splitlines()[-1]}"
            if self._jobs:
                raise Gone(f"{why}; the same command goes on") from None
            raise StudyError(f"--executor submitit: {why}") from None
        (place / "id").write_text(handle.job_id)
        self._jobs.append(_Job(handle, place, pack, self._timeout, SETTLE_SECONDS if self._on_slurm else 0.0))
        return self._jobs[-1]

    def __enter__(self) -> _Submitter:
        jobs = self._folder.parent
        for other in jobs.glob("run-*") if jobs.name == "jobs" else ():  # of drivers that were killed
            with contextlib.suppress(Timeout, OSError), FileLock(other / "lock", timeout=0):
                for left in other.glob("job-*/id"):
                    self._executor._executor.job_class(other, left.read_text()).cancel(check=False)
                shutil.rmtree(other, ignore_errors=True)
        return self

    def __exit__(self, *error: object) -> None:
        for job in self._jobs:
            if not job.ended:
                job.give_up()
        while self._executor.cluster == "local" and not all(job.handle.done() for job in self._jobs):
            time.sleep(0.1)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Begin what SIGINT ends, as submitit ends a job of this machine: a shell's background job ignores it and hands that on."""
    heeds = (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.SIG_IGN
    )
    if not heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if not heeds:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextlib.contextmanager
def _folder(jobs: Path | None) -> Iterator[Path]:
    """A folder that is nobody else's, since what is read there is believed; gone afterwards."""
    if jobs:
        jobs.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=jobs, prefix="run-"))
    try:
        with FileLock(folder / "lock"):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
