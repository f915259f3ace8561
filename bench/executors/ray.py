"""Trials as tasks of Ray, on every core or GPU of a cluster, or of this machine: one task each, told of as it goes.

The driver runs on a machine of the cluster. Nothing is shared by files: what a trial needs goes there, what it keeps comes back
(`bench.executors.Travels`), so that a node may be lost at any time. Ray's own retries are off: what was lost comes as a
`Failure`, and the driver decides. Ray is started, or joined, once in a process and left at its end.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from bench.executors import Errand, Gone, Kept, Lost, NotInstalled, Resources, Travels, failure_of
from bench.study.definition import Failure, StudyError, Trial

if find_spec("ray") is None:
    raise NotInstalled("--executor ray: Ray is not installed here; it comes with the extra: pip install -e '.[ray]'")

ELSEWHERE = ("ray_address", "threads", "trials_per_gpu")
LOOK_SECONDS = 2.0  # between two looks at the cluster
HEAD_SECONDS = 5.0  # of looks without an answer, after which the head is gone: Ray ends the process after a minute
NODES_SECONDS = 60.0  # that a study waits for a node when it has lost all
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_SCHEDULER_EVENTS": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # by which Ray takes 127.0.0.1 for this machine's address


def run(
    trials: Iterator[Trial | None], work: Callable[[Trial], Iterable[Any]], resources: Resources
) -> Generator[tuple[Trial, Any], bool | None, None]:
    """Run ``trials`` on as many nodes as there are; see `bench.executors`.

    Raises:
        StudyError: there is no such cluster, or no node of it could ever take a trial.
        Gone: the cluster is not there any more.
    """
    ray = _joined(resources.ray_address)
    cluster = _Cluster(ray, work, resources)
    running: dict[Any, _Running] = {}
    more = True
    try:
        while True:
            cluster.look()
            while more and len(running) < cluster.room:
                try:
                    trial = next(trials)
                except StopIteration:
                    more = False
                    break
                if trial is None:
                    break
                try:
                    running[cluster.start(trial)] = _Running(trial)
                except Exception as error:  # what it goes on from cannot be read, or its work cannot travel
                    yield trial, failure_of(error)
            if not running:
                if cluster.room or not more:
                    return
                time.sleep(LOOK_SECONDS)
                continue
            for task in ray.wait(list(running), num_returns=1, timeout=LOOK_SECONDS)[0]:
                trial, (event, last) = running[task].trial, cluster.next(task)
                if isinstance(event, _Begun):
                    running[task].begin(resources.timeout)
                    event = None
                elif isinstance(event, Kept):
                    event = cluster.receive(trial, event)
                    last = event is not None
                if event is not None and (yield trial, event):
                    last = True
                if last:
                    del running[task]
                    ray.cancel(task, force=True)
            for task in [task for task, each in running.items() if each.overdue]:
                ray.cancel(task, force=True)
                yield running.pop(task).trial, Failure("timed out", f"stopped after {resources.timeout:g} s")
    finally:
        for task in running:
            ray.cancel(task, force=True)


@dataclass(frozen=True)
class _Begun:
    """The first thing that a task says: it waits for a place on a node no more."""


@dataclass
class _Running:
    trial: Trial
    deadline: float | None = None

    def begin(self, timeout: float | None) -> None:
        self.deadline = None if timeout is None else time.monotonic() + timeout

    @property
    def overdue(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


class _Cluster:
    """The nodes there are, and what is asked of them.

    Attributes:
        room: how many trials may run at a time, as far as was last seen.
    """

    def __init__(self, ray: Any, work: Any, resources: Resources) -> None:
        self._ray = ray
        self._work = work
        self._resources = resources
        self._errands: dict[Errand, Any] = {}
        self._done: set[Errand] = set()  # those of them that are known to have come to something
        self._context = ray.get_runtime_context()
        self._seen = self._roomy = time.monotonic()
        self._silent: float | None = None  # since when it does not answer
        nodes = self._nodes()
        self._gpu = resources.use_gpus and any(node.get("GPU") for node in nodes)
        self._environment = {"OMP_NUM_THREADS": str(resources.threads)} | (
            {} if self._gpu else {"CUDA_VISIBLE_DEVICES": ""}
        )
        gpus = 1 / resources.trials_per_gpu if self._gpu else 0
        # A process that has used a GPU keeps some of its memory, and stays on that GPU: each trial there has its own.
        self._task = ray.remote(max_calls=1 if self._gpu else 0)(_trial).options(
            num_cpus=resources.threads,
            num_gpus=gpus,
            num_returns="streaming",
            max_retries=0,
            scheduling_strategy="SPREAD",
        )
        self._errand = ray.remote(_errand).options(
            num_cpus=0,  # it is work of the driver's, done beside it
            max_retries=0,
            scheduling_strategy=ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(
                self._context.get_node_id(), soft=False
            ),
        )
        self.room = self._room(nodes)
        if not self.room:
            largest = max(
                nodes, key=lambda node: (node.get("GPU", 0) if self._gpu else 0, node.get("CPU", 0)), default={}
            )
            has = f"{largest.get('CPU', 0):g} cores and {largest.get('GPU', 0):g} GPUs"
            asked = f"{resources.threads} cores" + (f" and {gpus:.3g} of a GPU" if self._gpu else "")
            raise StudyError(
                f"no node of the Ray cluster could ever take a trial: it asks for {asked}, the largest has {has}"
            )

    def look(self) -> None:
        """See, every so often, whether the head is there, and which nodes are.

        Raises:
            Gone: the head is not, or no node that could take a trial has come back.
        """
        now = time.monotonic()
        if now - self._seen < LOOK_SECONDS:
            return
        self._seen = now
        address = self._context.gcs_address
        again = "with it back the same command goes on"
        if _answers(address):
            self._silent = None
            self.room = self._room(self._nodes())
        elif self._silent is None:  # once may be this machine's own doing, which was busy with other things
            self._silent = now
        elif now - self._silent > HEAD_SECONDS:
            raise Gone(f"the head of the Ray cluster at {address} is gone; {again}")
        if self.room:
            self._roomy = now
        elif now - self._roomy > NODES_SECONDS:
            raise Gone(f"every node of the Ray cluster at {address} that could take a trial is gone; {again}")

    def start(self, trial: Trial) -> Any:
        """Hand a trial to Ray, with all that it needs; what several need is fetched to each node once."""
        if not isinstance(self._work, Travels):
            return self._task.remote(self._work, trial, None, self._environment)
        call, errands = self._work.pack(trial, self._resources.threads, self._gpu, self.room)
        for errand in errands:
            if errand not in self._errands or self._failed(errand):
                self._errands[errand] = self._errand.remote(errand, self._environment)
        return self._task.remote(call, trial, [self._errands[errand] for errand in errands], self._environment)

    def _failed(self, errand: Errand) -> bool:
        """Whether an errand has come to nothing, so that it is done anew for whoever asks next."""
        reference = self._errands[errand]
        if errand in self._done or not self._ray.wait([reference], timeout=0)[0]:
            return False
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return True
        self._done.add(errand)
        return False

    def next(self, task: Any) -> tuple[Any, bool]:
        """The next event of a task that has one ready, None where there is none, and whether it was the last."""
        try:
            return self._ray.get(next(task)), False
        except StopIteration:
            return None, True
        except self._ray.exceptions.RayTaskError as error:
            return failure_of(error.cause), True
        except self._ray.exceptions.OutOfMemoryError:
            return Failure("out of memory", "Ray ended it: its node had no memory left"), True
        except self._ray.exceptions.NodeDiedError:
            return Failure("killed", "its node was lost"), True
        except self._ray.exceptions.RayError as error:
            return Failure("killed", f"its process was ended ({type(error).__name__})"), True

    def receive(self, trial: Trial, kept: Kept) -> Failure | None:
        """Keep a trial's checkpoint here; its end where that cannot be."""
        return self._work.receive(trial, kept) if isinstance(self._work, Travels) else None

    def _nodes(self) -> list[Mapping[str, float]]:
        """What each node has, of those that are there."""
        return [node["Resources"] for node in self._ray.nodes() if node["Alive"]]

    def _room(self, nodes: Sequence[Mapping[str, float]]) -> int:
        room = sum(places(node, self._resources, gpu=self._gpu) for node in nodes)
        return min(room, self._resources.workers)


