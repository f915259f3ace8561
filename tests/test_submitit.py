"""Trials as jobs: submitit's own processes on this machine stand for SLURM's."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.executors import Resources
from bench.paths import Paths
from bench.run.driver import Driver
from bench.run.worker import Epoch, Finished, Started
from bench.study.catalogue import Catalogue
from bench.study.definition import SECTIONS, Failure, StudyError, Trial
from bench.study.file import load
from bench.tracking.store import Store

pytestmark = pytest.mark.skipif(
    find_spec("submitit") is None, reason="submitit is not installed: pip install -e '.[slurm]'"
)

EMPTY: dict[str, Any] = {section: {} for section in SECTIONS}
DIES, SLEEPS, FAILS = 1, 6, 2


def trial(seed: int) -> Trial:
    return Trial("v", "vae", "digits", seed, EMPTY)


def work(each: Trial) -> Iterator[Any]:
    """What a trial does is in its seed."""
    yield os.getpid(), os.environ["OMP_NUM_THREADS"]
    match each.seed:
        case 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case 2:
            raise ValueError("no good\nat all")
        case 6:
            time.sleep(60)
    yield "done"


def collect(seeds: list[int], resources: Resources, stop: int | None = None) -> dict[int, list[Any]]:
    """Events by seed; the trial of seed ``stop`` is told to stop."""
    from bench.executors.submitit import run

    found: dict[int, list[Any]] = {}
    generator = run(iter([trial(seed) for seed in seeds]), work, resources)
    verdict: bool | None = None
    while True:
        try:
            each, event = generator.send(verdict)
        except StopIteration:
            return found
        found.setdefault(each.seed, []).append(event)
        verdict = each.seed == stop


def test_a_pack_is_one_job_and_a_death_in_it_is_one_trials(tmp_path: Path) -> None:
    """Those before it are done, those after it go into another job."""
    found = collect([0, FAILS, DIES, 3, 4], Resources(trials_per_job=5, threads=3, jobs=tmp_path / "jobs"))
    assert [found[seed][1] for seed in (0, 3, 4)] == ["done"] * 3
    failed = found[FAILS][1]
    assert (failed.kind, failed.reason) == ("error", "ValueError: no good")
    died = found[DIES][1]
    assert isinstance(died, Failure)
    assert died.kind == "killed"
    assert died.reason.startswith("its job ")
    processes = {seed: events[0][0] for seed, events in found.items()}
    assert processes[0] == processes[FAILS] == processes[DIES] != processes[3] == processes[4]
    assert {events[0][1] for events in found.values()} == {"3"}
    assert list((tmp_path / "jobs").iterdir()) == []


def test_one_that_is_stopped_leaves_its_pack_to_the_others() -> None:
    """It is stopped after its next event; one that says nothing for too long is, with its job."""
    found = collect([0, 3], Resources(trials_per_job=2), stop=0)
    assert [len(found[0]), found[3][1]] == [1, "done"]
    assert found[0][0][0] == found[3][0][0]
    found = collect([SLEEPS, 3], Resources(trials_per_job=2, timeout=2.0))
    assert found[SLEEPS][1] == Failure("timed out", "stopped after 2 s")
    assert found[3][1] == "done"
    assert found[SLEEPS][0][0] != found[3][0][0]


def test_a_job_that_dies_without_a_word_is_the_first_trials_and_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from bench.executors import submitit

    monkeypatch.setattr(submitit, "_pack", dies)
    found = collect([0, 3], Resources(trials_per_job=2))
    assert {seed: [event.kind for event in events] for seed, events in found.items()} == {0: ["killed"], 3: ["killed"]}
    assert found[0][0].reason.endswith("without a word: do the nodes share the folder that mlruns lies in?")


def dies(*_: Any) -> None:
    """A job on a node that does not see the driver's folder, as far as the driver can tell."""
    os._exit(1)


def test_where_jobs_meet_their_driver_is_its_owners_alone(tmp_path: Path) -> None:
    from bench.executors.submitit import _folder

    with _folder(tmp_path) as folder:
        assert folder.stat().st_mode & 0o777 == 0o700
    assert not folder.exists()


def test_a_job_can_be_ended_where_its_driver_was_begun_in_the_background() -> None:
    """A shell's background job ignores SIGINT, by which submitit cancels, and so does what it begins."""
    from bench.executors.submitit import _interruptible

    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _interruptible():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_a_queueing_system_does_not_take_is_said_in_a_line() -> None:
    with pytest.raises(StudyError, match="--slurm: Unknown argument 'colour' for executor 'slurm'"):
        collect([0], Resources(slurm={"colour": "red"}))
    with pytest.raises(StudyError, match='--slurm: Parameter "gpus_per_node" expected type'):
        collect([0], Resources(slurm={"gpus_per_node": "many"}))
    with pytest.raises(StudyError, match="--slurm: AutoExecutor doesn't know any executor named nowhere"):
        collect([0], Resources(slurm={"cluster": "nowhere"}))


def test_the_leavings_of_a_driver_that_was_killed_are_swept(tmp_path: Path) -> None:
    """Its jobs end at their next event, since nobody reads it."""
    from bench.executors.submitit import _pack

    left = tmp_path / "jobs" / "run-x" / "job-y"
    left.mkdir(parents=True)
    (left / "id").write_text("0")
    assert collect([0], Resources(jobs=tmp_path / "jobs"))[0][1] == "done"
    assert list((tmp_path / "jobs").iterdir()) == []
    with pytest.raises(SystemExit, match="its driver is gone"):
        _pack(left, [trial(0)], work, {})


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # submitit's own logs, where jobs run in the driver
@pytest.mark.parametrize("cluster", ["local", "debug"])
def test_a_study_as_jobs_comes_to_what_it_comes_to_without(
    paths: Paths, known: Catalogue, tmp_path_factory: pytest.TempPathFactory, cluster: str
) -> None:
    study = load(paths.study("smoke"), known)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    slurm = {"cluster": cluster, "partition": "gpu", "mem_gb": 2}  # of which processes here take no notice
    jobs = Resources(workers=2, trials_per_job=2, slurm=slurm, jobs=paths.store / "jobs")
    here = replace(paths, store=tmp_path_factory.mktemp("here"))
    here = replace(here, queue=f"sqlite:///{here.store}/optuna.db")
    tables = []
    for place, executor, resources in ((paths, "submitit", jobs), (here, "local", Resources(workers=cores))):
        with Driver(study, known, place, "bench run study smoke") as driver:
            events = [type(event) for _, event in driver.run(driver.plan(), executor, resources)]
            assert (events.count(Started), events.count(Epoch), events.count(Finished)) == (4, 12, 4)
            assert len(driver.outcome.finished) == 4
        table = Store(place.store, None, "smoke", "", create=False).table().set_index("key").sort_index()
        tables.append(table[[name for name in table if str(name).startswith(("metric.", "protocol.", "reason."))]])
    assert tables[0].equals(tables[1])
    assert list((paths.store / "jobs").iterdir()) == []
