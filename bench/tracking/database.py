"""The store's own database: where it is, that it is there, and that it is sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from bench import databases
from bench.tracking.errors import StoreError
from bench.tracking.names import DATABASE as DATABASE

# Where MLflow keeps paths; its own client has no way to change them.
PATHS = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
TABLES = ("alembic_version", "experiments", "runs", "tags", "params", "metrics", "latest_metrics")


def address(folder: Path, uri: str | None) -> str:
    """Where MLflow finds the runs: ``uri``, or the database in ``folder`` where that is None."""
    return uri or f"sqlite:///{folder.resolve()}/{DATABASE}"


def settle(folder: Path) -> None:
    """See that a store which was moved, or copied, knows where its files lie now: MLflow keeps absolute paths.

    Raises:
        StoreError: it was moved, and cannot be written.
    """
    here = folder.resolve().as_uri()
    try:
        with closing(sqlite3.connect(folder.resolve() / DATABASE, timeout=databases.SECONDS)) as database, database:
            locations = [row[0] for row in database.execute("select artifact_location from experiments")]
            # Every experiment of ours lies in <store>/artifacts/<study>.
            old = {location.rpartition("/artifacts/")[0] for location in locations if "/artifacts/" in location}
            for place in old - {here}:
                for table, column in PATHS:
                    database.execute(
                        f"update {table} set {column} = ? || substr({column}, ?) where {column} like ? || '/%'",
                        (here, len(place) + 1, place),
                    )
    except sqlite3.Error as error:
        raise StoreError(f"{folder} was moved, and the paths in its {DATABASE} cannot be put right: {error}") from None


def have_database(folder: Path, *, mend: bool) -> None:
    """See that the store's own database is there and sound, and knows where it is.

    Args:
        mend: set one aside that is not; the copy of it that the last driver made takes its place, or an empty one.

    Raises:
        StoreError: it is damaged.
        OSError: it cannot be written.
    """
    file = folder.resolve() / DATABASE
    wrong = databases.damage(file, TABLES)
    if wrong and not mend:
        raise StoreError(
            f"{file} is damaged ({wrong}): bench doctor --fix sets it aside, and so does the next bench run"
        )
    if wrong or not file.exists():
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "locks" / "databases.lock"):
            if databases.have(file, TABLES, _make, copied=True):
                _let_go(f"sqlite:///{file}")
    settle(folder)


def _make(uri: str) -> None:
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    _let_go(uri)


def _let_go(uri: str) -> None:
    """Close every connection to a database, which MLflow keeps for ever."""
    if uri in SqlAlchemyStore._engine_map:
        SqlAlchemyStore._engine_map[uri].dispose()
