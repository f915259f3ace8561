"""What is remembered, read back from a store of its own."""

from __future__ import annotations

import io
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from PIL import Image

import bench.tracking.writer as writing
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Trial
from bench.study.file import build
from bench.tracking.errors import StoreError
from bench.tracking.lookup import finished_run
from bench.tracking.repair import damaged, orphans
from bench.tracking.run_log import RunLog
from bench.tracking.store import Store
from bench.tracking.writer import Writer

PROTOCOL = {"split": "test", "images": "9"}
SCORES = {"test_loss": Score(7.5, "", PROTOCOL), "fid": Score(None, "no weights")}
PNG = io.BytesIO()
Image.fromarray(np.zeros((300, 300, 3), np.uint8)).save(PNG, format="PNG")


@pytest.fixture
def trials(known: Catalogue) -> list[Trial]:
    tables = {
        "question": "?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss", "fid"],
        "vary": {"latent_dim": [2, 10]},
    }
    return list(build(tables, Path("x.toml"), known).grid(known, {}))


@pytest.fixture
def store(tmp_path: Path, empty_database: Path) -> Store:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_database, tmp_path / "mlruns" / "mlflow.db")
    return Store(tmp_path / "mlruns", None, "x", "Does it?", create=True)


@pytest.fixture
def writer(store: Store) -> Iterator[Writer]:
    writer = Writer(store, {"mlflow.source.name": "bench run study x", "mlflow.source.git.commit": "abc"})
    yield writer
    writer.close(30)


def follow(writer: Writer, trial: Trial, epochs: range) -> None:
    for epoch in epochs:
        measures = {
            "train/loss": 9.0 - epoch,
            "train_eval/loss": 8.0 - epoch,
            "test/loss": 10.0 - epoch,
            "time/epoch_s": 0.5,
            "memory/peak_mb": 7.0,
            "energy/gpu_wh": 0.5 * epoch,
        }
        writer.epoch(trial, epoch, measures, {"samples": PNG.getvalue()} if epoch in (0, 2) else {})


def finish(writer: Writer, trial: Trial, then: Callable[[], None] = lambda: None) -> None:
    writer.finish(trial, SCORES, {"trial.toml": b"x = 1\n", "final/samples.png": PNG.getvalue()}, {}, then)


def run_all(writer: Writer, trial: Trial) -> None:
    writer.start(trial, None, 1)
    chosen = {"latent_dim": trial.varied["latent_dim"], "parameters": 123}
    writer.facts(trial, {"device": "CPU", "versions": "{}"}, chosen, {"sha256": "f" * 64})
    follow(writer, trial, range(3))
    finish(writer, trial)
    assert writer.flush(30)


def test_a_run_is_read_back_as_it_was_written(store: Store, writer: Writer, trials: list[Trial]) -> None:
    run_all(writer, trials[0])
    record = store.records()[trials[0].key]
    assert record.state == "finished"
    assert record.scores == SCORES
    row = store.table().iloc[0]
    assert row["variant"] == "latent_dim=2"
    assert (row["seed"], row["parameters"], row["metric.test_loss"]) == (0, 123, 7.5)
    assert json.loads(row["protocol.test_loss"]) == PROTOCOL
    assert row["reason.fid"] == "no weights"
    assert row["command"] == "bench run study x"
    assert json.loads(row["param.hidden_dims"]) == [512]
    assert row["seconds_per_epoch"] == 0.5
    assert row["gpu_wh_per_epoch"] == 0.75  # of epochs 1 and 2
    assert row["processor_wh_per_epoch"] is None
    assert json.loads(row["data"])["sha256"] == "f" * 64
    curves = store.curves([record.run_id])
    assert curves[curves["name"] == "test/loss"]["value"].tolist() == [10.0, 9.0, 8.0]
    assert list(store.pictures([record.run_id])[record.run_id]) == ["samples.png"]
    assert store.artifact(record.run_id, "trial.toml").read_bytes() == b"x = 1\n"


