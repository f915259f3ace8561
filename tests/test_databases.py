"""Databases: made whole, looked through, set aside, copied; and what the commands make of damaged ones."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from sqlalchemy import create_engine, text

from bench import databases
from bench.cli import main
from bench.paths import Paths
from bench.run.queue import open_storage
from bench.tracking.errors import StoreError
from bench.tracking.store import Store

TABLES = ("people",)


def make(url: str, rows: int = 2000) -> None:
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("create table people (name text)")
        database.executemany("insert into people values (?)", [(f"somebody {n}",) for n in range(rows)])
        database.commit()


def names(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        return int(database.execute("select count(*) from people").fetchone()[0])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "people.db"


def spoilt(file: Path, start: int, content: bytes) -> None:
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(content)


def half_made(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as database:
        database.execute("create table secrets (name text)")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "junk": lambda file: file.write_bytes(b"junk" * 1000),
    "empty": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[: file.stat().st_size // 2]),
    "header": lambda file: spoilt(file, 0, b"\xff" * 20),
    "a page": lambda file: spoilt(file, 8192, b"\xff" * 4096),
    "half made": half_made,
}


def test_a_database_is_made_once_and_whole(file: Path) -> None:
    assert databases.have(file, TABLES, make)
    assert not databases.have(file, TABLES, make)
    assert [path.name for path in file.parent.iterdir()] == ["people.db"]
    assert names(file) == 2000
    assert databases.damage(file, TABLES) == ""


def test_nothing_waits_for_the_disk_while_a_database_is_made_and_everything_does_after(file: Path) -> None:
    """A library makes its own in hundreds of statements, and the file is synced before it is moved to its place."""
    synced: list[int] = []

    def ask(url: str) -> None:
        engine = create_engine(url)
        with engine.begin() as connection:
            synced.append(int(connection.execute(text("pragma synchronous")).scalar_one()))
            connection.execute(text("create table people (name text)"))
        engine.dispose()

    def both(url: str) -> None:
        ask(url)
        ask(f"sqlite:///{file.parent / 'other.db'}")

    databases.have(file, TABLES, both)
    file.rename(file.with_name("gone.db"))
    file.with_name("other.db").unlink()
    ask(f"sqlite:///{file}")
    assert synced == [0, 2, 2], "OFF for the one that is made; FULL for another meanwhile, and for all afterwards"


def begun(url: str) -> None:
    """The first of its tables."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
        database.execute("create table secrets (name text)")
        database.commit()


def test_one_whose_making_was_killed_is_made_anew(file: Path) -> None:
    file.parent.mkdir()
    begun(f"sqlite:///{file.with_name('.people.db.partial')}")
    assert databases.have(file, TABLES, make)
    assert names(file) == 2000
    assert [path.name for path in file.parent.iterdir()] == ["people.db"]


