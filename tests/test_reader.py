"""The two ways to read a store say the same of it: SQL over MLflow's own file, and MLflow's client."""

from __future__ import annotations

import math
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

import bench.tracking.client
from bench.tracking import sql
from bench.tracking.client import ClientReader
from bench.tracking.reader import Experiment, Point, Reader
from bench.tracking.readers import reader
from bench.tracking.sql import SqlReader

KEYS = [f"{number:016x}" for number in range(40)]


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> str:
    """Two studies of twenty runs of every kind, one that is deleted, and one of another program."""
    file = tmp_path_factory.mktemp("read") / "mlflow.db"
    shutil.copy(empty_database, file)
    client = MlflowClient(tracking_uri=f"sqlite:///{file}")
    for study in ("one", "two", "gone", "not ours"):
        experiment = client.create_experiment(study, artifact_location=(file.parent / study).as_uri())
        client.set_experiment_tag(experiment, "question", f"Is it {study}?\n")
        for number in range(20):
            run = client.create_run(experiment, start_time=1000 + number // 2, run_name=f"ld={number} \N{SNOWMAN}")
            run_id = run.info.run_id
            if number % 5 == 0:
                continue  # a run that has nothing yet
            key = KEYS[number + 20 * (study == "two")]
            tags = {
                "key": key,
                "trial": "{}",
                "state": "finished" if number % 3 else "running",
                "empty": "",
                "quote": "it's",
            }
            values = [
                Metric(f"{split}/loss", value, 5000 - step, step)
                for split in ("train", "test", "testing")
                for step, value in enumerate((3.0, math.nan, math.inf, -math.inf, 1e-300))
            ]
            values += [
                Metric("time/epoch_s", 0.25, 7, 0),
                Metric("time/epoch_s", 0.5, 6, 0),
            ]  # twice, the later one first
            values.append(Metric("final/test_loss", number / 3, 9, 0))
            client.log_batch(
                run_id,
                metrics=values,
                params=[Param("latent_dim", str(number)), Param("hidden_dims", "[512, 3]")],
                tags=[RunTag(name, value) for name, value in tags.items()],
            )
            for source in range(number % 3):
                data = Dataset(
                    f"digits {source}", f"{number:03}", source_type="code", source='{"tags": {"sha256": "f"}}'
                )
                client.log_inputs(run_id, [DatasetInput(data, [InputTag("mlflow.data.context", "train")])])
            if number % 2:
                client.set_terminated(run_id, ("FINISHED", "FAILED", "KILLED")[number % 3], 2000 + number)
            if number == 7:
                client.delete_run(run_id)
        if study == "gone":
            client.delete_experiment(experiment)
    return f"sqlite:///{file}"


@pytest.fixture
def both(uri: str) -> tuple[Reader, Reader]:
    plain = reader(uri)
    assert isinstance(plain, SqlReader)
    return plain, ClientReader(MlflowClient(tracking_uri=uri))


def experiments(each: Reader) -> list[Experiment]:
    return each.experiments()


def of_all(each: Reader) -> list[str]:
    return [experiment.experiment_id for experiment in each.experiments()]


def alike(found: Any) -> str:
    """As text, in which what is no number is equal to itself; the order of tags, params and metrics is nobody's promise."""
    values = dict(vars(found))
    for name in {"tags", "params", "metrics"} & values.keys():
        values[name] = sorted(values[name].items())
    return repr(values)


def told(points: Iterator[Point]) -> list[str]:
    """As text, in which what is no number is equal to itself."""
    return [repr(point) for point in points]


QUESTIONS: dict[str, Callable[[Reader], Any]] = {
    "experiments": experiments,
    "runs of one": lambda each: each.runs(of_all(each)[1:2]),
    "runs of all": lambda each: each.runs(of_all(each)),
    "runs of none": lambda each: each.runs([]),
    "finished": lambda each: each.finished(of_all(each)),
    "finished of a few": lambda each: each.finished(of_all(each), KEYS[1:9]),
    "finished of many": lambda each: each.finished(of_all(each), KEYS),
    "finished of no trial": lambda each: each.finished(of_all(each), []),
    "named": lambda each: sorted(each.named([run.run_id for run in each.runs(of_all(each))]).values(), key=repr),
    "named, and there is none": lambda each: each.named(["0" * 32]),
    "named none": lambda each: each.named([]),
}
HISTORIES = [["train/", "test/"], ["time/epoch_s"], ["final/test_loss", "te"], ["nothing/"], []]


@pytest.mark.parametrize("question", QUESTIONS)
def test_both_give_the_same_answer(question: str, both: tuple[Reader, Reader], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.tracking.client, "PAGE", 7)  # so that there are several
    monkeypatch.setattr(bench.tracking.client, "NAMED", 7)
    plain, through_mlflow = ([alike(each) for each in QUESTIONS[question](one)] for one in both)
    assert plain == through_mlflow
    assert bool(plain) == (" no" not in question)


@pytest.mark.parametrize("names", HISTORIES, ids=str)
def test_both_give_the_same_histories(names: list[str], both: tuple[Reader, Reader]) -> None:
    ids = [run.run_id for run in both[0].runs(of_all(both[0]))][::3]
    plain, through_mlflow = (told(each.histories(ids, names)) for each in both)
    assert plain == through_mlflow
    assert {point.name for point in both[0].histories(ids, names)} == {
        name
        for name in ("train/loss", "test/loss", "time/epoch_s", "final/test_loss")
        if any(name == each or (each.endswith("/") and name.startswith(each)) for each in names)
    }
    assert told(both[0].histories([], names)) == told(both[1].histories([], names)) == []


def test_what_is_deleted_or_has_nothing_is_told_so(both: tuple[Reader, Reader]) -> None:
    for each in both:
        names = {experiment.name: experiment for experiment in each.experiments()}
        assert not names["gone"].active
        assert each.runs([names["gone"].experiment_id]) == []
        runs = each.runs([names["one"].experiment_id])
        assert len(runs) == 19
        assert [run.started for run in runs] == sorted((run.started for run in runs), reverse=True)
        assert sum(not run.tags.get("key") for run in runs) == 4
        assert sum(run.data is not None for run in runs) == sum(n % 5 > 0 and n % 3 > 0 and n != 7 for n in range(20))


@pytest.mark.parametrize("runs", [2, 19])
def test_the_number_of_queries_does_not_hang_on_that_of_runs(
    runs: int, both: tuple[Reader, Reader], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    connect = sql._connect

    def watched(file: Path) -> sqlite3.Connection:
        database = connect(file)
        database.set_trace_callback(asked.append)
        return database

    plain = both[0]
    ids = [run.run_id for run in plain.runs(of_all(plain)[1:2])][:runs]
    monkeypatch.setattr(sql, "_connect", watched)
    assert len(plain.named(ids)) == runs
    assert len(list(plain.histories(ids, ["test/"]))) > 0
    assert len([each for each in asked if "begin" not in each]) == 6


def test_of_another_layout_mlflow_is_asked(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a later MLflow has made, say, whose client knows it."""
    monkeypatch.setattr(sql, "SCHEMAS", ("another",))
    assert isinstance(reader(uri), ClientReader)


def test_a_file_that_is_not_there_holds_nothing_and_is_not_made(tmp_path: Path) -> None:
    nothing = reader(f"sqlite:///{tmp_path}/mlflow.db")
    assert not nothing.experiments()
    assert not nothing.runs(["1"])
    assert not list(nothing.histories(["a"], ["b"]))
    assert not list(tmp_path.iterdir())


def test_reading_writes_nothing_and_waits_for_nobody(uri: str) -> None:
    """While another process is about to write."""
    file = Path(uri.removeprefix("sqlite:///"))
    before = file.read_bytes()
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("begin immediate")
        assert len(reader(uri).runs(["1"])) == 19
    assert file.read_bytes() == before