def places(node: Mapping[str, float], resources: Resources, *, gpu: bool) -> int:
    """How many trials a node has room for; none where each has a share of a ``gpu`` and the node has none."""
    cores = int(node.get("CPU", 0) // resources.threads)
    return min(cores, int(node.get("GPU", 0) * resources.trials_per_gpu)) if gpu else cores


def _joined(address: str | None) -> Any:
    """Ray, joined to the cluster at ``address``, or to one of its own on this machine."""
    address = address or os.environ.get("RAY_ADDRESS")
    for name, value in {**QUIET, **({} if address else LOOPBACK)}.items():
        os.environ.setdefault(name, value)
    import ray
    import ray.util.scheduling_strategies

    ray._private.worker._worker_logs_enabled = False  # what it says of lost workers, in pages, is said in a line here
    if address is None:  # for whoever had read Ray before
        ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if ray.is_initialized():
        joined = ray.get_runtime_context().gcs_address
        if address not in (None, "auto", joined):
            raise StudyError(f"--ray-address {address}: this process has joined the cluster at {joined} already")
    elif address is None:
        ray.init(address="local", include_dashboard=False, _node_ip_address="127.0.0.1", **quiet)
    elif address != "auto" and not _answers(address):
        raise StudyError(f"--ray-address {address}: nothing answers there; it must be auto, or the HOST:PORT of a head")
    else:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            why = str(error).strip().partition("\n")[0]
            raise StudyError(f"--ray-address {address}: no cluster that this machine is a node of: {why}") from None
    return ray


def _answers(address: str) -> bool:
    """Whether somebody listens at ``HOST:PORT``."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=LOOK_SECONDS).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def _trial(
    call: Callable[..., Iterable[Any]], trial: Trial, brought: Sequence[Any] | None, environment: Mapping[str, str]
) -> Iterator[Any]:
    """A task: one trial's events."""
    os.environ.update(environment)
    yield _Begun()
    try:
        yield from call(trial) if brought is None else call(trial, [partial(_brought, each) for each in brought])
    except Exception as error:
        yield failure_of(error)


def _errand(errand: Errand, environment: Mapping[str, str]) -> Any:
    """A task on the driver's own node."""
    os.environ.update({**environment, "CUDA_VISIBLE_DEVICES": ""})
    return errand()


def _brought(reference: Any) -> Any:
    """The result of an errand, here; what it raised is raised here."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise Lost(f"what it was to be brought was lost ({type(error).__name__})") from None
