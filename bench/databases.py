"""SQLite files: made beside their place and moved there whole, looked through before they are used, set aside where damaged."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection
from contextlib import closing, suppress
from pathlib import Path

from bench.files import sync

log = logging.getLogger(__name__)

BESIDE = (
    "-journal",
    "-wal",
    "-shm",
)  # what SQLite keeps beside a file, and would apply to another that takes its place
SECONDS = 60.0  # that a database is waited for which another process holds


def damage(file: Path, tables: Collection[str]) -> str:
    """What is wrong with a database; empty where nothing is, where there is none, or where it cannot be opened at all.

    A page that SQLite cannot read is found, and a table that is missing; a digit that was changed in a value is not.

    Args:
        tables: that must be there: an empty file is a database too, and one that was not made to its end lacks some.
    """
    if not file.exists():
        return ""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=rw", uri=True, timeout=SECONDS)) as database:
            found = str(database.execute("pragma quick_check(1)").fetchone()[0]).partition("\n")[0]
            here = {row[0] for row in database.execute("select name from sqlite_master where type = 'table'")}
    except sqlite3.OperationalError:  # locked, no file, no permission: whoever opens it for use says so
        return ""
    except sqlite3.DatabaseError as error:
        return str(error)
    lacking = sorted(set(tables) - here)
    return found if found != "ok" else f"it lacks {', '.join(lacking)}" if lacking else ""


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
    if copied and _copy(file).exists() and not damage(_copy(file), tables):
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(_copy(file).stat().st_mtime))
        log.warning("%s; its copy of %s has taken its place", said or f"{file} is gone", made)
        shutil.copyfile(_copy(file), partial)
    else:
        if said:
            log.warning("%s; an empty one has taken its place", said)
        make(f"sqlite:///{partial.resolve()}")
    _move(partial, file)
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


def _move(file: Path, place: Path) -> None:
    """Move a database, that nobody has open, to a place where none is."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())
    for ending in BESIDE:
        Path(f"{place}{ending}").unlink(missing_ok=True)
    file.replace(place)
    sync(place.parent)
