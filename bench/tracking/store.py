"""The runs of a study, read."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from bench.text import escaped
from bench.tracking.database import address, check_database, have_database, keep, mend_database
from bench.tracking.errors import StoreError
from bench.tracking.names import FINAL
from bench.tracking.protocols import FILE, unpacked
from bench.tracking.reach import asking
from bench.tracking.reader import Experiment, Point, Run
from bench.tracking.readers import client, reader
from bench.tracking.rows import ORIGIN, Record, ended_as, records_of, row
from bench.tracking.run_files import file_of, intact, listed
from bench.tracking.shared import meant

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

CURVES = ("train/", "train_eval/", "test/", "validation/")  # what begin the names of losses by epoch
# Columns of a table, the metric by epoch that each is of, and which of its middles: what an epoch takes, and a share of a sum.
PER_EPOCH: tuple[tuple[str, str, Callable[[list[float]], float]], ...] = (
    ("seconds_per_epoch", "time/epoch_s", median),
    ("processor_wh_per_epoch", "energy/processor_wh", fmean),
    ("gpu_wh_per_epoch", "energy/gpu_wh", fmean),
)
DRAWN = re.compile(r"images/(.+?)[+%]step[+%](\d+)[+%].*\.png")  # as MLflow names the images of a step


class Store:
    """The runs of one experiment.

    Raises:
        StoreError: the store cannot be reached.
    """

    def __init__(
        self, folder: Path, uri: str | None, study: str, question: str, *, create: bool, mend: bool = False
    ) -> None:
        """Open the experiment ``study`` in ``uri``, or in ``folder``'s own database where that is None.

        Args:
            create: make what is not there, see `create`.
            mend: set a database aside that is damaged; whoever creates does.
        """
        self.local = uri is None
        self.uri = address(folder, uri)
        self.study = study
        self.folder = folder
        self._unreadable: set[str] = set()
        self._addresses: dict[str, str] = {}  # of the files of runs that were read
        if self.local and (odd := set("%?#") & set(str(folder.resolve()))):
            raise StoreError(f"{folder.resolve()} holds {' '.join(odd)}, which an SQLite address cannot; run elsewhere")
        self.experiment_id = self._open(mend=create or mend)
        if create:
            self.create(question)

    @cached_property
    def client(self) -> MlflowClient:
        """MLflow's own, for all that is written."""
        return client(self.uri)

    @asking(start=True)
    def create(self, question: str) -> None:
        """Make what is not there: the store's own database, the study's experiment, its question."""
        if self.local:
            have_database(self.folder)
        found = self._experiment()
        if found is None:
            place = (self.folder.resolve() / "artifacts" / self.study).as_uri() if self.local else None
            self.client.create_experiment(self.study, artifact_location=place)
            self.reader = reader(self.uri)
            found = self._experiment()
        assert found is not None
        self.experiment_id = found.experiment_id
        if found.tags.get("question") != question:  # what was found of another is no answer any more
            for name, value in {"question": question, "mlflow.note.content": escaped(question)}.items():
                self.client.set_experiment_tag(found.experiment_id, name, value)  # the latter is Markdown

    @asking(start=True)
    def _open(self, *, mend: bool) -> str | None:
        """The ID of the study's experiment, restored where need be; None where there is none."""
        if self.local:
            (mend_database if mend else check_database)(self.folder)
        self.reader = reader(self.uri)
        found = self._experiment()
        if found is not None and not found.active:
            self.client.restore_experiment(found.experiment_id)
        return found.experiment_id if found is not None else None

    @asking()
    def records(self) -> dict[str, Record]:
        """The newest finished run of every key, or the newest of any state where none has finished."""
        return records_of(self._runs())

    @asking()
    def losses(self, run_id: str, split: str) -> dict[int, float]:
        """The loss on a split after every epoch of a run."""
        return {each.step: each.value for each in self.reader.histories([run_id], [f"{split}/loss"]) if each.step}

    @asking()
    def open_runs(self) -> list[str]:
        """The runs that are not ended, or not wholly: MLflow's status is not what their state says."""
        return [run.run_id for run in self._own() if run.status != ended_as(run)]

    @asking()
    def close_orphans(self) -> None:
        """End every run as far as its driver, which is dead, had come with it; whoever calls this holds the study's lock.

        A run whose last word was that it is finished is finished, though MLflow was not told any more. One that refers to a run
        which is no more is removed.
        """
        own = self._own()
        for run, there in zip(own, meant(self.reader, own), strict=True):
            if there is None:
                self.remove(run.run_id)
                continue
            if "key" in run.tags and run.tags.get("state", "running") == "running":
                self.client.set_tag(run.run_id, "state", "interrupted")
            if run.status != (status := ended_as(run)):
                self.client.set_terminated(run.run_id, status, run.ended)

    @asking()
    def chosen(self) -> list[Run]:
        """One run of every key, the newest first: of several, the one `records` names."""
        runs = self._runs()
        chosen = {each.run_id for each in records_of(runs).values()}
        return [run for run in runs if run.run_id in chosen]

    @asking()
    def table(self) -> pd.DataFrame:
        """One row per trial, as `bench.report.page` wants it."""
        import pandas as pd

        runs, epochs = self.chosen(), dict[tuple[str, str], list[float]]()
        for each in self.reader.histories([run.run_id for run in runs], ["time/epoch_s", "energy/"]):
            if each.step:
                epochs.setdefault((each.run_id, each.name), []).append(each.value)
        rows = []
        for run in runs:
            found = {**row(run), "started": pd.Timestamp(run.started, unit="ms", tz="UTC")}
            for column, name, middle in PER_EPOCH:
                values = epochs.get((run.run_id, name))
                found[column] = middle(values) if values else None
            rows.append(found)
        return pd.DataFrame(rows)

    @asking()
    def curves(self, run_ids: Iterable[str]) -> pd.DataFrame:
        """Every loss term of these runs by epoch: ``run_id, name, step, value``."""
        import pandas as pd

        points = list(zip(*self.reader.histories(list(run_ids), CURVES), strict=True)) or [()] * len(Point._fields)
        return pd.DataFrame(dict(zip(Point._fields, points, strict=True))).drop(columns="moment")

    @asking()
    def pictures(self, run_ids: Iterable[str]) -> dict[str, dict[str, bytes]]:
        """The final pictures of these runs, PNG by file name."""
        wanted = list(run_ids)
        found, pictures = self.reader.named(wanted), dict[str, dict[str, bytes]]()
        for run_id in wanted:
            run, pictures[run_id] = found[run_id], {}
            names = listed(run_id, run.artifacts, "final", self.uri)
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
        for path in listed(run_id, self._address(run_id), "images", self.uri):
            if match := DRAWN.fullmatch(path):
                found[match[1].replace("~", "/"), int(match[2])] = path
        return found

    @asking()
    def lacking(self, run: Run, names: Iterable[str]) -> list[str]:
        """Those of the files ``names`` of another run of the same trial, in whose place ``run`` has none, sorted.

        Of a picture that both drew while they trained each has a name of its own; thumbnails and protocols do not count.
        """

        def kind(path: str) -> str:
            drawn = DRAWN.fullmatch(path)
            return f"images/{drawn[1]} of epoch {drawn[2]}" if drawn else path

        asked = [name for name in names if not (name.endswith("compressed.webp") or FILE.fullmatch(name))]
        folders = {name.rpartition("/")[0] for name in asked}
        have = {kind(path) for folder in folders for path in listed(run.run_id, run.artifacts, folder, self.uri)}
        return sorted(name for name in asked if kind(name) not in have)

    @asking()
    def artifact(self, run_id: str, name: str) -> Path:
        """One of the run's files: where it lies, or a copy that this process removes at its end."""
        return file_of(run_id, self._address(run_id), name, self.uri)

    def artifacts(self, run_id: str) -> Path:
        """The folder of all of the run's files: where they lie, or a copy that this process removes at its end."""
        return file_of(run_id, self._address(run_id), "", self.uri)

    def unfinished_imports(self) -> list[str]:
        """Runs that were being written from a file when that was stopped."""
        return [run.run_id for run in self._own() if ORIGIN in run.tags and "key" not in run.tags]

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
        """Keep a copy of the store's own database, which is sound, for when it is not."""
        if self.local:
            keep(self.folder)

    @asking()
    def tags(self) -> dict[str, str]:
        """What stands in the experiment's tags: its question, and what MLflow's UI shows of it."""
        found = self._experiment()
        return dict(found.tags) if found else {}

    def question(self) -> str:
        """What the study asks."""
        return self.tags().get("question", "")

    def _experiment(self) -> Experiment | None:
        return next((each for each in self.reader.experiments() if each.name == self.study), None)

    def _address(self, run_id: str) -> str:
        """Of a run's files.

        Raises:
            StoreError: there is no such run.
        """
        if run_id not in self._addresses:
            if not (found := self.reader.named([run_id])):
                raise StoreError(f"no run {run_id} in {self.uri}")
            self._addresses[run_id] = found[run_id].artifacts
        return self._addresses[run_id]

    def _runs(self) -> list[Run]:
        """The study's runs, the newest first; in place of one that refers to another study's, that one."""
        found = [unpacked(run, self.uri) for run in meant(self.reader, self._own()) if run is not None]
        self._addresses |= {run.run_id: run.artifacts for run in found}
        return found

    def _own(self) -> list[Run]:
        runs = self.reader.runs([self.experiment_id]) if self.experiment_id is not None else []
        return [run for run in runs if "key" not in run.tags or self._readable(run)]

    def _readable(self, run: Run) -> bool:
        """One that is not is left out and said, once: its trial is trained again, in a run of its own."""
        if run.readable:
            return True
        if run.run_id not in self._unreadable:
            self._unreadable.add(run.run_id)
            log.warning("run %s of %s is damaged and is left out", run.run_id, self.study)
        return False
