"""Trials as jobs: submitit's own processes on this machine stand for SLURM's."""

from __future__ import annotations

import os
import pickle
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bench.executors import Resources
from bench.executors._job import ENDED
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
DIES, SLEEPS, FAILS, WARNED = 1, 6, 2, 7


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
        case 7:
            try:
                os.kill(os.getpid(), signal.SIGUSR2)  # as SLURM does, 90 s before a job's time is up
                time.sleep(60)
            except Exception as error:
                yield error  # a trial would take it for an error of its own
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


def test_a_job_that_is_to_be_ended_leaves_its_trial_to_be_tried_again_and_the_others_to_another_job() -> None:
    found = collect([0, WARNED, 3], Resources(trials_per_job=3))
    assert [found[seed][1] for seed in (0, 3)] == ["done"] * 2
    assert found[WARNED][1] == ENDED
    assert ENDED.retriable
    assert [len(events) for events in found.values()] == [2, 2, 2]
    assert found[0][0][0] == found[WARNED][0][0] != found[3][0][0]


def test_a_warning_waits_for_the_event_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from bench.executors import _job

    def warned(path: Path, content: bytes) -> None:
        if path.name == _job.event_file(1):
            os.kill(os.getpid(), signal.SIGUSR2)
        path.write_bytes(content)

    monkeypatch.setattr(_job, "write_whole", warned)
    before = signal.getsignal(signal.SIGUSR2)
    _job.run_pack(tmp_path, [trial(0), trial(3)], work, {})
    assert signal.getsignal(signal.SIGUSR2) == before
    events = [pickle.loads(file.read_bytes()) for file in sorted(tmp_path.glob("*.event"))]
    assert events[0] == (0, _job.Word.BEGUN)
    assert events[1][1][0] == os.getpid()
    assert [event for _, event in events[2:]] == [ENDED, _job.Word.DONE, _job.Word.LEAVES]


def test_a_job_that_is_begun_a_second_time_ends_at_once(tmp_path: Path) -> None:
    """Its driver has read what it said before, and has other plans for its trials."""
    from bench.executors._job import run_pack

    run_pack(tmp_path, [trial(0)], work, {})
    said = sorted(tmp_path.iterdir())
    with pytest.raises(SystemExit, match="this job has been begun before"):
        run_pack(tmp_path, [trial(0)], work, {})
    assert sorted(tmp_path.iterdir()) == said


def test_slurm_is_asked_to_begin_no_job_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the user has SLURM told beside that stands."""
    from bench.executors.submitit import _Submitter

    monkeypatch.setattr("shutil.which", lambda name, *_: f"/usr/bin/{name}")
    asked = {"cluster": "slurm", "additional_parameters": {"reservation": "ours"}}
    executor: Any = _Submitter(tmp_path, work, Resources(slurm=asked))._executor._executor
    script = executor._make_submission_file_text("true", "1")
    assert "#SBATCH --no-requeue\n" in script
    assert "#SBATCH --reservation=ours\n" in script
    assert "#SBATCH --signal=USR2@90\n" in script


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

    monkeypatch.setattr(submitit, "run_pack", dies)
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
    from bench.executors._job import run_pack

    left = tmp_path / "jobs" / "run-x" / "job-y"
    left.mkdir(parents=True)
    (left / "id").write_text("0")
    assert collect([0], Resources(jobs=tmp_path / "jobs"))[0][1] == "done"
    assert list((tmp_path / "jobs").iterdir()) == []
    with pytest.raises(SystemExit, match="its driver is gone"):
        run_pack(left, [trial(0)], work, {})


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