def test_a_finished_run_answers_to_the_beginning_of_its_key(
    store: Store, writer: Writer, trials: list[Trial], tmp_path: Path
) -> None:
    seen: dict[str, Trial] = {}
    for trial in (replace(trials[0], seed=seed) for seed in range(17)):  # of seventeen, two begin with the same digit
        first = seen.setdefault(trial.key[0], trial)
        if first != trial:
            break
    files = {"trial.toml": b"x = 1\n", "model.safetensors": b"weights"}
    for each in (first, trial):
        writer.start(each, None, 1)
        writer.finish(each, {}, files, {}, lambda: None)
    assert writer.flush(30)
    folder = finished_run(tmp_path / "mlruns", None, trial.key)
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    run_id = store.records()[first.key].run_id
    assert finished_run(tmp_path / "mlruns", None, run_id) != folder
    with pytest.raises(StoreError, match=f"no finished run '{trial.key[0]}': 2 trials answer to it: "):
        finished_run(tmp_path / "mlruns", None, trial.key[0])


def test_the_layout_is_the_one_that_the_ui_shows_well(store: Store, writer: Writer, trials: list[Trial]) -> None:
    run_all(writer, trials[1])
    run = store.client.get_run(store.records()[trials[1].key].run_id)
    assert run.info.run_name == "latent_dim=10, seed 0, digits"
    assert "mlflow.parentRunId" not in run.data.tags
    told = {"model": "vae", "dataset": "digits", "seed": "0", "latent_dim": "10", "parameters": "123"}
    assert run.data.params == told  # a default tells it from nothing
    note = run.data.tags["mlflow.note.content"]
    assert "Other than by default: latent_dim = 10.\n" in note
    assert note.endswith(f"bench apply APPLICATION {trials[1].key}")
    assert {"key", "study", "variant", "attempt", "trial", "mlflow.source.git.commit"} <= set(run.data.tags)
    assert Trial.from_dict(json.loads(run.data.tags["trial"])) == trials[1]
    images = {
        entry.path.split("+step+")[1].split("+")[0] for entry in store.client.list_artifacts(run.info.run_id, "images")
    }
    assert images == {"0", "2"}
    drawn = store.drawn(run.info.run_id)
    assert set(drawn) == {("images/samples", 0), ("images/samples", 2)}
    assert store.artifact(run.info.run_id, drawn["images/samples", 2]).read_bytes().startswith(b"\x89PNG")
    assert run.inputs is not None
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    experiment = store.client.get_experiment(str(store.experiment_id))
    assert experiment.tags["mlflow.note.content"] == "Does it?"
    assert experiment.artifact_location.endswith("/mlruns/artifacts/x")


def test_a_run_names_every_commit_that_worked_on_it(store: Store, writer: Writer, trials: list[Trial]) -> None:
    writer.start(trials[0], None, 1)
    follow(writer, trials[0], range(1))
    writer.interrupt(trials[0])
    writer.flush(30)
    for commit in ("def", "abc"):
        later = Writer(store, {"mlflow.source.git.commit": commit})
        later.start(trials[0], store.records()[trials[0].key], 2)
        later.interrupt(trials[0])
        assert not later.close(30)
    assert store.table()["commit"].tolist() == ["abc, def"]


def test_a_resumed_run_holds_every_epoch_and_picture_once(store: Store, writer: Writer, trials: list[Trial]) -> None:
    trial = trials[0]
    writer.start(trial, None, 1)
    writer.facts(trial, {}, {"parameters": 1}, {"sha256": "f" * 64})
    follow(writer, trial, range(2))
    writer.flush(30)
    store.close_orphans()
    record = store.records()[trial.key]
    assert record.state == "interrupted"
    second = Writer(store, {})
    second.start(trial, record, 2)
    second.facts(trial, {}, {"parameters": 1}, {"sha256": "f" * 64})
    follow(second, trial, range(4))
    finish(second, trial)
    assert second.close(30) == ""
    assert len(store.table()) == 1
    assert store.table().iloc[0]["attempt"] == 2
    history = store.client.get_metric_history(record.run_id, "test/loss")
    assert [metric.step for metric in history] == [0, 1, 2, 3]
    pictures = [entry for entry in store.client.list_artifacts(record.run_id, "images") if entry.path.endswith(".png")]
    assert len(pictures) == 2


