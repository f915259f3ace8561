"""The runs of a study, read."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType

from bench import databases
from bench.text import escaped, is_name
from bench.tracking.database import DATABASE, address, have_database, settle
from bench.tracking.errors import StoreError
from bench.tracking.reach import answered, asking, check_address
from bench.tracking.rows import FINAL, ORIGIN, REFERS, Record, ended_as, readable, record, row, state
from bench.tracking.run_files import WEIGHTS, file_of, intact
from bench.tracking.shared import meant

if TYPE_CHECKING:
    from mlflow.entities import Run


log = logging.getLogger(__name__)

DRAWN = re.compile(r"images/(.+?)[+%]step[+%](\d+)[+%].*\.png")  # as MLflow names the images of a step


class Store:
    """The runs of one experiment.

    Raises:
        StoreError: the store cannot be reached.
    """

    def __init__(self, folder: Path, uri: str | None, study: str, question: str, *, create: bool) -> None:
        """Open the experiment ``study`` in ``uri``, or in ``folder``'s own database where that is None.

        Args:
            create: make what is not there, and set aside a database that is damaged; the driver does, before any trial starts.
        """
        self.local = uri is None
        self.uri = address(folder, uri)
        self.study = study
        self.folder = folder
        self._unreadable: set[str] = set()
        if self.local and (odd := set("%?#") & set(str(folder.resolve()))):
            raise StoreError(f"{folder.resolve()} holds {' '.join(odd)}, which an SQLite address cannot; run elsewhere")
        check_address("MLFLOW_TRACKING_URI", self.uri)
        found = self._open(question, create=create)
        self.experiment_id = found.experiment_id if found is not None else None

    @asking(start=True)
    def _open(self, question: str, *, create: bool) -> Experiment | None:
        """The study's experiment, made or restored where need be."""
        if self.local:
            have_database(self.folder, mend=create)
        self.client = MlflowClient(tracking_uri=self.uri)
        found = self.client.get_experiment_by_name(self.study)
        if found is None and create:
            place = (self.folder.resolve() / "artifacts" / self.study).as_uri() if self.local else None
            found = self.client.get_experiment(self.client.create_experiment(self.study, artifact_location=place))
        if found is not None and found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        if found is not None and create:
            self.client.set_experiment_tag(found.experiment_id, "question", question)
            self.client.set_experiment_tag(found.experiment_id, "mlflow.note.content", escaped(question))  # Markdown
        return found

    @asking()
    def records(self) -> dict[str, Record]:
        """The newest finished run of every key, or the newest of any state where none has finished."""
        records: dict[str, Record] = {}
        for run in self._runs():  # the newest first
            key = run.data.tags.get("key", "")
            if key and (key not in records or (state(run) == "finished" != records[key].state)):
                newer = records.get(key)
                redone = newer.run_id if newer and newer.state == "interrupted" else ""
                records[key] = replace(record(run), redone=redone)
        return records

    @asking()
    def losses(self, run_id: str, split: str) -> dict[int, float]:
        """The loss on a split after every epoch of a run."""
        return {each.step: each.value for each in self.client.get_metric_history(run_id, f"{split}/loss") if each.step}

    @asking()
    def open_runs(self) -> list[str]:
        """The runs that are not ended, or not wholly: MLflow's status is not what their state says."""
        return [run.info.run_id for run in self._own() if run.info.status != ended_as(run)]

    @asking()
    def close_orphans(self) -> None:
        """End every run as far as its driver, which is dead, had come with it; whoever calls this holds the study's lock.

        A run whose last word was that it is finished is finished, though MLflow was not told any more. One that refers to a run
        which is no more is removed.
        """
        for run in self._own():
            if REFERS in run.data.tags and meant(self.client, run) is None:
                self.client.delete_run(run.info.run_id)
                continue
            if "key" in run.data.tags and run.data.tags.get("state", "running") == "running":
                self.client.set_tag(run.info.run_id, "state", "interrupted")
            if run.info.status != (status := ended_as(run)):
                self.client.set_terminated(run.info.run_id, status, run.info.end_time)

    @asking()
    def chosen(self) -> list[Run]:
        """One run of every key, the newest first: of several, the one `records` names."""
        chosen = {each.run_id for each in self.records().values()}
        return [run for run in self._runs() if run.info.run_id in chosen]

    @asking()
    def table(self) -> pd.DataFrame:
        """One row per trial, as `bench.report.page` wants it."""
        return pd.DataFrame([self._row(run) for run in self.chosen()])

    @asking()
    def curves(self, run_ids: Iterable[str]) -> pd.DataFrame:
        """Every loss term of these runs by epoch: ``run_id, name, step, value``."""
        rows = []
        for run_id in run_ids:
            for name in self.client.get_run(run_id).data.metrics:
                if name.startswith(("train/", "train_eval/", "test/", "validation/")):
                    rows += [(run_id, name, m.step, m.value) for m in self.client.get_metric_history(run_id, name)]
        return pd.DataFrame(rows, columns=["run_id", "name", "step", "value"])

    @asking()
    def pictures(self, run_ids: Iterable[str]) -> dict[str, dict[str, bytes]]:
        """The final pictures of these runs, PNG by file name."""
        pictures: dict[str, dict[str, bytes]] = {}
        for run_id in run_ids:
            run, pictures[run_id] = self.client.get_run(run_id), {}
            names = [entry.path for entry in self.client.list_artifacts(run_id, "final")]
            for name in (name for name in names if name.endswith(".png")):
                if intact(run, name, file := self.artifact(run_id, name)):
                    pictures[run_id][name.removeprefix(FINAL)] = file.read_bytes()
                else:
                    log.warning("%s of run %s is damaged and is left out", name, run_id)
        return pictures

    @asking()
    def drawn(self, run_id: str) -> dict[tuple[str, int], str]:
        """The pictures that a run drew while it trained: their artifact paths by name (``images/samples``) and epoch."""
        found = {}
        for entry in self.client.list_artifacts(run_id, "images"):
            if match := DRAWN.fullmatch(entry.path):
                found[match[1].replace("~", "/"), int(match[2])] = str(entry.path)
        return found

    @asking()
    def artifact(self, run_id: str, name: str) -> Path:
        """One of the run's files: where it lies, or a copy that this process removes at its end."""
        return file_of(self.client, run_id, name)

    def artifacts(self, run_id: str) -> Path:
        """The folder of all of the run's files: where they lie, or a copy that this process removes at its end."""
        return file_of(self.client, run_id, "")

    def unfinished_imports(self) -> list[str]:
        """Runs that were being written from a file when that was stopped."""
        return [run.info.run_id for run in self._own() if ORIGIN in run.data.tags and "key" not in run.data.tags]

    def remove(self, run_id: str) -> None:
        """Delete a run; its files too, where they lie here."""
        if self.local:
            shutil.rmtree(self.artifacts(run_id).parent, ignore_errors=True)
        self.client.delete_run(run_id)

    def clear(self) -> None:
        """Remove what was written of a file of the study's runs, whose lock the caller holds; a lost database knew others too."""
        if self.local:
            for partial in (self.folder / "artifacts" / self.study).glob("*/artifacts/**/.*.partial"):
                partial.unlink(missing_ok=True)

    def keep_copy(self) -> None:
        """Keep a copy of the store's own database, which takes its place should it be damaged."""
        if self.local:
            databases.copy(self.folder / DATABASE)

    def question(self) -> str:
        """What the study asks."""
        return str(self.client.get_experiment(str(self.experiment_id)).tags.get("question", ""))

    def link(self) -> str:
        """The path of this experiment's page in the MLflow UI, in the view that shows curves and pictures."""
        return f"/#/experiments/{self.experiment_id}/runs?workflowType=machine_learning&compareRunsMode=CHART"

    def _row(self, run: Run) -> dict[str, Any]:
        epochs = [m.value for m in self.client.get_metric_history(run.info.run_id, "time/epoch_s") if m.step]
        return {**row(run), "seconds_per_epoch": median(epochs) if epochs else None}

    def _runs(self) -> list[Run]:
        """The study's runs, the newest first; in place of one that refers to another study's, that one."""
        found = (meant(self.client, run) for run in self._own())
        return [run for run in found if run is not None]

    def _own(self) -> list[Run]:
        if self.experiment_id is None:
            return []
        runs: list[Run] = []
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment_id], "", ViewType.ACTIVE_ONLY, 1000, ["attributes.start_time DESC"], token
            )
            runs += page
            token = page.token
            if not token:
                return [run for run in runs if "key" not in run.data.tags or self._readable(run)]

    def _readable(self, run: Run) -> bool:
        """One that is not is left out and said, once: its trial is trained again, in a run of its own."""
        if readable(run):
            return True
        if run.info.run_id not in self._unreadable:
            self._unreadable.add(run.info.run_id)
            log.warning("run %s of %s is damaged and is left out", run.info.run_id, self.study)
        return False


