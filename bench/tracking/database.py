"""The store's own database: where it is, that it is there, and that it is sound."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from filelock import FileLock

from bench import databases
from bench.tracking import hush
from bench.tracking.errors import StoreError
from bench.tracking.names import DATABASE

# Where MLflow keeps paths; its own client has no way to change them.
PATHS = (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("logged_models", "artifact_location"))
TABLES = ("alembic_version", "experiments", "runs", "tags", "params", "metrics", "latest_metrics")


def address(folder: Path, uri: str | None) -> str:
    """Where MLflow finds the runs: ``uri``, or the database in ``folder`` where that is None."""
    return uri or f"sqlite:///{folder.resolve()}/{DATABASE}"


def settle(folder: Path) -> None:
    """See that a store which was moved, or copied, knows where its files lie now: MLflow keeps absolute paths.

    A database that cannot be read is left to whoever reads it.

    Raises:
        StoreError: it was moved, and cannot be written.
    """
    if not (folder.resolve() / DATABASE).exists():
        return
    here = folder.resolve().as_uri()
    try:
        with closing(sqlite3.connect(folder.resolve() / DATABASE, timeout=databases.SECONDS)) as database, database:
            try:
                locations = [row[0] for row in database.execute("select artifact_location from experiments")]
            except sqlite3.Error:
                return
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


def check_database(folder: Path) -> None:
    """See that the store's own database is sound, if there is one, and knows where it is.

    Raises:
        StoreError: it is damaged.
    """
    if wrong := databases.damage(folder.resolve() / DATABASE, TABLES, _note(folder)):
        raise StoreError(
            f"{folder.resolve() / DATABASE} is damaged ({wrong}): "
            "bench doctor --fix sets it aside, and so does the next bench run"
        )
    settle(folder)


def mend_database(folder: Path) -> None:
    """Set the store's own database aside where it is damaged, and let the copy that the last driver made take its place, or an
    empty one; the copy too where it is gone.

    Raises:
        OSError: it cannot be written.
    """
    file = folder.resolve() / DATABASE
    if databases.damage(file, TABLES, _note(folder)) or (not file.exists() and databases.has_copy(file)):
        have_database(folder)
    settle(folder)


def have_database(folder: Path) -> None:
    """See that the store has a database of its own, sound, and that it knows where it is.

    Raises:
        OSError: it cannot be written.
    """
    file = folder.resolve() / DATABASE
    if not file.exists() or databases.damage(file, TABLES, _note(folder)):
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "locks" / "databases.lock"):
            if databases.have(file, TABLES, _make, copied=True):
                _let_go(f"sqlite:///{file}")
    settle(folder)


def keep(folder: Path) -> None:
    """Keep a copy of the store's own database, which takes its place should it be damaged, and note that it is sound.

    It was when this process opened it, and SQLite alone has changed it since.
    """
    databases.copy(folder / DATABASE)
    databases.vouch(folder / DATABASE, _note(folder))


def _note(folder: Path) -> Path:
    return folder / "locks" / f"{DATABASE}.sound"


def _make(uri: str) -> None:
    from mlflow import MlflowClient

    hush()
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    _let_go(uri)


def _let_go(uri: str) -> None:
    """Close every connection to a database, which MLflow keeps for ever."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    if uri in SqlAlchemyStore._engine_map:
        SqlAlchemyStore._engine_map[uri].dispose()
