"""A run that is written whatever happens between two writes: everything once, whole, and status and state agreed."""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from PIL import Image

from bench.files import write_whole
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Trial
from bench.study.file import build
from bench.tracking import run_log
from bench.tracking.client import run_of
from bench.tracking.rows import state
from bench.tracking.run_log import RunLog, write_scores
from bench.tracking.store import Store
from bench.tracking.views import write_views
from bench.tracking.words import NOTE

PNG = io.BytesIO()
Image.fromarray(np.arange(300 * 280 * 3, dtype=np.uint32).reshape(300, 280, 3).astype(np.uint8)).save(PNG, format="PNG")
SCORES = {"test_loss": Score(7.5, "", {"split": "test"}), "fid": Score(None, "no weights")}
APPLIED_TO = {"pegasus": "", "classify": "VAE does not classify"}
FILES = {"trial.toml": b"x = 1\n", "model.safetensors": b"weights", "final/samples.png": PNG.getvalue()}
COMMAND = {"mlflow.source.name": "bench run study x"}
WRITES = ("create_run", "log_batch", "log_inputs", "update_run", "delete_tag", "set_terminated", "set_tag")


class Killed(BaseException):
    """What no handler catches."""


class Lost(MlflowException):
    """A write whose answer is lost."""

    def __init__(self) -> None:
        super().__init__("no answer")


@pytest.fixture
def trial(known: Catalogue) -> Trial:
    tables = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
    return next(build(tables, Path("x.toml"), known).grid(known, {}))


@pytest.fixture
def make(tmp_path: Path, empty_database: Path) -> Callable[[str], Store]:
    def store(name: str) -> Store:
        (tmp_path / name).mkdir()
        shutil.copy(empty_database, tmp_path / name / "mlflow.db")
        return Store(tmp_path / name, None, "x", "?", create=True)

    return store


def write(store: Store, trial: Trial, moment: int = 1, *, gathered: bool = True) -> RunLog:
    """All that is written of a trial of three epochs, by whoever goes on with what there is; in one go, or epoch by epoch."""
    record = store.records().get(trial.key)
    log = RunLog(store, trial, COMMAND, record.run_id if record else "")
    log.start(1)
    log.facts({"device": "CPU"}, {"parameters": 3}, {"sha256": "f" * 64})
    for epoch in range(3):
        pictures = {"samples": PNG.getvalue(), "reconstructions": PNG.getvalue()} if epoch != 1 else {}
        log.epoch(epoch, {"test/loss": 9.0 - epoch, "time/epoch_s": 0.5}, pictures, moment)
        if not gathered:
            log.flush()
    log.finish(SCORES, FILES, APPLIED_TO, moment)
    return log


@dataclass
class Facts:
    """What stands there of a run, less what tells one from another."""

    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    inputs: int
    files: dict[str, bytes]


def facts(store: Store) -> list[Facts]:
    found = []
    for run in store.client.search_runs([str(store.experiment_id)]):
        folder = store.artifacts(run.info.run_id)
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        found.append(
            Facts(
                run.info.status,
                run.data.tags,
                run.data.params,
                {
                    name: [(m.step, m.value) for m in store.client.get_metric_history(run.info.run_id, name)]
                    for name in run.data.metrics
                },
                len(run.inputs.dataset_inputs) if run.inputs else 0,
                {re.sub(r"timestamp\+\d+\+[0-9a-f-]{36}", "", name): content for name, content in files.items()},
            )
        )
        assert len(found[-1].files) == len(files)
    return found


