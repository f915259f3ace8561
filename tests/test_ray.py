"""Trials on a Ray cluster: a head and two nodes, all on this machine and on its loopback address alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import psutil
import pytest
import torch
from filelock import FileLock
from safetensors.torch import load_file

from bench import registry
from bench.executors import Errand, Resources
from bench.optimizers import TrainingOptions
from bench.paths import Paths
from bench.run import away, worker
from bench.run.away import PLACE, Away, Travelling
from bench.run.driver import Driver, Outcome
from bench.run.events import Epoch, Finished, Started
from bench.study.catalogue import Catalogue, catalogue
from bench.study.definition import Failure, Study, StudyError, Trial
from bench.study.file import load
from bench.tracking.store import Store
from bench.training import train
from tests.promises import promises, try_promise
from tests.test_away import BRIGHTNESS

pytestmark = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install -e '.[ray]'")

ROOT = Path(__file__).parent.parent
NODE = {"node_ip_address": "127.0.0.1", "object_store_memory": 80 * 2**20}
EPOCHS = 24
MEETS = '''

def meet(place):
    """Wait until another trial is here too, while there is a place for that: one after another they would wait in vain."""
    import os, time
    from pathlib import Path

    end = time.monotonic() + 60
    if Path(place).is_dir():
        (Path(place) / str(os.getpid())).touch()
    while Path(place).is_dir() and len(os.listdir(place)) < 2 and time.monotonic() < end:
        time.sleep(0.05)
'''


@dataclass
class Made:
    """The cluster, and where its nodes put what is temporary."""

    cluster: Any
    nodes: list[Any]
    place: Path

    def add(self) -> None:
        self.nodes.append(self.cluster.add_node(num_cpus=1, **NODE))

    def kill_process(self) -> None:
        """End a process in which a trial runs."""
        self._trials()[0].kill()

    def lose_node(self) -> None:
        """End a node on which a trial runs, with all of its processes."""
        parents = {each.ppid() for each in self._trials()}
        (lost, *_) = [each for each in self.nodes if each.all_processes["raylet"][0].process.pid in parents]
        self.nodes.remove(lost)
        self.cluster.remove_node(lost, allow_graceful=False)

    def _trials(self) -> list[psutil.Process]:
        return [each for each in psutil.Process().children(recursive=True) if "_trial" in each.name()]


@pytest.fixture(scope="module", autouse=True)
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    """A head that takes no trials, and two nodes with room for one each; this process has joined it.

    There is one at a time, however many processes share the tests of this file: two of them would be slow on two cores, and Ray
    ends a process by itself where it is kept waiting.
    """
    with FileLock(tmp_path_factory.getbasetemp().parent / "ray.lock"):
        yield from _made()


def _made() -> Iterator[Made]:
    from bench.executors.ray import LOOPBACK, QUIET, _joined

    patched = pytest.MonkeyPatch()
    place = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path has 107 letters at most
    patched.setenv("TMPDIR", str(place))
    # Before what is installed there: torch-fidelity brings a package `tests` of its own.
    patched.setenv("PYTHONPATH", str(ROOT))
    patched.setenv("RAY_AUTH_MODE", "disabled")  # which would leave a token in the user's own folder
    # Whatever else fills this machine's memory, Ray ends no process for it.
    for name, value in {**QUIET, **LOOPBACK, "RAY_memory_monitor_refresh_ms": "0"}.items():
        patched.setenv(name, value)
    import ray  # which reads them
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **NODE})
    made = Made(cluster, [], place)
    made.add()
    made.add()
    # Once, on a machine that was busy, Ray's client waited without end for an answer that its head had given.
    joining = threading.Thread(target=_joined, args=(cluster.address,), daemon=True)
    joining.start()
    joining.join(180)
    if not ray.is_initialized():
        cluster.shutdown()  # type: ignore[no-untyped-call]
        pytest.skip("Ray did not come to join its own cluster in three minutes")
    yield made
    ray.shutdown()
    cluster.shutdown()  # type: ignore[no-untyped-call]
    patched.undo()
    shutil.rmtree(place)


class Slowly(Travelling):
    """Trials that take a while, and keep a checkpoint after every epoch."""

    def pack(self, trial: Trial, threads: int, gpu: bool, at_once: int) -> tuple[Away, Sequence[Errand]]:
        call, errands = super().pack(trial, threads, gpu, at_once)
        return Slow(call), errands


@dataclass
class Slow:
    call: Any

    def __call__(self, trial: Trial, bring: Any) -> Iterator[Any]:
        defaults = train.__kwdefaults__
        assert defaults is not None
        defaults["checkpoint_seconds"] = 0.0
        for event in self.call(trial, bring):
            yield event
            if isinstance(event, Epoch) and not event.progress.past:
                time.sleep(0.1)


def slowly() -> None:
    """For a driver of its own."""
    vars(away)["Travelling"] = Slowly


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch, paths: Paths) -> Paths:
    """The small study with one seed, long enough for something to happen in the middle."""
    monkeypatch.setattr(away, "Travelling", Slowly)
    text = (
        paths.study("smoke").read_text().replace("epochs = 2", f"epochs = {EPOCHS}").replace("seeds = 2", "seeds = 1")
    )
    paths.study("smoke").write_text(text)
    return paths


Reaction = Callable[[Trial, Any], None]


def drive(
    study: Study, known: Catalogue, paths: Paths, executor: str = "ray", react: Reaction | None = None
) -> Outcome:
    """Run what is missing of it under one thread for each trial."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with Driver(study, known, paths, f"bench run study {study.name}") as driver:
        for trial, event in driver.run(driver.plan(), executor, Resources(workers=cores)):
            if react:
                react(trial, event)
        return driver.outcome


