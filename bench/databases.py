"""SQLite files: made beside their place and moved there whole, looked through before they are used, set aside where damaged.

To look through one takes the longer the larger it is. One that is as it was when it was last known to be sound is not looked
through again for a day.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from bench.files import sync

log = logging.getLogger(__name__)

BESIDE = (
    "-journal",
    "-wal",
    "-shm",
)  # what SQLite keeps beside a file, and would apply to another that takes its place
SECONDS = 60.0  # that a database is waited for which another process holds
TRUSTED = 86_400.0  # seconds after which a database is looked through again, though its own driver alone has changed it
TICK = 20_000_000  # nanoseconds within which two changes of a file may bear the same time


def damage(file: Path, tables: Collection[str], note: Path | None = None) -> str:
    """What is wrong with a database; empty where nothing is, where there is none, or where it cannot be opened at all.

    A page that SQLite cannot read is found, and a table that is missing; a digit that was changed in a value is not.

    Args:
        tables: that must be there: an empty file is a database too, and one that was not made to its end lacks some.
        note: a file in which `vouch` has noted in what state the database was sound; pages are not looked through in that state.
    """
    if not file.exists():
        return ""
    known = note is not None and _is_noted(file, note)
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=SECONDS)) as database:
            found = "ok"
            if not known:
                found = str(database.execute("pragma quick_check(1)").fetchone()[0]).partition("\n")[0]
            here = {row[0] for row in database.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.OperationalError:  # locked, no file, no permission: whoever opens it for use says so
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    lacking = sorted(set(tables) - here)
    wrong = found if found != "ok" else f"it lacks {', '.join(lacking)}" if lacking else ""
    if note is not None and not (known or wrong):
        vouch(file, note, time.time())
    return wrong


def vouch(file: Path, note: Path, looked_through: float | None = None) -> None:
    """Note that a database is sound as it stands: it has been looked through, or was sound and SQLite alone has changed it.

    Args:
        looked_through: when, in seconds since 1970; as it was noted before where None.
    """
    with suppress(OSError, ValueError):  # where nothing can be noted, it is looked through the next time
        while 0 <= time.time_ns() - file.stat().st_mtime_ns < TICK:
            time.sleep(TICK / 1e9)  # a change that follows must not bear the time of the last
        when = looked_through if looked_through is not None else float(note.read_text().partition(" ")[0])
        note.parent.mkdir(parents=True, exist_ok=True)
        note.write_text(f"{when} {_state(file)}")


def _is_noted(file: Path, note: Path) -> bool:
    try:
        when, state = note.read_text().split(maxsplit=1)
        return 0 <= time.time() - float(when) < TRUSTED and state == _state(file)
    except (OSError, ValueError):
        return False


def _state(file: Path) -> str:
    """What tells a file's content from any other that it had or will have, as far as that shows without reading it.

    Empty where it does not show: something is being written, or the disk knows the time of a change in seconds alone.
    """
    about = file.stat()
    if about.st_mtime_ns % 10**9 == 0 or any(Path(f"{file}{ending}").exists() for ending in BESIDE):
        return ""
    with file.open("rb") as opened:
        changes = opened.read(100)[24:28].hex()  # as SQLite counts them
    return f"{about.st_ino} {about.st_size} {about.st_mtime_ns} {changes}"


def have(file: Path, tables: Collection[str], make: Callable[[str], None], *, copied: bool = False) -> bool:
    """See that a sound database stands at ``file``; whether another file stands there than before. Call it under a lock.

    A damaged one is set aside under another name, and that is said. Its last copy takes its place where there is one, or one
    that ``make``, given the address of a database that is not there, makes.

    Args:
        copied: whether `copy` is ever called, so that there may be a copy.

    Raises:
        OSError: it cannot be written.
    """
    said = ""
    if wrong := damage(file, tables):
        said = f"{file} is damaged ({wrong}) and was set aside as {set_aside(file).name}"
    if file.exists():
        return False
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    _remove(partial)
    try:
        if copied and _copy(file).exists() and not damage(_copy(file), tables):
            made = time.strftime("%Y-%m-%d %H:%M", time.localtime(_copy(file).stat().st_mtime))
            log.warning("%s; its copy of %s has taken its place", said or f"{file} is gone", made)
            shutil.copyfile(_copy(file), partial)
        else:
            if said:
                log.warning("%s; an empty one has taken its place", said)
            with _unsynced(partial.resolve()):
                make(f"sqlite:///{partial.resolve()}")
        _move(partial, file)
    except BaseException:  # it would lie there for as long as nobody needs this database
        with suppress(OSError):
            _remove(partial)
        raise
    return True


def copy(file: Path) -> None:
    """Keep a copy beside a database that has changed, whole or as it was; where there is no room for one, there is none."""
    partial = _copy(file).with_name(f".{_copy(file).name}.partial")
    try:
        if _copy(file).exists() and _copy(file).stat().st_mtime > file.stat().st_mtime:
            return
        _remove(partial)
        with (
            closing(sqlite3.connect(file, timeout=SECONDS)) as database,
            closing(sqlite3.connect(partial, timeout=SECONDS)) as target,
        ):
            database.backup(target)
        _move(partial, _copy(file))
    except (OSError, sqlite3.Error):
        with suppress(OSError):
            _remove(partial)


def has_copy(file: Path) -> bool:
    """Whether `copy` has made one of a database."""
    return _copy(file).exists()


def set_aside(file: Path) -> Path:
    """Rename a database, with what SQLite keeps beside it; the name that it has now.

    Raises:
        OSError: it cannot be renamed.
    """
    stem, number = f"{file.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}", 1
    aside = file.with_name(stem)
    while aside.exists():
        number += 1
        aside = file.with_name(f"{stem}-{number}")
    for ending in BESIDE:
        beside = Path(f"{file}{ending}")
        if beside.exists():
            beside.rename(f"{aside}{ending}")
    file.rename(aside)
    sync(file.parent)
    return aside


def _copy(file: Path) -> Path:
    return file.with_name(f"{file.name}.copy")


def _remove(file: Path) -> None:
    for ending in ("", *BESIDE):
        Path(f"{file}{ending}").unlink(missing_ok=True)


@contextmanager
def _unsynced(file: Path) -> Iterator[None]:
    """Have SQLAlchemy, by which both libraries make theirs, not wait for the disk while a database is made at ``file``.

    `_move` waits for it once, at the end, and what was made in part is never used. To wait after each of hundreds of statements
    took longer than all the rest of a study's beginning.
    """
    from sqlalchemy import Engine, event

    def hurry(connection: sqlite3.Connection, record: object) -> None:
        if [row[2] for row in connection.execute("PRAGMA database_list")] == [str(file)]:
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("PRAGMA journal_mode = MEMORY")

    event.listen(Engine, "connect", hurry)
    try:
        yield
    finally:
        event.remove(Engine, "connect", hurry)


def _move(file: Path, place: Path) -> None:
    """Move a database, that nobody has open, to a place where none is."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
    for ending in BESIDE:
        Path(f"{place}{ending}").unlink(missing_ok=True)
    file.replace(place)
    sync(place.parent)
