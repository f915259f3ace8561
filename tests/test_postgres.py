"""Optuna's queue in a PostgreSQL of this machine's own, and MLflow's own server before another database of it."""

from __future__ import annotations

import gc
import sys
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from optuna.storages._rdb.models import BaseModel

from bench.cli import main
from bench.executors import local
from bench.paths import Paths
from bench.run import driver, queue
from bench.run.driver import Driver
from bench.run.events import Epoch
from bench.run.queue import open_storage
from bench.study.catalogue import Catalogue
from bench.study.definition import StudyError, Trial
from bench.study.file import load
from bench.tracking import reach, writer
from bench.tracking.database import _let_go
from tests.faults.servers import Server
from tests.postgres import PASSWORD, USER, Postgres, postgres, programs
from tests.test_ray import drive, results

pytestmark = [
    pytest.mark.skipif(programs() is None, reason="PostgreSQL is not installed: apt-get install postgresql"),
    pytest.mark.skipif(find_spec("psycopg") is None, reason="psycopg is not installed: pip install -e '.[postgres]'"),
]


@dataclass
class Servers:
    """Both of them."""

    database: Postgres
    mlflow: Server


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    with pytest.MonkeyPatch.context() as patch, postgres("queue", "mlflow", options=("fsync=off",)) as database:
        patch.setenv("PGPASSWORD", PASSWORD)
        mlflow = Server(tmp_path_factory.mktemp("server"), database.address("mlflow"))
        mlflow.start()
        try:
            yield Servers(database, mlflow)
        finally:
            mlflow.kill()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setattr(writer, "RETRY_SECONDS", 0.2)
    monkeypatch.setattr(driver, "FLUSH_SECONDS", 0.2)