@pytest.fixture
def disturbed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Have the write of a number end so, before or after it is done; returns how many there were."""

    def disturb(act: Callable[[], Any], number: int, error: type[BaseException], *, done: bool) -> int:
        count = 0

        def counted(real: Callable[..., Any]) -> Callable[..., Any]:
            def call(*args: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == number and not done:
                    raise error
                answer = real(*args, **options)
                if count == number:
                    raise error
                return answer

            return call

        with monkeypatch.context() as patch:
            for name in WRITES:
                patch.setattr(MlflowClient, name, counted(getattr(MlflowClient, name)))
            patch.setattr("bench.tracking.run_files.write_whole", counted(write_whole))
            try:
                act()
            except error:
                pass
            else:
                assert not 0 < number <= count, "nothing was disturbed"
        return count

    return disturb


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, empty_database: Path, known: Catalogue) -> Facts:
    tables = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copy(empty_database, folder / "mlflow.db")
    store = Store(folder, None, "x", "?", create=True)
    write(store, next(build(tables, Path("x.toml"), known).grid(known, {})))
    (found,) = facts(store)
    return found


def test_an_undisturbed_run_holds_everything_once(undisturbed: Facts) -> None:
    assert (undisturbed.status, undisturbed.tags["state"]) == ("FINISHED", "finished")
    assert undisturbed.metrics == {
        "test/loss": [(0, 9.0), (1, 8.0), (2, 7.0)],
        "time/epoch_s": [(0, 0.5), (1, 0.5), (2, 0.5)],
        "final/test_loss": [(0, 7.5)],
    }
    pictures = [name for name in undisturbed.files if name.startswith("images/")]
    assert len(pictures) == 2 * 2 * 2  # epochs, kinds, with a thumbnail each
    assert {name: undisturbed.files[name] for name in FILES} == FILES
    for name in pictures:
        size = Image.open(io.BytesIO(undisturbed.files[name])).size
        assert size == ((280, 300) if name.endswith(".png") else (239, 256))


@pytest.mark.parametrize("gathered", [True, False])
@pytest.mark.parametrize("number", range(1, 26))
def test_a_kill_at_any_write_leaves_a_run_that_the_next_driver_completes(
    number: int,
    gathered: bool,
    make: Callable[[str], Store],
    trial: Trial,
    disturbed: Callable[..., int],
    undisturbed: Facts,
) -> None:
    store = make("killed")
    disturbed(lambda: write(store, trial, gathered=gathered), number, Killed, done=number % 2 == 0)
    store.close_orphans()
    for run in store.client.search_runs([str(store.experiment_id)]):
        assert run.info.status != "RUNNING"
        assert (state(run_of(run)) == "finished") == (run.info.status == "FINISHED")
    write(store, trial, moment=2)
    assert facts(store) == [undisturbed]


@pytest.mark.parametrize("gathered", [True, False])
@pytest.mark.parametrize("number", range(1, 26))
def test_a_write_whose_answer_is_lost_is_made_again_and_stands_there_once(
    number: int,
    gathered: bool,
    make: Callable[[str], Store],
    trial: Trial,
    disturbed: Callable[..., int],
    undisturbed: Facts,
) -> None:
    """As the writer does: what failed is done again, and then what follows."""
    store = make("lost")
    log = RunLog(store, trial, COMMAND)
    steps: list[Callable[[], None]] = [
        lambda: log.start(1),
        lambda: log.facts({"device": "CPU"}, {"parameters": 3}, {"sha256": "f" * 64}),
    ]
    for epoch in range(3):
        pictures = {"samples": PNG.getvalue(), "reconstructions": PNG.getvalue()} if epoch != 1 else {}
        measures = {"test/loss": 9.0 - epoch, "time/epoch_s": 0.5}
        steps.append(lambda e=epoch, m=measures, p=pictures: log.epoch(e, m, p, 1))  # type: ignore[misc]
        steps += [] if gathered else [log.flush]
    steps.append(lambda: log.finish(SCORES, FILES, APPLIED_TO, 1))
    for step in steps:
        count = disturbed(step, number, Lost, done=True)
        if 0 < number <= count:
            step()
        number -= count
    assert facts(store) == [undisturbed]


def test_what_is_gathered_is_written_in_one_go_and_by_whole_epochs(
    make: Callable[[str], Store], trial: Trial, disturbed: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a trial of fifty epochs: its run, its data, its end with all that was told of it, and MLflow's status."""
    store = make("gathered")
    log = RunLog(store, trial, COMMAND)

    def tell() -> None:
        log.start(1)
        log.facts({"device": "CPU"}, {"parameters": 3}, {"sha256": "f" * 64})
        for epoch in range(51):
            log.epoch(epoch, {f"m{number}": 1.0 for number in range(10)} | {"time/epoch_s": 0.5}, {}, 1)
        log.finish(SCORES, {}, {}, 1)

    assert disturbed(tell, 0, Killed, done=True) == 5  # one of them the file of what its values rest on
    batches: list[list[int]] = []
    real = MlflowClient.log_batch

    def watched(client: MlflowClient, run_id: str, metrics: Any = (), *more: Any, **options: Any) -> None:
        batches.append(sorted({metric.step for metric in metrics}))
        real(client, run_id, metrics, *more, **options)

    monkeypatch.setattr(MlflowClient, "log_batch", watched)
    monkeypatch.setattr(run_log, "METRICS", 25)
    log = RunLog(store, trial, COMMAND)
    log.start(1)
    for epoch in range(5):
        log.epoch(epoch, {f"m{number}": 1.0 for number in range(10)}, {}, 1)
    log.flush()
    assert batches == [[0, 1], [2, 3], [4]]
    log.flush()
    assert batches[3:] == [[]]  # which MLflow does not even look at


