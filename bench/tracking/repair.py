"""What is wrong with a store, and what fixes it: runs that a dead driver left open, damaged files."""

from __future__ import annotations

import json
from pathlib import Path

from filelock import FileLock, Timeout

from bench import databases
from bench.tracking.database import TABLES, mend_database
from bench.tracking.lookup import studies
from bench.tracking.names import DATABASE
from bench.tracking.protocols import is_whole, named_in
from bench.tracking.rows import FILES, ORIGIN, state
from bench.tracking.run_files import WEIGHTS, intact, local_folder
from bench.tracking.store import Store


def unsound(folder: Path, *, fix: bool) -> str:
    """What is wrong with the store's own database; set aside where ``fix`` is true, and empty where nothing is."""
    wrong = databases.damage(folder / DATABASE, TABLES)
    if wrong and fix:
        mend_database(folder)
    return wrong


def damaged(folder: Path) -> list[tuple[str, str]]:
    """Every file of a finished run that is gone or not what was written: the study, and the file and its run in words."""
    found = []
    for study in studies(folder, None):
        for run in Store(folder, None, study, "", create=False).chosen():
            here = local_folder(run.artifacts)
            if here is None or state(run) != "finished":
                continue
            for name in json.loads(run.tags.get(FILES, "{}")):
                left_out = name == WEIGHTS and ORIGIN in run.tags and not (here / name).exists()
                if not left_out and not intact(run, name, here / name):
                    found.append((study, f"{name} of {run.name} ({run.run_id})"))
            if (name := named_in(run.tags)) and not is_whole(here / name):
                found.append((study, f"{name} of {run.name} ({run.run_id})"))
    return found


def orphans(folder: Path, *, fix: bool) -> list[tuple[str, bool]]:
    """The studies with runs that are open, and whether a driver holds them; the others' are closed where ``fix`` is true."""
    found = []
    for study in studies(folder, None):
        store = Store(folder, None, study, "", create=False)
        if not store.open_runs():
            continue
        try:
            with FileLock(folder / "locks" / f"{study}.lock", timeout=0):
                if fix:
                    store.close_orphans()
                found.append((study, False))
        except Timeout:
            found.append((study, True))
    return found