def results(paths: Paths) -> dict[str, Any]:
    """Of every run: its values with their protocols, its history and its weights."""
    store = Store(paths.store, paths.tracking, "smoke", "", create=False)
    found = {}
    for key, record in store.records().items():
        history = store.client.get_metric_history(record.run_id, "test/loss")
        weights = store.artifact(record.run_id, "model.safetensors").read_bytes()
        found[key] = (record.scores, [(each.step, each.value) for each in history], weights)
    return found


def undisturbed(trial: Trial) -> dict[str, torch.Tensor]:
    """The weights of the same training, without a process, a store or a checkpoint."""
    data = worker.load_data(trial, Path("unused"))
    model = worker.build(trial, data.spec)
    for _ in train(model, data, TrainingOptions.from_settings(trial.settings["training"]), seed=trial.seed):
        pass
    return model.state_dict()


def check_they_ended_as_undisturbed(paths: Paths, known: Catalogue) -> None:
    store = Store(paths.store, None, "smoke", "", create=False)
    records, trials = store.records(), list(load(paths.study("smoke"), known).grid(known, {}))
    assert records.keys() == {trial.key for trial in trials}
    for trial in trials:
        run = records[trial.key].run_id
        ours, theirs = load_file(store.artifact(run, "model.safetensors")), undisturbed(trial)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        assert [each.step for each in store.client.get_metric_history(run, "test/loss")] == list(range(EPOCHS + 1))


@pytest.mark.parametrize(("name", "promise"), [each for each in promises("executors") if each[0] == "ray"])
def test_it_keeps_its_promises(name: str, promise: str) -> None:
    try_promise("executors", name, promise)


def test_a_study_is_spread_over_the_nodes_and_comes_to_what_it_comes_to_here(
    paths: Paths, tmp_path_factory: pytest.TempPathFactory, made: Made
) -> None:
    """To the last digit and byte; then a metric that is added is taken of the saved models, and nothing is trained twice."""
    text = paths.study("smoke").read_text().replace('"reconstruction_mse"]', '"fd_classifier", "brightness"]')
    text = text.replace("seeds = 2", "seeds = 1") + "[evaluation]\nsamples = 100\n"
    (paths.studies.parent / "metrics").mkdir()
    meeting = tmp_path_factory.mktemp("meeting")
    measures = BRIGHTNESS.replace("    return {", f"    meet({str(meeting)!r})\n    return {{") + MEETS
    (paths.studies.parent / "metrics" / "brightness.py").write_text(measures)
    registry.visit(paths.guests)
    here = Paths.find(paths.studies.parent, environment={})
    here = type(paths)(**{**vars(here), "store": tmp_path_factory.mktemp("here")})
    here = type(paths)(**{**vars(here), "queue": f"sqlite:///{here.store}/optuna.db"})
    paths.study("smoke").write_text(text)
    known = catalogue()
    most, running = 0, set[str]()

    def count(trial: Trial, event: Any) -> None:
        nonlocal most
        if isinstance(event, Started):
            running.add(trial.key)
        elif isinstance(event, Finished):
            running.remove(trial.key)
        most = max(most, len(running))

    outcome = drive(load(paths.study("smoke"), known), known, paths, react=count)
    assert (len(outcome.finished), outcome.failed, outcome.notes) == (2, [], [])
    assert most == 2  # of nodes that take one each
    shutil.rmtree(meeting)
    drive(load(paths.study("smoke"), known), known, here, "local")
    ours = results(paths)
    assert len(ours) == 2
    assert all(score.value is not None for scores, _, _ in ours.values() for score in scores.values())
    assert ours == results(here)
    assert list((paths.store / "checkpoints").iterdir()) == []
    paths.study("smoke").write_text(text.replace('"fd_classifier"', '"fd_classifier", "psnr"'))
    kinds = []
    drive(load(paths.study("smoke"), known), known, paths, react=lambda _, event: kinds.append(type(event)))
    assert kinds == [Finished] * 2
    assert all(scores["psnr"].value is not None for scores, _, _ in results(paths).values())
    assert [left for left in made.place.glob(f"{PLACE}-*/*") if left.suffix != ".lock"] == []


