"""What is remembered: the only file that knows MLflow.

One experiment per study, one flat run per trial. Only the process that drives a study writes, in a thread of its own, so that
a slow or absent tracking server holds up no trial; what could not be written is written by the next invocation.
"""

from __future__ import annotations

import io
import json
import logging
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from bench.study import Failure, Trial

# Read by MLflow when it is imported: no telemetry, no notices about its own databases and git.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")

from mlflow import MlflowClient
from mlflow.data.code_dataset_source import CodeDatasetSource
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import DatasetInput, InputTag, Metric, Param, RunTag, ViewType
from mlflow.exceptions import MlflowException

if TYPE_CHECKING:
    from mlflow.entities import Run

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two tries to reach a tracking server that does not answer
LARGEST = 1e300  # MLflow stores an infinity as the largest float; what is larger than this was one
FINAL = "final/"  # where a run keeps what was measured once, at its end


class StoreError(Exception):
    """The tracking store cannot be used: one line that says which, why, and what to do."""


@dataclass(frozen=True)
class Record:
    """What is remembered of one trial, under its key.

    Attributes:
        state: ``finished``, ``failed``, ``pruned``, ``interrupted`` or ``running``.
        kind: the class of the failure, where there is one.
        scores: the metrics that were measured.
        blanks: why others could not be.
    """

    run_id: str
    configuration: str
    state: str
    kind: str
    attempt: int
    scores: Mapping[str, float]
    blanks: Mapping[str, str]
    seconds: float


class Store:
    """The runs of one experiment.

    Raises:
        StoreError: the store cannot be reached, or is not where its runs say it is.
    """

    def __init__(self, folder: Path, uri: str | None, study: str, question: str, *, create: bool) -> None:
        """Open the experiment ``study`` in ``uri``, or in ``folder``'s own database where that is None.

        Called by the driver before any trial starts: two processes that make the same database break it.
        """
        self.local = uri is None
        self.uri = uri or f"sqlite:///{folder.resolve()}/mlflow.db"
        self.study = study
        self.folder = folder
        try:
            self.client = MlflowClient(tracking_uri=self.uri)
            found = self.client.get_experiment_by_name(study)
            if found is None and create:
                place = (folder.resolve() / "artifacts" / study).as_uri() if self.local else None
                found = self.client.get_experiment(self.client.create_experiment(study, artifact_location=place))
            if found is not None and found.lifecycle_stage == "deleted":
                self.client.restore_experiment(found.experiment_id)
            if found is not None and create:
                self.client.set_experiment_tag(found.experiment_id, "mlflow.note.content", question)
        except MlflowException as error:
            raise StoreError(f"the tracking store {_without_password(self.uri)} cannot be used: {_line(error)}") from error
        self.experiment_id = found.experiment_id if found is not None else None
        if self.local and found is not None and not _inside(found.artifact_location, folder):
            raise StoreError(
                f"{folder} was moved: its runs still point to {found.artifact_location}; mend it with: bench doctor --fix"
            )

    def records(self) -> dict[str, Record]:
        """The newest finished run of every key, or the newest of any state where none has finished."""
        records: dict[str, Record] = {}
        for run in self._runs():  # the newest first
            tags, metrics = run.data.tags, run.data.metrics
            key = tags.get("key")
            record = Record(
                run.info.run_id,
                tags.get("configuration", ""),
                _state(run),
                tags.get("failure", ""),
                int(tags.get("attempt", "1")),
                {name.removeprefix(FINAL): value for name, value in metrics.items() if name.startswith(FINAL)},
                {name.removeprefix("reason."): value for name, value in tags.items() if name.startswith("reason.")},
                _seconds(run),
            )
            if key and (key not in records or (record.state == "finished" != records[key].state)):
                records[key] = record
        return records

    def close_orphans(self) -> int:
        """Mark every run that a dead driver left RUNNING as killed; whoever calls this holds the study's lock."""
        orphans = [run for run in self._runs() if run.info.status == "RUNNING"]
        for run in orphans:
            self.client.set_terminated(run.info.run_id, "KILLED")
        return len(orphans)

    def table(self) -> pd.DataFrame:
        """One row per trial, as `bench.report` wants it; of several runs of a key, the one `records` names."""
        chosen = {record.run_id for record in self.records().values()}
        return pd.DataFrame([_row(run) for run in self._runs() if run.info.run_id in chosen])

    def curves(self, run_ids: Iterable[str]) -> pd.DataFrame:
        """Every loss term of these runs by epoch: ``run_id, name, step, value``."""
        rows = []
        for run_id in run_ids:
            for name in self.client.get_run(run_id).data.metrics:
                if name.startswith(("train/", "test/", "validation/")):
                    rows += [(run_id, name, m.step, m.value) for m in self.client.get_metric_history(run_id, name)]
        return pd.DataFrame(rows, columns=["run_id", "name", "step", "value"])

    def pictures(self, run_ids: Iterable[str]) -> dict[str, dict[str, bytes]]:
        """The final pictures of these runs, PNG by file name."""
        pictures: dict[str, dict[str, bytes]] = {}
        for run_id in run_ids:
            names = [entry.path for entry in self.client.list_artifacts(run_id, "final")]
            pictures[run_id] = {
                name.removeprefix(FINAL): Path(self.client.download_artifacts(run_id, name)).read_bytes()
                for name in names
                if name.endswith(".png")
            }
        return pictures

    def artifact(self, run_id: str, name: str) -> Path:
        """A local copy of one of the run's files."""
        return Path(self.client.download_artifacts(run_id, name))

    def link(self) -> str:
        """The path of this experiment's page in the MLflow UI, in the view that shows curves and pictures."""
        return f"/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"

    def _runs(self) -> list[Run]:
        if self.experiment_id is None:
            return []
        runs, token = [], None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], "", ViewType.ACTIVE_ONLY, 1000, ["attributes.start_time DESC"], token
            )
            runs += page
            token = page.token
            if not token:
                return runs


