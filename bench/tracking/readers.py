"""The way to a store: by SQL alone where that reads it, and else through MLflow, which takes two seconds to be imported."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bench.tracking import hush
from bench.tracking.reach import check_address
from bench.tracking.reader import Reader
from bench.tracking.sql import SqlReader, serves

if TYPE_CHECKING:
    from mlflow import MlflowClient


def reader(uri: str) -> Reader:
    """Of the store at ``uri``: a SQLite file whose layout is known needs no MLflow.

    Raises:
        StoreError: it is an address that `check_address` refuses.
    """
    check_address("MLFLOW_TRACKING_URI", uri)
    if uri.startswith("sqlite:///"):
        file = Path(uri.removeprefix("sqlite:///").partition("?")[0])
        if not file.exists() or serves(file):
            return SqlReader(file)
    from bench.tracking.client import ClientReader

    return ClientReader(client(uri))


@cache
def client(uri: str) -> MlflowClient:
    """MLflow's own for the store at ``uri``, one for each process."""
    from mlflow import MlflowClient

    hush()
    if not uri.startswith(("sqlite:", "http", "file:")) and "://" in uri:
        _connect(uri)
    return MlflowClient(tracking_uri=uri)


def _connect(uri: str) -> None:
    """See that a database is there: of one that is not, MLflow says nothing for minutes."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(uri)
    try:
        engine.connect().close()
    finally:
        engine.dispose()