def test_what_is_lost_goes_on_elsewhere_from_its_last_checkpoint(slow: Paths, known: Catalogue, made: Made) -> None:
    """A process when both trials are well on their way, then a node when the trial of that process is on its way again."""
    reached, past = dict[str, int](), dict[str, set[int]]()
    lost: list[str] = []

    def lose(trial: Trial, event: Any) -> None:
        if not isinstance(event, Epoch):
            return
        if event.progress.past:
            past.setdefault(trial.key, set()).add(event.progress.epoch)
            reached.pop(trial.key, None)
            return
        reached[trial.key] = reached.get(trial.key, 0) + 1
        if not lost and len(reached) == 2 and min(reached.values()) >= 6:
            lost.append("process")
            made.kill_process()
        elif lost == ["process"] and past and max(reached.get(key, 0) for key in past) >= 3:
            lost.append("node")
            made.lose_node()

    try:
        outcome = drive(load(slow.study("smoke"), known), known, slow, react=lose)
    finally:
        if "node" in lost:
            made.add()
    assert (len(outcome.finished), outcome.failed, lost) == (2, [], ["process", "node"])
    process, node = outcome.notes
    assert process.endswith(": killed: its process was ended (WorkerCrashedError); tried again")
    assert node.endswith(": killed: its node was lost; tried again")
    for epochs in past.values():  # told again from the first on, and no further than they had come
        assert epochs == set(range(max(epochs) + 1))
        assert 4 <= max(epochs) < EPOCHS
    assert sum(Store(slow.store, None, "smoke", "", create=False).table()["attempt"]) == 4
    check_they_ended_as_undisturbed(slow, known)


DRIVER = """
from tests.test_ray import slowly
from bench.cli import main
slowly()
main(["run", "study", "smoke", "--executor", "ray", "--ray-address", "{address}"])
"""