def test_the_end_of_a_run_is_what_it_said_last_whatever_mlflow_was_told(
    make: Callable[[str], Store], trial: Trial, disturbed: Callable[..., int]
) -> None:
    """Killed after the state and before the status."""
    ends: dict[str, Callable[[RunLog], None]] = {
        "failed": lambda log: log.fail(Failure("diverged", "nan", "Traceback")),
        "pruned": lambda log: log.end("pruned", {"reason": "behind"}),
        "interrupted": lambda log: log.end("interrupted"),
        "finished": lambda log: log.finish(SCORES, FILES, APPLIED_TO, 1),
    }
    statuses = {"failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED", "finished": "FINISHED"}
    for name, end in ends.items():
        store = make(name)
        log = RunLog(store, trial, COMMAND)
        log.start(1)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MlflowClient, "set_terminated", lambda *_: (_ for _ in ()).throw(Killed()))
            with pytest.raises(Killed):
                end(log)
        assert store.open_runs() == [log.run_id]
        store.close_orphans()
        assert store.open_runs() == []
        (run,) = store.client.search_runs([str(store.experiment_id)])
        assert (run.info.status, state(run_of(run))) == (statuses[name], name)


def test_what_a_failed_attempt_left_is_gone_once_the_run_is_finished(
    make: Callable[[str], Store], trial: Trial, undisturbed: Facts
) -> None:
    store = make("failed")
    log = RunLog(store, trial, COMMAND)
    log.start(1)
    log.fail(Failure("killed", "by hand", "Traceback"))
    write(store, trial)
    assert facts(store) == [undisturbed]


def test_a_damaged_picture_is_written_again(make: Callable[[str], Store], trial: Trial, undisturbed: Facts) -> None:
    store = make("damaged")
    log = RunLog(store, trial, COMMAND)
    log.start(1)
    log.epoch(0, {"test/loss": 9.0, "time/epoch_s": 0.5}, {"samples": PNG.getvalue()}, 1)
    for file in store.artifacts(log.run_id).rglob("*.*"):
        file.write_bytes(file.read_bytes()[:50])
    store.close_orphans()
    write(store, trial)
    assert facts(store) == [undisturbed]


