"""The store's own database: where it is, that it is there, and that it is sound."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock
from mlflow import MlflowClient
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

from bench import databases
from bench.tracking.errors import StoreError

DATABASE = "mlflow.db"  # the name of a store's own
TABLES = ("alembic_version", "experiments", "runs", "tags", "params", "metrics", "latest_metrics")


def address(folder: Path, uri: str | None) -> str:
    """Where MLflow finds the runs: ``uri``, or the database in ``folder`` where that is None."""
    return uri or f"sqlite:///{folder.resolve()}/{DATABASE}"


def have_database(folder: Path, *, mend: bool) -> None:
    """See that the store's own database is there and sound.

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


def _make(uri: str) -> None:
    MlflowClient(tracking_uri=uri).search_experiments(max_results=1)
    _let_go(uri)


def _let_go(uri: str) -> None:
    """Close every connection to a database, which MLflow keeps for ever."""
    if uri in SqlAlchemyStore._engine_map:
        SqlAlchemyStore._engine_map[uri].dispose()
