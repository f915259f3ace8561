"""Trials as processes on this machine: one child each, on a share of the cores or of a GPU.

A child that dies takes only its own trial with it (a process pool would take them all), and its memory is really given back.
Children are forked from a server that has read what all of them need, which takes three seconds, and has done nothing else: no
thread runs in it and no GPU is open. The server dies with its driver and the children with the server, stopped ones too, where
the kernel sees to that (Linux); elsewhere a thread in each of them does.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import Any

from bench.executors import Resources
from bench.study.definition import Failure, Trial

FORKS = "forkserver" in multiprocessing.get_all_start_methods()
CONTEXT = multiprocessing.get_context("forkserver") if FORKS else multiprocessing.get_context("spawn")
PRELOADED = ["bench.executors._tied", "bench.run.worker", "torch._dynamo"]  # the last because every optimiser reads it
WAITS = (
    0.1,
    0.2,
    0.4,
    0.8,
    1.6,
)  # seconds between tries to start a process: a server that was ended takes a while to be gone
LOST = 255  # the exit status of a child whose server is gone: nobody knows its own
PR_SET_PDEATHSIG = 1  # prctl(2)
Slot = Mapping[str, str]  # the environment that gives a child its share of the machine


def run(
    trials: Iterator[Trial | None], work: Callable[[Trial], Iterable[Any]], resources: Resources
) -> Generator[tuple[Trial, Any], bool | None, None]:
    """Run ``trials`` in children of this process, which die with it; see `bench.executors`."""
    free = slots(resources)
    children: dict[Connection, _Child] = {}
    try:
        while True:
            while free and (trial := next(trials, None)) is not None:
                slot = free.pop(0)
                try:
                    child = _Child.start(trial, work, slot, resources.timeout)
                except (EOFError, OSError) as error:
                    free.append(slot)
                    yield trial, Failure("killed", f"no process could be started for it: {str(error) or 'no answer'}")
                else:
                    children[child.events] = child
            if not children:
                return
            for events in wait(list(children), _seconds_left(children.values())):
                child = children[events]  # type: ignore[index]
                try:
                    event = child.events.recv()
                except (EOFError, OSError):
                    event = child.ending()
                    if event is not None:
                        yield child.trial, event
                    free.append(_remove(children, child))
                else:
                    if isinstance(event, _Done):
                        child.done = True
                    elif (yield child.trial, event):
                        free.append(_remove(children, child))
            for child in [child for child in children.values() if child.overdue]:
                free.append(_remove(children, child))
                yield child.trial, Failure("timed out", f"stopped after {resources.timeout:g} s")
    finally:
        for child in list(children.values()):
            _remove(children, child)


def ready(resources: Resources) -> None:
    """Start the server of the trials' processes, which reads what they need while the driver opens its stores."""
    if FORKS:
        CONTEXT.set_forkserver_preload(PRELOADED)
        with suppress(OSError), _environment(slots(resources)[0]):  # the first trial tells what is wrong
            forkserver.ensure_running()


def slots(resources: Resources) -> list[Slot]:
    """One environment per trial that may run at a time."""
    if resources.gpus:
        shares = [gpu for _ in range(resources.trials_per_gpu) for gpu in resources.gpus]
        return [{"CUDA_VISIBLE_DEVICES": gpu, "OMP_NUM_THREADS": _threads(len(shares))} for gpu in shares]
    return [{"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": _threads(resources.workers)}] * resources.workers


@dataclass(frozen=True)
class _Done:
    """The last thing that a child says, of work that has ended: whatever becomes of its process, this was its end."""


@dataclass
class _Child:
    trial: Trial
    slot: Slot
    process: BaseProcess
    events: Connection
    deadline: float | None
    done: bool = False

    @classmethod
    def start(cls, trial: Trial, work: Callable[[Trial], Iterable[Any]], slot: Slot, timeout: float | None) -> _Child:
        CONTEXT.set_forkserver_preload(PRELOADED)
        for seconds in WAITS:
            with suppress(EOFError, OSError):  # the server was ended; the next try starts another
                return cls._started(trial, work, slot, timeout)
            time.sleep(seconds)
        return cls._started(trial, work, slot, timeout)

    @classmethod
    def _started(
        cls, trial: Trial, work: Callable[[Trial], Iterable[Any]], slot: Slot, timeout: float | None
    ) -> _Child:
        receiver, sender = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_work, args=(sender, work, trial, slot), name=trial.name)
        with _environment(slot), _no_main_module():
            process.start()
        sender.close()
        return cls(trial, slot, process, receiver, None if timeout is None else time.monotonic() + timeout)

    @property
    def overdue(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline

    def ending(self) -> Failure | None:
        """How a child whose events have ended came to its end; None where it had done its work."""
        self.process.join()
        code = self.process.exitcode or 0
        if self.done:
            return None
        if code == LOST:
            return Failure("killed", "the server of the trials' processes was ended, and this one with it")
        if code < 0:
            name = signal.Signals(-code).name
            return Failure("killed", f"the trial's process was ended by {name}")
        return Failure("error", f"the trial's process ended with exit status {code}") if code else None


@contextmanager
def _environment(slot: Slot) -> Iterator[None]:
    """Start a process that has a share of the machine: for what reads it at its start."""
    before = {name: os.environ.get(name) for name in slot}
    os.environ.update(slot)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _no_main_module() -> Iterator[None]:
    """Start a process that does not run the caller's script again, as it otherwise would to find what is defined there.

    Nothing of it is needed, and a script that calls `bench.run` without a guard would start its trials from within its trials.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _remove(children: dict[Connection, _Child], child: _Child) -> Slot:
    """End the child if it still runs, and give its slot back."""
    del children[child.events]
    if child.process.is_alive():
        child.process.kill()
    elif child.process.exitcode == LOST and child.process.pid:
        with suppress(ProcessLookupError):
            os.kill(child.process.pid, signal.SIGKILL)
    child.process.join()
    child.events.close()
    return child.slot


def _seconds_left(children: Iterable[_Child]) -> float | None:
    deadlines = [child.deadline for child in children if child.deadline is not None]
    return max(0.0, min(deadlines) - time.monotonic()) if deadlines else None


def _threads(trials: int) -> str:
    return str(max(1, len(os.sched_getaffinity(0)) // trials if hasattr(os, "sched_getaffinity") else 1))


def _work(events: Connection, work: Callable[[Trial], Iterable[Any]], trial: Trial, slot: Slot) -> None:
    """A child's whole life."""
    os.environ.update(slot)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the driver says what happens
    threading.Thread(target=_die_with_driver, daemon=True).start()
    try:
        for event in work(trial):
            events.send(event)
        events.send(_Done())
    except Exception as error:
        failure = Failure("error", f"{type(error).__name__}: {error}".splitlines()[0], traceback.format_exc())
        with suppress(ConnectionError):  # that may be it: the driver is gone, and nobody there to be told
            events.send(failure)
    finally:
        events.close()


def die_with_parent() -> None:
    """Have the kernel, where it can, kill this process when its parent ends: one that is stopped runs no thread to do it."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _die_with_driver() -> None:
    driver = multiprocessing.parent_process()
    if driver is not None:
        driver.join()
        os._exit(1)