def opened(folder: Path, uri: str | None, study: str) -> Store:
    """The runs of a study that has some.

    Raises:
        StoreError: it has none, or the store cannot be reached.
    """
    if uri or (folder / DATABASE).exists():
        store = Store(folder, uri, study, "", create=False)
        if store.experiment_id is not None:
            return store
    raise StoreError(f"no run of a study {study!r} in {uri or folder}")


def studies(folder: Path, uri: str | None) -> list[str]:
    """The studies in a store: its experiments, but for those of other programs whose names can be none of ours.

    Raises:
        StoreError: the store cannot be used.
    """

    def names() -> list[str]:
        client = MlflowClient(tracking_uri=address(folder, uri))
        return [experiment.name for experiment in client.search_experiments()]

    found = answered(address(folder, uri), names, start=True)
    return sorted(name for name in found if is_name(name) and name != "Default")


def finished_run(folder: Path, uri: str | None, name: str) -> Path:
    """The folder with the model of the finished run whose ID or key begins with ``name``: the newest where a key has several.

    Raises:
        StoreError: there is none, or runs of several trials answer to the name.
    """
    if uri is None and not (folder / DATABASE).exists():
        raise StoreError(f"no run {name!r}: nothing is tracked in {folder} yet")
    if uri is None:
        settle(folder)
    place = address(folder, uri)

    def runs() -> list[tuple[str, Run]]:
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        finished = client.search_runs(experiments, "tags.state = 'finished'", ViewType.ACTIVE_ONLY, 50_000)
        return [(run.info.run_id, there) for run in finished if (there := meant(client, run)) is not None]

    client = answered(place, lambda: MlflowClient(tracking_uri=place), start=True)
    found = [
        run
        for own_id, run in answered(place, runs, start=True)
        if name and any(each.startswith(name) for each in (own_id, run.info.run_id, run.data.tags.get("key", "")))
    ]
    keys = {run.data.tags["key"]: run for run in reversed(found)}  # the newest comes first
    if len(keys) != 1:
        names = [f"{run.info.run_id[:8]} {run.data.tags['study']} {run.info.run_name}" for run in keys.values()]
        several = f"{len(keys)} trials answer to it: {', '.join(names[:5])}"
        raise StoreError(f"no finished run {name!r}: {several if keys else 'see the run IDs with bench ui'}")
    run = next(iter(keys.values()))
    for name in ("trial.toml", WEIGHTS):
        try:
            file = answered(place, partial(file_of, client, run.info.run_id, name))
            there = file.is_file()
        except StoreError:  # which a server has for a file that it lacks
            there = False
        if not there:
            raise StoreError(f"run {run.info.run_id} has no {name} any more, or came here without its weights")
        if not intact(run, name, file):
            raise StoreError(f"{name} of run {run.info.run_id} is damaged: train it again with --rerun")
    return file.parent