def test_failures_are_rows_and_a_later_finish_clears_them(store: Store, writer: Writer, trials: list[Trial]) -> None:
    trial = trials[0]
    writer.start(trial, None, 1)
    writer.fail(trial, Failure("diverged", "train loss is nan in epoch 3", "Traceback"))
    writer.flush(30)
    row = store.table().iloc[0]
    assert (row["state"], row["failure"], row["reason"]) == ("failed", "diverged", "train loss is nan in epoch 3")
    writer.start(trial, store.records()[trial.key], 2)
    finish(writer, trial)
    writer.flush(30)
    row = store.table().iloc[0]
    assert (row["state"], row["failure"], row["reason"]) == ("finished", "", "")


@pytest.mark.parametrize(("how", "state"), [("interrupt", "interrupted"), ("prune", "pruned")])
def test_other_endings_have_their_own_state(
    store: Store, writer: Writer, trials: list[Trial], how: str, state: str
) -> None:
    writer.start(trials[0], None, 1)
    if how == "prune":
        writer.prune(trials[0], 4)
    else:
        writer.interrupt(trials[0])
    writer.flush(30)
    assert store.records()[trials[0].key].state == state
    assert not store.open_runs()


def test_of_several_runs_of_a_key_the_newest_finished_stands(store: Store, trials: list[Trial]) -> None:
    for loss in (1.0, 2.0):
        writer = Writer(store, {})
        writer.start(trials[0], None, 1)
        writer.finish(trials[0], {"test_loss": Score(loss, "", PROTOCOL)}, {}, {}, lambda: None)
        writer.close(30)
        time.sleep(0.01)
    writer = Writer(store, {})
    writer.start(trials[0], None, 1)
    writer.fail(trials[0], Failure("killed", "by hand"))
    writer.close(30)
    assert store.table()["metric.test_loss"].tolist() == [2.0]


def test_a_metric_that_is_blank_when_it_is_taken_again_is_blank(
    store: Store, writer: Writer, trials: list[Trial]
) -> None:
    run_all(writer, trials[0])
    blank = {"test_loss": Score(None, "came out as nan")}
    writer.start(trials[0], store.records()[trials[0].key], 1)
    writer.finish(trials[0], blank, {}, {}, lambda: None)
    assert writer.flush(30)
    assert store.records()[trials[0].key].scores == {**SCORES, **blank}
    assert "metric.test_loss" not in store.table()


@pytest.mark.parametrize("how", ["interrupt", "fail", "die"])
def test_a_finished_run_stays_finished_where_measuring_it_again_comes_to_nothing(
    store: Store, writer: Writer, trials: list[Trial], how: str
) -> None:
    run_all(writer, trials[0])
    again = Writer(store, {"mlflow.source.git.commit": "def"})
    again.start(trials[0], store.records()[trials[0].key], 1)
    if how == "interrupt":
        again.interrupt(trials[0])
    elif how == "fail":
        again.fail(trials[0], Failure("data", "digits cannot be had"))
    assert not again.close(30)
    store.close_orphans()
    record = store.records()[trials[0].key]
    assert (record.state, record.scores) == ("finished", SCORES)


def test_what_follows_the_end_follows_it(store: Store, writer: Writer, trials: list[Trial]) -> None:
    seen: list[str] = []
    writer.start(trials[0], None, 1)
    finish(writer, trials[0], then=lambda: seen.append(store.records()[trials[0].key].state))
    writer.flush(30)
    assert seen == ["finished"]