def test_a_trial_whose_data_lie_elsewhere_by_now_goes_on_in_its_run(make: Callable[[str], Store], trial: Trial) -> None:
    """A path is no part of its key; MLflow changes no param, and refuses another value."""
    store = make("moved")
    for place in ("/a/x.npz", "/b/x.npz"):
        moved = Trial.from_dict({**trial.as_dict(), "dataset": place, "fingerprint": "same"})
        record = store.records().get(moved.key)
        log = RunLog(store, moved, COMMAND, record.run_id if record else "")
        log.start(1)
        log.facts({}, {}, {"sha256": "f" * 64})
        log.end("interrupted")
    (run,) = store.client.search_runs([str(store.experiment_id)])
    assert run.data.params["dataset"] == "/a/x.npz"
    assert run.data.tags["dataset"] == "/b/x.npz"


def test_a_run_that_refers_to_another_shows_what_that_one_has(make: Callable[[str], Store], trial: Trial) -> None:
    """MLflow knows nothing of references: its charts lacked the variant. Whoever reads runs here still reads the other alone."""
    there = make("shared")
    log = write(there, trial)
    here = Store(there.folder, None, "y", "?", create=True)
    own = replace(trial, variant="wide", varied={"latent_dim": 2})
    (record,) = there.records().values()
    for _ in range(2):  # the second time as one whose answer was lost
        RunLog(here, own, COMMAND).refer(record)
    (run,) = facts(here)
    other = facts(there)[0]
    assert run.metrics == other.metrics
    assert run.params == {**other.params, "latent_dim": "2"}
    drawn = [name for name in other.files if name.startswith("images/")]
    assert run.files == {name: other.files[name] for name in drawn}
    assert run.tags["mlflow.loggedImages"] == "true"
    (entity,) = here.client.search_runs([str(here.experiment_id)])
    assert entity.info.run_name == "wide, seed 0, digits"
    first, *_, last = run.tags["mlflow.note.content"].split("\n\n")
    assert first.startswith("vae in the study y: trained on digits")
    assert last == f"Trained in the study x, in its run {log.run_id}. What stands here is a copy."
    files = [store.artifacts(run_id) / "images" for store, run_id in ((there, log.run_id), (here, entity.info.run_id))]
    assert len({(each / next(each.glob("*.png")).name).stat().st_ino for each in files}) == 1  # it takes no room
    (seen,) = here.records().values()
    assert (seen.run_id, seen.study) == (log.run_id, "x")
    assert len(here.table()) == 1
    assert set(here.curves([seen.run_id])["run_id"]) == {log.run_id}


def test_a_run_that_refers_to_another_follows_what_is_measured_of_it_later(
    make: Callable[[str], Store], trial: Trial
) -> None:
    """And gets what an earlier version did not write of it."""
    there = make("later")
    write(there, trial)
    here = Store(there.folder, None, "y", "?", create=True)
    (record,) = there.records().values()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_log, "show", lambda *_: None)
        RunLog(here, trial, COMMAND).refer(record)
    (bare,) = here.client.search_runs([str(here.experiment_id)])
    here.client.set_tag(bare.info.run_id, NOTE, f"Trained in the study y, in its run {record.run_id}.")
    assert not bare.data.metrics
    write_views(here, [], lambda trial: {})
    assert facts(here)[0].metrics == facts(there)[0].metrics
    assert "Trained in the study x, in its run" in facts(here)[0].tags[NOTE]
    here.client.set_tag(bare.info.run_id, NOTE, "my own")
    write_scores(there, there.chosen()[0], {"fid": Score(3.0), "test_loss": Score(7.25)})
    write_views(here, [], lambda trial: {})
    now = here.client.get_run(bare.info.run_id).data
    assert (now.metrics["final/fid"], now.metrics["final/test_loss"], now.tags[NOTE]) == (3.0, 7.25, "my own")
    there.client.delete_run(record.run_id)
    here.close_orphans()
    assert facts(here) == []
    assert not list((here.folder / "artifacts" / "y").iterdir())
