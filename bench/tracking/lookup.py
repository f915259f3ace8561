"""What there is in a store: its studies, the runs of one of them, and the finished run that a name means."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from bench.text import is_name
from bench.tracking.database import address, settle
from bench.tracking.errors import StoreError
from bench.tracking.names import DATABASE
from bench.tracking.reach import answered
from bench.tracking.reader import Run
from bench.tracking.readers import reader
from bench.tracking.run_files import TRIAL, WEIGHTS, file_of, intact
from bench.tracking.shared import meant
from bench.tracking.store import Store


def opened(folder: Path, uri: str | None, study: str) -> Store:
    """The runs of a study that has some.

    Raises:
        StoreError: it has none, or the store cannot be reached.
    """
    if uri or (folder / DATABASE).exists():
        store = Store(folder, uri, study, "", create=False)
        if store.experiment_id is not None:
            return store
    raise StoreError(f"no run of a study {study!r} in {uri or folder}")


def studies(folder: Path, uri: str | None) -> list[str]:
    """The studies in a store: its experiments, but for those of other programs whose names can be none of ours.

    Raises:
        StoreError: the store cannot be used.
    """

    place = address(folder, uri)
    found = answered(place, lambda: reader(place).experiments(), start=True)
    names = [each.name for each in found if each.active]
    return sorted(name for name in names if is_name(name) and name != "Default")


def finished_run(folder: Path, uri: str | None, name: str) -> Path:
    """The folder with the model of the finished run whose ID or key begins with ``name``: the newest where a key has several.

    Raises:
        StoreError: there is none, or runs of several trials answer to the name.
    """
    if uri is None and not (folder / DATABASE).exists():
        raise StoreError(f"no run {name!r}: nothing is tracked in {folder} yet")
    if uri is None:
        settle(folder)
    place = address(folder, uri)

    def runs() -> list[tuple[str, Run]]:
        asked = reader(place)
        own = asked.finished([each.experiment_id for each in asked.experiments() if each.active])
        return [(run.run_id, there) for run, there in zip(own, meant(asked, own), strict=True) if there is not None]

    found = [
        run
        for own_id, run in answered(place, runs, start=True)
        if name and any(each.startswith(name) for each in (own_id, run.run_id, run.tags.get("key", "")))
    ]
    keys = {run.tags["key"]: run for run in reversed(found)}  # the newest comes first
    if len(keys) != 1:
        names = [f"{run.run_id[:8]} {run.tags['study']} {run.name}" for run in keys.values()]
        several = f"{len(keys)} trials answer to it: {', '.join(names[:5])}"
        raise StoreError(f"no finished run {name!r}: {several if keys else 'bench list runs shows those there are'}")
    run = next(iter(keys.values()))
    for name in (TRIAL, WEIGHTS):
        try:
            file = answered(place, partial(file_of, run.run_id, run.artifacts, name, place))
            there = file.is_file()
        except StoreError:  # which a server has for a file that it lacks
            there = False
        if not there:
            raise StoreError(f"run {run.run_id} has no {name} any more, or came here without its weights")
        if not intact(run, name, file):
            raise StoreError(f"{name} of run {run.run_id} is damaged: train it again with --rerun")
    return file.parent
