"""A look at the runs without reading MLflow, which takes a second: what there is, for lists and for a shell that completes.

The store's own database is read as SQLite, as far as it is asked for; a server is asked through MLflow's client.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.score import LARGEST, Score
from bench.study.definition import Trial
from bench.text import is_name
from bench.tracking.errors import StoreError
from bench.tracking.names import DATABASE, FINAL, REFERS

if TYPE_CHECKING:
    from bench.tracking.store import Store

SECONDS = 5.0  # that a database is waited for which another process writes
TAGS = ("key", "trial", "state", "failure", REFERS)
RUNS = """
    select run_uuid, experiments.name, status, start_time from runs join experiments using (experiment_id)
    where runs.lifecycle_stage = 'active' and experiments.lifecycle_stage = 'active'
    and (:study is null or experiments.name = :study)
    and run_uuid in (select run_uuid from tags where key = 'key')
    and (:begin = '' or substr(run_uuid, 1, length(:begin)) = :begin
         or run_uuid in (select run_uuid from tags where key = 'key' and substr(value, 1, length(:begin)) = :begin))
    order by start_time desc limit :most
"""


@dataclass(frozen=True)
class Glimpse:
    """A run as a list shows it.

    Attributes:
        state: ``finished``, ``failed``, ``pruned``, ``interrupted`` or ``running``.
        holder: the run that holds what it came to: itself, or the run of another study that it refers to.
        started: in milliseconds since 1970.
        scores: what was measured, by metric.
    """

    run_id: str
    study: str
    trial: Trial
    key: str
    state: str
    failure: str
    holder: str
    started: int
    scores: Mapping[str, float] = field(default_factory=dict)


def glance(
    folder: Path, uri: str | None, study: str | None = None, *, begin: str = "", most: int = 1000
) -> list[Glimpse]:
    """The newest runs, the newest first: of one study or of all, those whose ID or key begins with ``begin``.

    Raises:
        StoreError: they cannot be read.
    """
    asked = {"study": study, "begin": begin, "most": most}
    if uri is not None:
        return _of_server(uri, study, begin, most)
    file = folder.resolve() / DATABASE
    if not file.exists():
        return []
    try:
        with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True, timeout=SECONDS)) as database:
            rows = database.execute(RUNS, asked).fetchall()
            tags = _by_run(database, "tags", [row[0] for row in rows], TAGS)
            meant = {run: own.get(REFERS, run) for run, own in tags.items()}
            scores = _by_run(database, "latest_metrics", sorted(set(meant.values())), None)
    except sqlite3.Error as error:
        raise StoreError(f"{file} cannot be read: {error}; bench doctor looks into it") from None
    found = []
    for run, name, status, started in rows:
        measured = {key: float(value) for key, value in scores.get(meant.get(run, run), {}).items()}
        found += _glimpse(run, name, status, started, tags.get(run, {}), measured)
    return found


def measured(store: Store, run_id: str) -> dict[str, Score]:
    """What was measured of a run, or why not, by metric, each with its protocol.

    Raises:
        StoreError: the store cannot be used.
    """
    from bench.tracking.reach import answered
    from bench.tracking.rows import scores

    return answered(store.uri, lambda: scores(store.client.get_run(run_id)))


def _by_run(
    database: sqlite3.Connection, table: str, runs: Iterable[str], keys: Iterable[str] | None
) -> dict[str, dict[str, str]]:
    """What a table holds of these runs under these keys, or of what was measured at the end."""
    which = f"key like '{FINAL}%'" if keys is None else f"key in ({', '.join('?' for _ in keys)})"
    found: dict[str, dict[str, str]] = {}
    for run in runs:
        rows = database.execute(f"select key, value from {table} where run_uuid = ? and {which}", (run, *(keys or ())))
        found[run] = dict(rows.fetchall())
    return found


def _glimpse(
    run: str, study: str, status: str, started: int, tags: Mapping[str, str], measured: Mapping[str, float]
) -> list[Glimpse]:
    """A run, if what it says of its trial can be read."""
    try:
        trial = Trial.from_dict(json.loads(tags["trial"]))
    except (KeyError, TypeError, ValueError):
        return []
    state = tags.get("state", "running")
    state = "interrupted" if status == "KILLED" and state == "running" else state
    values = {name.removeprefix(FINAL): value for name, value in measured.items() if name.startswith(FINAL)}
    scores = {name: value for name, value in values.items() if abs(value) <= LARGEST}
    return [
        Glimpse(run, study, trial, tags["key"], state, tags.get("failure", ""), tags.get(REFERS, run), started, scores)
    ]


def _of_server(uri: str, study: str | None, begin: str, most: int) -> list[Glimpse]:
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    from bench.tracking.reach import answered, check_address
    from bench.tracking.shared import meant

    check_address("MLFLOW_TRACKING_URI", uri)

    def ask() -> list[Glimpse]:
        client = MlflowClient(tracking_uri=uri)
        names = {each.experiment_id: each.name for each in client.search_experiments() if is_name(each.name)}
        wanted = [number for number, name in names.items() if study is None or name == study]
        if not wanted:
            return []
        found: list[Glimpse] = []
        runs = client.search_runs(wanted, "", ViewType.ACTIVE_ONLY, 50_000 if begin else most, ["start_time DESC"])
        for run in runs:
            tags = run.data.tags
            if "key" in tags and (run.info.run_id.startswith(begin) or tags["key"].startswith(begin)):
                there = meant(client, run) or run
                info = run.info
                name = names[info.experiment_id]
                found += _glimpse(info.run_id, name, info.status, info.start_time, tags, there.data.metrics)
        return found[:most]

    return answered(uri, ask, start=True)
