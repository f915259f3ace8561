"""The file that queues lie in, looked at without Optuna, which takes more than a second to be imported."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from bench import databases

TABLES = (
    "alembic_version",
    "studies",
    "trials",
    "trial_params",
    "trial_user_attributes",
    "trial_values",
    "version_info",
)
SQLITE = "sqlite:///"
OPEN = """
    select count(*) from trials join studies using (study_id)
    where state in ('RUNNING', 'WAITING') and (study_name = ? or substr(study_name, 1, length(?) + 1) = ? || ' ')
"""

# What its libraries raise where it cannot be used; of one that was not read there is nothing to catch.
RAISED = (("optuna.exceptions", "StorageInternalError"), ("sqlalchemy.exc", "SQLAlchemyError"))


def trouble() -> tuple[type[Exception], ...]:
    """The errors of a queues' database that cannot be used."""
    return tuple(getattr(sys.modules[module], name) for module, name in RAISED if module in sys.modules)


def checked(url: str, *, looks: bool = False) -> Path | None:
    """The file at the address of the queues' database, in a folder that is made unless one only ``looks``; None of no SQLite.

    Raises:
        ValueError: it is no address of a database.
        OSError: the file can lie nowhere.
    """
    if "://" not in url:
        raise ValueError(
            "it must be an address such as sqlite:////folder/queue.db or postgresql+psycopg://host/database"
        )
    if odd := set("{}") & set(url):
        raise ValueError(f"it holds {' '.join(sorted(odd))}, which Optuna would fill in")
    if not url.startswith(SQLITE):
        return None
    file = _file(url)
    if not looks:
        file.parent.mkdir(parents=True, exist_ok=True)
    return file


def idle(url: str, name: str, *, looks: bool = False) -> bool:
    """Whether it is known that a dead driver left nothing open in the queue ``name``, nor in those of its search.

    Who only ``looks`` has nothing to close, and need not know it of a file.

    Raises:
        ValueError: it is no address of a database.
        OSError: the file can lie nowhere.
    """
    file = checked(url, looks=looks)
    if file is None or looks or not file.exists():
        return file is not None
    try:
        with closing(sqlite3.connect(file, timeout=databases.SECONDS)) as database:
            return bool(database.execute(OPEN, (name, name, name)).fetchone() == (0,))
    except sqlite3.Error:  # damaged, or of another layout: whoever opens it for use says so
        return False


def unsound(url: str, *, fix: bool) -> str:
    """What is wrong with the queues' database, where it is a local file; empty where nothing is. ``fix`` sets it aside."""
    file = _file(url) if url.startswith(SQLITE) else None
    wrong = databases.damage(file, TABLES) if file else ""
    if file and wrong and fix:
        databases.set_aside(file)
    return wrong


def _file(url: str) -> Path:
    return Path(url.removeprefix(SQLITE).partition("?")[0])