def test_a_driver_that_is_killed_and_a_head_that_is_gone_leave_what_the_same_command_goes_on_with(
    slow: Paths, known: Catalogue, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First the one, then the other, of which a line says so; the third command comes to the end."""
    from bench.executors import ray as executor

    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    said = tmp_path / "said.txt"
    with said.open("w") as output:
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER.format(address=made.cluster.address)],
            cwd=slow.studies.parent,
            env=environment,
            stdout=output,
            stderr=output,
        )
    with driver:
        while not any((slow.store / "checkpoints").glob("*/state-[6-9].pt")):
            assert driver.poll() is None, f"exit status {driver.poll()}: {said.read_text()}"
            time.sleep(0.05)
        driver.kill()
    past = set[int]()

    def lose(trial: Trial, event: Any) -> None:
        if isinstance(event, Epoch) and event.progress.past:
            past.add(event.progress.epoch)
        if isinstance(event, Epoch) and not event.progress.past and max(past, default=0) >= 5:
            monkeypatch.setattr(executor, "HEAD_SECONDS", -1.0)
            monkeypatch.setattr(executor, "LOOK_SECONDS", 0.0)
            monkeypatch.setattr(executor, "_answers", lambda address: False)

    outcome = drive(load(slow.study("smoke"), known), known, slow, react=lose)
    where = made.cluster.address
    assert outcome.broken == f"the head of the Ray cluster at {where} is gone; with it back the same command goes on"
    assert outcome.failed == []
    monkeypatch.undo()
    outcome = drive(load(slow.study("smoke"), known), known, slow)
    assert (outcome.broken, outcome.failed) == ("", [])
    check_they_ended_as_undisturbed(slow, known)


def test_one_look_without_an_answer_is_no_head_that_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the last answer is ago: the driver may have been busy."""
    from bench.executors import ray as executor

    answers = iter([False, True, False])
    monkeypatch.setattr(executor, "_answers", lambda address: next(answers))
    monkeypatch.setattr(executor, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(executor, "HEAD_SECONDS", 0.0)
    cluster = executor._Cluster(executor._joined(None), None, Resources(workers=2))
    for _ in range(3):
        cluster.look()
    assert cluster.room == 2


@dataclass(frozen=True)
class Fetched:
    """An errand that comes to nothing the first time: by an error, or with the end of its process."""

    place: Path
    dies: bool

    def __call__(self) -> str:
        if not self.place.exists():
            self.place.touch()
            if self.dies:
                os._exit(1)
            raise OSError("no route to host")
        return "fetched"


@dataclass(frozen=True)
class Fetches:
    """Work that tells what it is brought."""

    errand: Fetched

    def pack(self, trial: Trial, threads: int, gpu: bool, at_once: int) -> tuple[Any, Sequence[Errand]]:
        return tells, [self.errand]

    def receive(self, trial: Trial, kept: Any) -> None:
        raise AssertionError


def tells(trial: Trial, bring: Sequence[Callable[[], Any]]) -> Iterator[Any]:
    yield bring[0](), os.getpid()


@pytest.mark.parametrize(
    ("dies", "first"),
    [
        (False, Failure("error", "OSError: no route to host", ANY)),
        (True, Failure("killed", "what it was to be brought was lost (WorkerCrashedError)")),
    ],
)
def test_what_could_not_be_fetched_is_fetched_anew_for_the_next_trial(
    dies: bool, first: Failure, tmp_path: Path
) -> None:
    from bench.executors.ray import run

    trials = [Trial("v", "vae", "digits", seed, {}) for seed in (0, 1, 2)]
    work: Any = Fetches(Fetched(tmp_path / "tried", dies))
    events = [event for _, event in run(iter(trials), work, Resources(workers=1))]
    assert (events[0].kind, events[0].reason) == (first.kind, first.reason)
    assert [event[0] for event in events[1:]] == ["fetched", "fetched"]


def test_a_trial_on_a_gpu_has_a_process_of_its_own(made: Made, tmp_path: Path) -> None:
    """What one left on the GPU would be the next one's, which would stay on the first one's GPU too."""
    from bench.executors.ray import run

    (tmp_path / "tried").touch()
    work: Any = Fetches(Fetched(tmp_path / "tried", dies=False))
    processes = {}
    node = made.cluster.add_node(num_cpus=1, num_gpus=1, **NODE)
    try:
        for use_gpus in (False, True):
            trials = [Trial("v", "vae", "digits", seed, {}) for seed in range(3)]
            resources = Resources(workers=1, use_gpus=use_gpus)
            processes[use_gpus] = {event[1] for _, event in run(iter(trials), work, resources)}
    finally:
        made.cluster.remove_node(node, allow_graceful=True)
    assert len(processes[True]) == 3


def test_what_no_node_could_ever_take_is_said_at_once(known: Catalogue, paths: Paths) -> None:
    study = load(paths.study("smoke"), known)
    with Driver(study, known, paths, "test") as driver:
        events = driver.run(driver.plan(), "ray", Resources(threads=64))
        why = "no node of the Ray cluster could ever take a trial: it asks for 64 cores, the largest has 1 cores and 0 GPUs"
        with pytest.raises(StudyError, match=why):
            next(events)


@pytest.mark.parametrize(
    ("node", "gpu", "room"),
    [
        ({"CPU": 7.0}, False, 3),
        ({"CPU": 7.0}, True, 0),
        ({"CPU": 64.0, "GPU": 2.0}, True, 8),
        ({"CPU": 5.0, "GPU": 2.0}, True, 2),
        ({"GPU": 2.0}, True, 0),
    ],
)
def test_a_node_has_room_for_what_its_cores_and_its_gpus_have_room_for(
    node: dict[str, float], gpu: bool, room: int
) -> None:
    """Two threads for each trial, and a fourth of a GPU."""
    from bench.executors.ray import places

    assert places(node, Resources(threads=2, trials_per_gpu=4), gpu=gpu) == room


def test_a_cluster_that_is_not_there_is_said_at_once() -> None:
    from bench.executors.ray import _joined

    with pytest.raises(StudyError, match=r"--ray-address 127\.0\.0\.1:1: this process has joined the cluster at"):
        _joined("127.0.0.1:1")