@pytest.fixture
def inside(inside: Paths, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """A folder whose runs go to the server."""
    text = inside.study("smoke").read_text().replace("seeds = 2", "seeds = 1")
    inside.study("smoke").write_text(text)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", servers.mlflow.address)
    return inside


def test_a_study_comes_to_what_it_comes_to_here_though_both_are_restarted_meanwhile(
    inside: Paths, servers: Servers, known: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    """To the last digit and byte; a second command trains nothing."""
    there = replace(inside, tracking=servers.mlflow.address, queue=servers.database.address("queue"))
    restarting: list[threading.Thread] = []

    def come_back() -> None:
        time.sleep(2)
        servers.database.start()
        servers.mlflow.start()

    def restart(trial: Trial, event: Any) -> None:
        if isinstance(event, Epoch) and event.progress.epoch == 1 and not restarting:
            servers.mlflow.kill()
            servers.database.stop()
            restarting.append(threading.Thread(target=come_back))
            restarting[0].start()

    study = load(inside.study("smoke"), known)
    outcome = drive(study, known, there, "local", restart)
    restarting[0].join()
    assert (len(outcome.finished), outcome.failed, outcome.notes, outcome.broken) == (2, [], [], "")
    assert any(said.startswith("the queue's database: ") for said in caplog.messages)
    assert drive(study, known, there, "local").finished == []
    drive(study, known, inside, "local")
    ours = results(there)
    assert len(ours) == 2
    assert ours == results(inside)
    states = servers.database.sql("select state, count(*) from trials group by state", "queue")
    assert states == [("COMPLETE", 2)]
    assert not list((inside.store / "checkpoints").iterdir())


def test_a_password_stands_in_nothing_that_is_said_or_kept(
    inside: Paths, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the line that goes on where the study was stopped, nor in its run's command."""

    def stopped(trials: Iterator[Trial | None], *_: Any) -> Generator[Any, Any, None]:
        yield next(trials), None
        raise KeyboardInterrupt

    monkeypatch.setattr(local, "run", stopped)
    address = servers.database.address("queue", PASSWORD)
    result = CliRunner().invoke(main, ["run", "study", "smoke", "--set", "epochs=1", "--storage", address])
    assert result.exit_code == 130, result.output
    shown = address.replace(f"{USER}:{PASSWORD}", "***")
    assert f"bench run study smoke --set epochs=1 --storage {shown}\n" in result.output
    kept = servers.database.sql("select value from tags union select value from params", "mlflow")
    assert kept
    assert not [text for text in (result.output, *map(str, kept)) if PASSWORD in text]


def test_a_study_has_one_driver_among_all_machines_that_share_a_queue(
    inside: Paths, servers: Servers, known: Catalogue, tmp_path: Path
) -> None:
    """Whose folders hold locks of their own."""
    there = replace(inside, tracking=servers.mlflow.address, queue=servers.database.address("queue"))
    elsewhere = replace(there, store=tmp_path / "elsewhere" / "mlruns")
    study = load(inside.study("smoke"), known)
    with Driver(study, known, there, "test"):
        other = Driver(replace(study, name="other"), known, elsewhere, "test")
        with (
            other,
            pytest.raises(StudyError, match="study smoke is being run by a driver elsewhere with the same queue"),
        ):
            Driver(study, known, elsewhere, "test").__enter__()
    with Driver(study, known, elsewhere, "test"):
        pass


def test_the_password_comes_from_a_file_of_the_users_own(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PGPASSWORD")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{servers.database.port}:*:{USER}:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    open_storage(servers.database.address("queue")).engine.dispose()


def test_two_drivers_make_the_tables_one_after_the_other(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> None:
    servers.database.sql("create database fresh", "queue")
    made, making, at_once = BaseModel.metadata.create_all, list[int](), list[int]()

    def slowly(engine: Any) -> None:
        making.append(1)
        at_once.append(len(making))
        time.sleep(0.3)
        made(engine)
        making.pop()

    monkeypatch.setattr(BaseModel.metadata, "create_all", slowly)
    address = servers.database.address("fresh")
    with ThreadPoolExecutor(2) as pool:
        for storage in pool.map(open_storage, [address] * 2):
            storage.engine.dispose()
    assert at_once == [1, 1]
    assert servers.database.sql("select count(*) from version_info", "fresh") == [(1,)]


WRONG = {
    "no database": ("nosuch", PASSWORD, 'database "nosuch" does not exist; createdb nosuch makes it'),
    "wrong password": (
        "queue",
        "wr0ng",
        f'password authentication failed for user "{USER}"; it is read from ~/.pgpass, or from PGPASSWORD',
    ),
}


@pytest.mark.parametrize("wrong", [*WRONG, "no encoding", "nobody there", "no driver", "which driver", "the other's"])
@pytest.mark.parametrize("store", ["queue", "runs"])
def test_what_cannot_be_used_is_one_line_without_a_password(
    wrong: str, store: str, inside: Paths, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, password, said = WRONG.get(wrong, ("queue", PASSWORD, ""))
    address = servers.database.address(database, password)
    if wrong == "nobody there":
        address, said = address.replace(str(servers.database.port), "1"), "Connection refused"
    elif wrong == "no encoding":
        if not servers.database.sql("select 1 from pg_database where datname = 'ascii'", "queue"):
            servers.database.sql("create database ascii encoding 'SQL_ASCII' template template0", "queue")
        address = servers.database.address("ascii", PASSWORD)
        said = "it is encoded in SQL_ASCII, in which text is bytes; createdb --encoding=UTF8"
    elif wrong == "no driver":
        monkeypatch.setitem(sys.modules, "psycopg", None)
        said = "; pip install -e '.[postgres]' brings that of postgresql+psycopg://"
    elif wrong == "the other's":
        open_storage(address).engine.dispose()
        address = servers.database.address("mlflow" if store == "queue" else "queue", PASSWORD)
        said = "the runs and the queue need a database each"
    elif wrong == "which driver":
        address = address.replace("+psycopg", "")
        said = "from version to version: postgresql+psycopg://"
    check_said(said, store, address, monkeypatch)


@pytest.mark.filterwarnings("ignore:<psycopg.Connection:ResourceWarning")  # of Optuna, which makes one and raises
@pytest.mark.parametrize(
    ("store", "said"),
    [("queue", "optuna storage upgrade"), ("runs", "run 'mlflow db upgrade <database_uri>' to migrate your database")],
)
def test_a_database_of_another_version_is_one_line(
    store: str, said: str, inside: Paths, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And is left as it is: others may use it."""
    database = "queue" if store == "queue" else "mlflow"
    open_storage(servers.database.address("queue")).engine.dispose()
    ((version,),) = servers.database.sql("select version_num from alembic_version", database)
    older = "v3.0.0.d" if store == "queue" else "0584bdc529eb"
    try:
        servers.database.sql(f"update alembic_version set version_num = '{older}'", database)
        check_said(said, store, servers.database.address(database, PASSWORD), monkeypatch)
        assert servers.database.sql("select version_num from alembic_version", database) == [(older,)]
    finally:
        servers.database.sql(f"update alembic_version set version_num = '{version}'", database)
    _let_go(servers.database.address(database, PASSWORD))
    gc.collect()


def check_said(said: str, store: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, in the one line of a command whose queue or runs lie at an address."""
    monkeypatch.setattr(reach, "SAY_SECONDS", 10.0)
    words = ["run", "study", "smoke", "--dry-run", "--storage", address]
    if store == "runs":
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        words = ["report", "smoke"]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2, result.output
    assert len(result.output.splitlines()) == 1
    assert said in result.output
    assert not any(secret in result.output for secret in (PASSWORD, "wr0ng"))


def test_a_server_that_does_not_come_back_is_waited_for_no_longer_than_it_may_be(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sqlalchemy.exc import OperationalError

    storage = open_storage(servers.database.address("queue"))
    storage.engine.dispose()
    monkeypatch.setattr(queue, "BACK_SECONDS", 0.0)
    servers.database.stop()
    try:
        with pytest.raises(OperationalError, match="Connection refused"):
            storage.engine.connect()
    finally:
        servers.database.start()