class Writer:
    """Writes what happens to trials, in the order in which it happened, without holding up who tells it."""

    def __init__(self, store: Store, provenance: Mapping[str, str]) -> None:
        """``provenance`` is written on every run: commit, command line, user."""
        self.store = store
        self.provenance = provenance
        self._runs: dict[str, _RunLog] = {}
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._lost: Exception | None = None
        self._thread = threading.Thread(target=self._write, daemon=True, name="tracking")
        self._thread.start()

    def start(self, trial: Trial, record: Record | None, attempt: int) -> None:
        """A trial begins, or goes on in the run of ``record``."""
        run = self._runs.setdefault(trial.key, _RunLog(self.store, trial, record.run_id if record else ""))
        self._tasks.put(lambda: run.start(attempt, self.provenance))

    def facts(self, trial: Trial, tags: Mapping[str, str], params: Mapping[str, Any], data: Mapping[str, str]) -> None:
        """What the trial's process says of itself before it trains: device, versions, parameter count, data."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.facts(tags, params, data))

    def epoch(self, trial: Trial, epoch: int, metrics: Mapping[str, float], pictures: Mapping[str, bytes]) -> None:
        """One epoch's measures, and PNG pictures by name; what a resumed run already holds is not written again."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.epoch(epoch, metrics, pictures))

    def finish(
        self,
        trial: Trial,
        scores: Mapping[str, tuple[float | None, str, Mapping[str, str]]],
        files: Mapping[str, bytes],
        then: Callable[[], None],
    ) -> None:
        """The trial is done: value, reason of a blank and protocol by metric; files by artifact path.

        ``then`` is called once all of it is written, and not before.
        """
        run = self._runs[trial.key]

        def write() -> None:
            run.finish(scores, files)
            then()

        self._tasks.put(write)

    def fail(self, trial: Trial, failure: Failure) -> None:
        """The trial ended without its scores."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.fail(failure))

    def prune(self, trial: Trial, epoch: int) -> None:
        """The search gave the trial up after ``epoch``."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.end("pruned", "KILLED", {"reason": f"not worth going on with after epoch {epoch}"}))

    def interrupt(self, trial: Trial) -> None:
        """The trial was stopped by its user and can go on later."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.end("interrupted", "KILLED", {}))

    def flush(self, seconds: float) -> bool:
        """Wait until all is written, but no longer than ``seconds``; whether it is."""
        done = threading.Event()
        self._tasks.put(done.set)
        return done.wait(seconds)

    def close(self, seconds: float) -> str:
        """Write what is left and stop; one line on what could not be written, or nothing."""
        written = self.flush(seconds)
        self._tasks.put(None)
        if written:
            self._thread.join()
            return ""
        return (
            f"{self._tasks.qsize()} writes did not reach {_without_password(self.store.uri)} "
            f"({self._lost or 'no answer'}); the next run of the study writes them from its checkpoints"
        )

    def _write(self) -> None:
        while (task := self._tasks.get()) is not None:
            while True:
                try:
                    task()
                    break
                except (MlflowException, OSError) as error:
                    self._lost = error
                    log.warning("tracking store: %s; trying again", _line(error))
                    time.sleep(RETRY_SECONDS)


@dataclass
class _RunLog:
    """One run being written."""

    store: Store
    trial: Trial
    run_id: str = ""
    logged: set[int] = field(default_factory=set)
    drawn: set[tuple[str, int]] = field(default_factory=set)

    def start(self, attempt: int, provenance: Mapping[str, str]) -> None:
        client, trial = self.store.client, self.trial
        tags = {
            **provenance,
            "key": trial.key,
            "configuration": trial.configuration,
            "study": self.store.study,
            "variant": trial.variant,
            "dataset": trial.dataset,
            "split": trial.held_out,
            "attempt": str(attempt),
            "state": "running",
            "trial": json.dumps(trial.as_dict()),
        }
        if not self.run_id:
            run = client.create_run(str(self.store.experiment_id), tags=tags, run_name=trial.name)
            self.run_id = run.info.run_id
        else:
            client.update_run(self.run_id, status="RUNNING")
            client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            for name in ("failure", "reason"):
                if name in client.get_run(self.run_id).data.tags:
                    client.delete_tag(self.run_id, name)
            self.logged = {metric.step for metric in client.get_metric_history(self.run_id, "time/epoch_s")}
            self.drawn = {
                (match[1].replace("~", "/"), int(match[2]))
                for entry in client.list_artifacts(self.run_id, "images")
                if (match := re.match(r"images/(.+?)[+%]step[+%](\d+)", entry.path))
            }

    def facts(self, tags: Mapping[str, str], params: Mapping[str, Any], data: Mapping[str, str]) -> None:
        trial = self.trial
        settings = {name: value for section in trial.settings.values() for name, value in section.items()}
        chosen = {"model": trial.model, "dataset": trial.dataset, "seed": trial.seed, **settings, **params}
        self.store.client.log_batch(
            self.run_id,
            params=[Param(name, json.dumps(v) if not isinstance(v, str) else v) for name, v in chosen.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        source = CodeDatasetSource(tags={"dataset": trial.dataset, **data})
        dataset = MetaDataset(source=source, name=trial.name.rsplit(" ", 1)[-1], digest=data["sha256"][:12])
        context = [InputTag("mlflow.data.context", "train")]
        self.store.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset._to_mlflow_entity(), context)])

    def epoch(self, epoch: int, metrics: Mapping[str, float], pictures: Mapping[str, bytes]) -> None:
        client = self.store.client
        if epoch not in self.logged:
            now = int(time.time() * 1000)
            client.log_batch(self.run_id, metrics=[Metric(name, v, now, epoch) for name, v in metrics.items()])
            self.logged.add(epoch)
        for name, png in pictures.items():
            if (f"images/{name}", epoch) not in self.drawn:
                client.log_image(self.run_id, Image.open(io.BytesIO(png)), key=f"images/{name}", step=epoch)
                self.drawn.add((f"images/{name}", epoch))

    def finish(
        self, scores: Mapping[str, tuple[float | None, str, Mapping[str, str]]], files: Mapping[str, bytes]
    ) -> None:
        now = int(time.time() * 1000)
        metrics, tags = [], []
        for name, (value, reason, protocol) in scores.items():
            tags.append(RunTag(f"protocol.{name}", json.dumps(dict(protocol), sort_keys=True)))
            tags.append(RunTag(f"reason.{name}", reason))
            if value is not None:
                metrics.append(Metric(FINAL + name, value, now, 0))
        self.store.client.log_batch(self.run_id, metrics=metrics, tags=tags)
        for path, content in files.items():
            self._file(path, content)
        self.end("finished", "FINISHED", {})

    def fail(self, failure: Failure) -> None:
        if failure.details:
            self.store.client.log_text(self.run_id, failure.details, "failure.txt")
        self.end("failed", "FAILED", {"failure": failure.kind, "reason": failure.reason[:5000]})

    def end(self, state: str, status: str, tags: Mapping[str, str]) -> None:
        client = self.store.client
        client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in {**tags, "state": state}.items()])
        client.set_terminated(self.run_id, status)

    def _file(self, path: str, content: bytes) -> None:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            file.write_bytes(content)
            parent = str(Path(path).parent)
            self.store.client.log_artifact(self.run_id, str(file), None if parent == "." else parent)


def studies(folder: Path, uri: str | None) -> list[str]:
    """The experiments in a store."""
    client = MlflowClient(tracking_uri=uri or f"sqlite:///{folder.resolve()}/mlflow.db")
    return sorted(experiment.name for experiment in client.search_experiments() if experiment.name != "Default")


def _state(run: Run) -> str:
    state = str(run.data.tags.get("state", "running"))
    if run.info.status == "KILLED" and state == "running":
        return "interrupted"
    return state


def _seconds(run: Run) -> float:
    end = run.info.end_time or run.info.start_time
    return float(end - run.info.start_time) / 1000


def _row(run: Run) -> dict[str, Any]:
    tags, params, metrics = run.data.tags, run.data.params, run.data.metrics
    trial = Trial.from_dict(json.loads(tags["trial"]))
    row: dict[str, Any] = {
        "run_id": run.info.run_id,
        "key": tags["key"],
        "configuration": tags["configuration"],
        "study": tags["study"],
        "variant": tags["variant"],
        "dataset": tags["dataset"],
        "model": trial.model,
        "seed": trial.seed,
        "split": tags["split"],
        "state": _state(run),
        "failure": tags.get("failure", ""),
        "reason": tags.get("reason", ""),
        "attempt": int(tags["attempt"]),
        "commit": tags.get("mlflow.source.git.commit", ""),
        "command": tags.get("mlflow.source.name", ""),
        "device": tags.get("device", ""),
        "versions": tags.get("versions", "{}"),
        "started": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        "duration_s": _seconds(run),
        "parameters": int(params["parameters"]) if "parameters" in params else None,
        "epochs": trial.settings["training"]["epochs"],
        "seconds_per_epoch": metrics.get("time/epoch_s"),
        "images_per_second": metrics.get("time/images_per_s"),
        "peak_megabytes": metrics.get("memory/peak_mb"),
    }
    for section in trial.settings.values():
        row.update({f"param.{name}": json.dumps(value) for name, value in section.items()})
    for name, value in metrics.items():
        if name.startswith(FINAL):
            row[f"metric.{name.removeprefix(FINAL)}"] = value if abs(value) < LARGEST else float("nan")
    row.update({name: value for name, value in tags.items() if name.startswith(("reason.", "protocol."))})
    return row


def _inside(uri: str, folder: Path) -> bool:
    return uri.startswith(folder.resolve().as_uri() + "/")


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def _without_password(uri: str) -> str:
    return re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", uri)