def test_epochs_wait_for_more_of_them_but_not_for_long(
    store: Store, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[int] = []
    real = store.client.log_batch

    def watched(run_id: str, metrics: Any = (), *more: Any, **options: Any) -> None:
        if epochs := {metric.step for metric in metrics if metric.key == "test/loss"}:
            batches.append(len(epochs))
        real(run_id, metrics, *more, **options)

    monkeypatch.setattr(store.client, "log_batch", watched)
    monkeypatch.setattr(writing, "GATHER_SECONDS", 3600.0)
    writer = Writer(store, {})
    writer.start(trials[0], None, 1)
    follow(writer, trials[0], range(50))
    assert writer.flush(30)
    assert batches == [50]
    follow(writer, trials[0], range(50, 60))
    writer.start(trials[1], None, 1)
    follow(writer, trials[1], range(5))
    finish(writer, trials[0])  # what waits of the other goes on waiting
    assert not writer.close(30)
    assert batches == [50, 10, 5]
    monkeypatch.setattr(writing, "GATHER_SECONDS", 0.01)
    later = Writer(store, {})
    later.start(trials[1], store.records()[trials[1].key], 2)
    follow(later, trials[1], range(5, 7))
    end = time.monotonic() + 30
    while sum(batches) < 67 and time.monotonic() < end:  # without being told to
        time.sleep(0.01)
    assert sum(batches) == 67
    assert not later.close(30)


def test_a_store_that_is_away_for_a_while_gets_everything_in_order(
    store: Store, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "RETRY_SECONDS", 0.01)
    away = 3
    create = store.client.create_run

    def sometimes(*args: Any, **options: Any) -> Any:
        nonlocal away
        away -= 1
        if away >= 0:
            raise MlflowException("no answer")
        return create(*args, **options)

    monkeypatch.setattr(store.client, "create_run", sometimes)
    writer = Writer(store, {})
    run_all(writer, trials[0])
    assert writer.close(30) == ""
    assert store.records()[trials[0].key].state == "finished"


def test_a_run_that_is_deleted_while_it_is_trained_holds_up_no_other(
    store: Store, trials: list[Trial], caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    writer = Writer(store, {})
    writer.start(trials[0], None, 1)
    assert writer.flush(30)
    (run,) = store.client.search_runs([str(store.experiment_id)])
    store.client.delete_run(run.info.run_id)
    follow(writer, trials[0], range(3))
    assert writer.flush(30)
    writer.finish(trials[0], SCORES, {}, {}, lambda: done.append("the deleted one"))
    run_all(writer, trials[1])
    assert writer.close(30) == ""
    assert {key: record.state for key, record in store.records().items()} == {trials[1].key: "finished"}
    assert done == []  # its checkpoint stays: the same command goes on from it
    assert caplog.text.count("was deleted; what comes of it is not written") == 1


def test_a_store_that_stays_away_delays_nobody_and_is_said(
    store: Store, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise MlflowException("no answer")

    monkeypatch.setattr(store.client, "create_run", never)
    writer = Writer(store, {})
    writer.start(trials[0], None, 1)
    follow(writer, trials[0], range(3))
    assert writer.close(0.1).startswith("4 writes did not reach sqlite")


def test_a_store_that_was_copied_or_moved_needs_no_command(
    store: Store, writer: Writer, trials: list[Trial], tmp_path: Path
) -> None:
    run_all(writer, trials[0])
    run_id = store.records()[trials[0].key].run_id
    copied, moved = tmp_path / "copied" / "mlruns", tmp_path / "moved" / "mlruns"
    shutil.copytree(store.folder, copied)
    assert Store(copied, None, "x", "", create=False).artifact(run_id, "trial.toml") == (
        copied / "artifacts" / "x" / run_id / "artifacts" / "trial.toml"
    )
    assert store.artifact(run_id, "trial.toml").is_relative_to(store.folder)
    moved.parent.mkdir()
    shutil.move(store.folder, moved)
    assert list(Store(moved, None, "x", "", create=False).pictures([run_id])[run_id]) == ["samples.png"]


def test_dead_runs_are_found_and_closed(store: Store, writer: Writer, trials: list[Trial]) -> None:
    writer.start(trials[0], None, 1)
    writer.flush(30)
    (store.folder / "locks").mkdir(exist_ok=True)
    assert orphans(store.folder, fix=False) == [("x", False)]
    orphans(store.folder, fix=True)
    assert orphans(store.folder, fix=False) == []


def test_the_end_of_a_trial_waits_for_what_was_told_of_it_and_of_no_other(
    store: Store, writer: Writer, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each end would cost a write for every trial that is open: a thousand, with a thousand GPUs."""
    monkeypatch.setattr("bench.tracking.writer.GATHER_SECONDS", 3600.0)
    for trial in trials[:2]:
        writer.start(trial, None, 1)
        follow(writer, trial, range(3))
    finish(writer, trials[0])
    assert writer.flush(30, everything=False)
    ids = [store.records()[trial.key].run_id for trial in trials[:2]]
    assert [(store.curves([run_id])["name"] == "test/loss").sum() for run_id in ids] == [3, 0]
    assert store.records()[trials[0].key].state == "finished"
    assert writer.flush(30)
    assert [(store.curves([run_id])["name"] == "test/loss").sum() for run_id in ids] == [3, 3]


def test_what_has_waited_long_enough_is_written_though_more_keeps_coming(
    writer: Writer, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[tuple[str, str]] = []
    for name in ("flush", "start"):
        original = getattr(RunLog, name)

        def noted(run: RunLog, *given: Any, name: str = name, original: Any = original) -> None:
            order.append((name, run.trial.key))
            original(run, *given)

        monkeypatch.setattr(RunLog, name, noted)
    monkeypatch.setattr("bench.tracking.writer.GATHER_SECONDS", 0.0)
    told, third = threading.Event(), replace(trials[0], seed=7)

    def wait() -> None:
        told.wait(30)

    for trial in trials[:2]:
        writer.start(trial, None, 1)
    finish(writer, trials[0], then=wait)
    follow(writer, trials[1], range(1))
    writer.start(third, None, 1)
    told.set()
    assert writer.flush(30)
    assert order.index(("flush", trials[1].key)) < order.index(("start", third.key))


def test_a_study_without_runs_is_an_empty_table(store: Store) -> None:
    assert store.records() == {}
    assert len(store.table()) == 0


def test_a_folder_that_no_address_can_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="holds #, which an SQLite address cannot"):
        Store(tmp_path / "c#" / "mlruns", None, "x", "", create=True)


@pytest.mark.parametrize("damage", ["gone", "cut", "flipped"])
@pytest.mark.parametrize("name", ["model.safetensors", "trial.toml", "final/samples.png"])
def test_a_file_of_a_finished_run_that_is_damaged_is_named_and_not_used(
    store: Store, writer: Writer, trials: list[Trial], caplog: pytest.LogCaptureFixture, damage: str, name: str
) -> None:
    writer.start(trials[0], None, 1)
    files = {"trial.toml": b"x = 1\n", "model.safetensors": b"weights", "final/samples.png": PNG.getvalue()}
    writer.finish(trials[0], SCORES, files, {}, lambda: None)
    assert writer.flush(30)
    assert damaged(store.folder) == []
    run_id = store.records()[trials[0].key].run_id
    file = store.artifact(run_id, name)
    content = file.read_bytes()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:3] if damage == "cut" else content[:3] + bytes([content[3] ^ 1]) + content[4:])
    assert damaged(store.folder) == [("x", f"{name} of latent_dim=2, seed 0, digits ({run_id})")]
    if name.startswith("final/"):
        assert store.pictures([run_id]) == {run_id: {}}
        said = [f"{name} of run {run_id} is damaged and is left out"]
        assert caplog.messages == ([] if damage == "gone" else said)
    else:
        with pytest.raises(StoreError, match=rf"{name}.* (any more|is damaged)"):
            finished_run(store.folder, None, run_id)


FULL_DISK = [
    (OSError(28, "No space left on device"), r"disk full: \[Errno 28\]"),
    (MlflowException("(sqlite3.OperationalError) database or disk is full\n[SQL: insert"), "disk full: .*disk is full"),
    (NotADirectoryError(20, "Not a directory"), r"\[Errno 20\] Not a directory"),
    (KeyError("a fault of ours"), "'a fault of ours'"),
]


@pytest.mark.parametrize(("error", "said"), FULL_DISK)
def test_where_trying_again_is_of_no_use_nothing_is_waited_for(
    store: Store, trials: list[Trial], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(store.client, "create_run", full)
    writer = Writer(store, {})
    writer.start(trials[0], None, 1)
    follow(writer, trials[0], range(3))
    assert not writer.flush(3600)
    assert writer.broken
    line = writer.close(3600)
    assert re.fullmatch(f"4 writes did not reach sqlite:.*mlflow.db \\({said}.*\\); the next run .*", line)


def test_a_writer_that_gave_up_with_something_waiting_comes_to_its_end(
    store: Store, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its thread would else go round and round for as long as the process lives, as a notebook's does."""

    def broken(_: RunLog) -> None:
        raise KeyError("a fault of ours")

    monkeypatch.setattr(RunLog, "flush", broken)
    monkeypatch.setattr("bench.tracking.writer.GATHER_SECONDS", 0.0)
    before = set(threading.enumerate())
    writer = Writer(store, {})
    (thread,) = set(threading.enumerate()) - before
    writer.start(trials[0], None, 1)
    follow(writer, trials[0], range(3))
    assert not writer.flush(3600)
    assert "did not reach" in writer.close(3600)
    thread.join(30)
    assert not thread.is_alive()