def test_one_that_cannot_be_made_leaves_nothing(file: Path) -> None:
    """Nobody may come to need it again, and clear away what was begun."""

    def full(url: str) -> None:
        begun(url)
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        databases.have(file, TABLES, full)
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("copied", [True, False])
def test_a_damaged_one_is_named_and_set_aside_and_its_copy_takes_its_place(
    damage: str, copied: bool, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    databases.have(file, TABLES, make)
    if copied:
        databases.copy(file)
    DAMAGE[damage](file)
    Path(f"{file}-journal").write_bytes(b"of the damaged one")
    spoils = file.read_bytes()
    wrong = databases.damage(file, TABLES)
    assert wrong
    assert databases.have(file, TABLES, lambda url: make(url, 5), copied=True)
    assert names(file) == (2000 if copied else 5)
    assert databases.damage(file, TABLES) == ""
    (aside,) = [path for path in file.parent.iterdir() if ".damaged-" in path.name and "journal" not in path.name]
    assert aside.read_bytes() == spoils
    assert not Path(f"{file}-journal").exists()  # SQLite would have applied it to the new one
    (said,) = caplog.messages
    assert said.startswith(f"{file} is damaged ({wrong}) and was set aside as {aside.name}; ")
    assert said.endswith("has taken its place")


def test_of_one_that_is_gone_the_copy_takes_its_place(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    databases.have(file, TABLES, make)
    databases.copy(file)
    file.unlink()
    assert databases.have(file, TABLES, lambda url: make(url, 5), copied=True)
    assert names(file) == 2000
    assert caplog.messages[0].startswith(f"{file} is gone; its copy of 20")


def test_a_copy_is_whole_or_as_it_was_and_made_of_what_has_changed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.have(file, TABLES, make)
    databases.copy(file)
    copy = file.with_name("people.db.copy")
    before = copy.stat()
    databases.copy(file)
    assert copy.stat() == before
    with closing(sqlite3.connect(file)) as database:
        database.execute("insert into people values ('one more')")
        database.commit()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(databases, "_move", full)
        databases.copy(file)
    assert names(copy) == 2000
    databases.copy(file)
    assert names(copy) == 2001
    assert sorted(path.name for path in file.parent.iterdir()) == ["people.db", "people.db.copy"]


def test_one_that_somebody_writes_is_not_damaged(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.have(file, TABLES, make)
    monkeypatch.setattr(databases, "SECONDS", 0.1)
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("begin exclusive")
        assert databases.damage(file, TABLES) == ""


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("vouched", ["by looking through it", "by its driver"])
def test_one_that_is_as_it_was_is_not_looked_through_again_and_one_that_changed_is(
    damage: str, vouched: str, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    databases.have(file, TABLES, make)
    note = file.with_name("note")
    assert databases.damage(file, TABLES, note) == ""
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", None)  # no database is opened for it
        assert databases._is_noted(file, note)
    if vouched == "by its driver":
        with closing(sqlite3.connect(file)) as database:
            database.execute("insert into people values ('one more')")
            database.commit()
        assert not databases._is_noted(file, note)
        databases.vouch(file, note)
        assert databases._is_noted(file, note)
    DAMAGE[damage](file)  # at once: within the time that a disk's clock stands still
    assert databases.damage(file, TABLES, note)


def test_what_is_noted_holds_for_a_day_and_while_nobody_writes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.have(file, TABLES, make)
    note = file.with_name("note")
    databases.vouch(file, note)
    assert not note.exists()  # it was never looked through
    note.write_text("")  # another process is about to write it
    databases.vouch(file, note)
    assert not databases._is_noted(file, note)
    databases.damage(file, TABLES, note)
    now = time.time()
    for later, known in ((0, True), (databases.TRUSTED + 1, False), (-60, False)):
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda later=later: now + later)
            assert databases._is_noted(file, note) == known
    journal = file.with_name("people.db-journal")
    journal.write_bytes(b"")
    assert not databases._is_noted(file, note)
    journal.unlink()
    os.utime(file, (1e9, 1e9))  # of a disk that counts seconds
    assert databases.damage(file, TABLES, note) == ""
    assert not databases._is_noted(file, note)


@pytest.mark.parametrize("damage", DAMAGE)
def test_of_a_damaged_store_readers_say_so_and_the_next_driver_sets_it_aside(
    damage: str, paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    Store(paths.store, None, "x", "?", create=True)
    DAMAGE[damage](paths.store / "mlflow.db")
    with pytest.raises(StoreError, match=r"mlflow\.db is damaged \(.*\): bench doctor --fix sets it aside"):
        Store(paths.store, None, "x", "?", create=False)
    assert Store(paths.store, None, "x", "?", create=True).records() == {}
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_queue_is_made_anew(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    open_storage(url).engine.dispose()
    assert [path.name for path in tmp_path.iterdir()] == ["optuna.db"]
    DAMAGE[damage](tmp_path / "optuna.db")
    assert open_storage(url).get_all_studies() == []
    assert "optuna.db is damaged" in caplog.text


def test_doctor_names_damaged_databases_and_mends_them(inside: Paths) -> None:
    open_storage(inside.queue).engine.dispose()
    for name in ("mlflow.db", "optuna.db"):
        (inside.store / name).write_bytes(b"junk" * 1000)
    sick = CliRunner().invoke(main, ["doctor"], catch_exceptions=False)
    assert sick.exit_code == 1
    assert "mlflow.db is damaged (file is not a database): bench doctor --fix sets it aside" in sick.output
    assert "optuna.db is damaged (file is not a database): bench doctor --fix sets it aside" in sick.output
    assert sick.output.endswith("2 to fix\n")
    assert CliRunner().invoke(main, ["doctor", "--fix"], catch_exceptions=False).exit_code == 0
    assert CliRunner().invoke(main, ["doctor"], catch_exceptions=False).output.endswith("sound\n")
