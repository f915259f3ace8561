"""Runs read from a SQLite file as MLflow lays them out there, without MLflow: so many queries, however many runs there are."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from bench import databases
from bench.tracking.names import RUN_NAME
from bench.tracking.reader import DataNote, Experiment, Point, Run

SCHEMAS = ("dc11669786a5",)  # of MLflow, as its table alembic_version names them, that these queries were written for
AT_ONCE = 10_000  # rows of histories that are held at a time
LAST = "\U0010ffff"  # no name goes on with it: names that begin alike end before it

# `json_each` takes a list of any length as one value.
RUNS = """
    select run_uuid, experiment_id, name, status, start_time, end_time, artifact_uri from runs
    where lifecycle_stage = 'active' and {which} order by start_time is null, start_time desc, run_uuid
"""
IN_EXPERIMENTS = "experiment_id in (select value from json_each(:experiments))"
WITH_KEYS = (
    "run_uuid in (select run_uuid from tags where key = 'key' and value in (select value from json_each(:keys)))"
)
FINISHED = """
    exists (select 1 from tags where tags.run_uuid = runs.run_uuid and tags.key = 'state' and tags.value = 'finished')
"""
WITH_IDS = "run_uuid in (select value from json_each(:ids))"
WORDS = f"select run_uuid, key, value from {{table}} where {WITH_IDS}"
LATEST = f"select run_uuid, key, value, is_nan from latest_metrics where {WITH_IDS}"
DATA = """
    select destination_id, name, digest, dataset_source from inputs join datasets on source_id = dataset_uuid
    where destination_type = 'RUN' and destination_id in (select value from json_each(:ids))
    order by destination_id, name, digest
"""
HISTORIES = f"""
    select run_uuid, key, step, value, is_nan, timestamp from metrics where {WITH_IDS} and ({{names}})
    order by run_uuid, key, step, timestamp, value
"""

Value = TypeVar("Value", str, float)


class SqlReader:
    """A `bench.tracking.reader.Reader` of a SQLite file, which may not be there.

    Every question opens the file and lets go of it: any thread may ask, and no writer waits long.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def experiments(self) -> list[Experiment]:
        """All of them, deleted ones too."""
        if not self._file.exists():
            return []
        with self._opened() as database:
            tags: dict[int, dict[str, str]] = {}
            for number, name, value in database.execute("select experiment_id, key, value from experiment_tags"):
                tags.setdefault(number, {})[name] = value
            rows = database.execute("select experiment_id, name, lifecycle_stage from experiments order by 1")
            return [
                Experiment(str(number), name, stage == "active", tags.get(number, {})) for number, name, stage in rows
            ]

    def runs(self, experiments: Collection[str]) -> list[Run]:
        """Those of experiments by their IDs, the newest first."""
        return self._runs(IN_EXPERIMENTS, experiments=map(int, experiments))

    def finished(self, experiments: Collection[str], keys: Collection[str] | None = None) -> list[Run]:
        """Those that say of themselves that they are finished, of these trials or of all, the newest first."""
        if not experiments or (keys is not None and not keys):
            return []
        which = f"{IN_EXPERIMENTS} and {FINISHED}" + (f" and {WITH_KEYS}" if keys is not None else "")
        return self._runs(which, experiments=map(int, experiments), keys=keys or ())

    def named(self, run_ids: Collection[str]) -> dict[str, Run]:
        """Those of these IDs that there are."""
        return {run.run_id: run for run in self._runs(WITH_IDS, ids=run_ids)}

    def histories(self, run_ids: Collection[str], names: Collection[str]) -> Iterator[Point]:
        """All values of these metrics, in the order of run IDs, names, steps, moments and values."""
        if not names or not self._file.exists():
            return
        given = {"ids": json.dumps(list(run_ids))}
        wanted = []
        for number, name in enumerate(names):
            given |= {f"from{number}": name, f"to{number}": name + LAST}
            wanted.append(f"key = :from{number}" if name[-1] != "/" else f"key >= :from{number} and key < :to{number}")
        with self._opened() as database:
            rows = database.execute(HISTORIES.format(names=" or ".join(wanted)), given)
            while some := rows.fetchmany(AT_ONCE):
                for run, name, step, value, is_nan, moment in some:
                    yield Point(run, name, step, math.nan if is_nan else value, moment)

    def _runs(self, which: str, **given: Iterable[object]) -> list[Run]:
        if not self._file.exists():
            return []
        with self._opened() as database:
            asked = {name: json.dumps(list(values)) for name, values in given.items()}
            rows = database.execute(RUNS.format(which=which), asked).fetchall()
            own = {"ids": json.dumps([row[0] for row in rows])}
            tags: dict[str, dict[str, str]]
            tags, params = (
                _by_run(rows, database.execute(WORDS.format(table=each), own)) for each in ("tags", "params")
            )
            latest = database.execute(LATEST, own)
            metrics: dict[str, dict[str, float]]
            metrics = _by_run(rows, ((run, name, math.nan if nan else value) for run, name, value, nan in latest))
            data: dict[str, DataNote] = {}
            for run, *words in database.execute(DATA, own):
                data.setdefault(run, DataNote(*words))
        return [
            Run(
                run,
                str(experiment),
                name or tags[run].get(RUN_NAME, ""),
                status,
                started,
                ended,
                artifacts,
                tags[run],
                params[run],
                metrics[run],
                data.get(run),
            )
            for run, experiment, name, status, started, ended, artifacts in rows
        ]

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """The file as it is at one moment: nothing that is read in it is newer than anything else."""
        with closing(_connect(self._file)) as database:
            database.execute("begin")
            yield database


def serves(file: Path) -> bool:
    """Whether a file is laid out as these queries have it."""
    with suppress(sqlite3.Error), closing(_connect(file)) as database:
        return [row[0] for row in database.execute("select version_num from alembic_version")] in [[s] for s in SCHEMAS]
    return False


def _connect(file: Path) -> sqlite3.Connection:
    uri = f"{file.resolve().as_uri()}?mode=ro"
    return sqlite3.connect(uri, uri=True, timeout=databases.SECONDS, isolation_level=None)


def _by_run(runs: Iterable[tuple[str, ...]], rows: Iterable[tuple[str, str, Value]]) -> dict[str, dict[str, Value]]:
    found: dict[str, dict[str, Value]] = {run[0]: {} for run in runs}
    for run, name, value in rows:
        found[run][name] = value
    return found
