"""What a run that refers to another study's shows in MLflow's UI, which knows nothing of references.

It is a copy, for the UI alone: whoever reads runs here reads the one that is referred to (`bench.tracking.shared`).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.files import write_whole
from bench.text import escaped
from bench.tracking.names import REFERS
from bench.tracking.reach import asking
from bench.tracking.reader import Run
from bench.tracking.rows import TRAINED_IN, state
from bench.tracking.run_files import file_of, listed, local_folder, put
from bench.tracking.store import Store
from bench.tracking.thumbnails import complete
from bench.tracking.words import ILLUSTRATED, NOTE, note, settled

if TYPE_CHECKING:
    from mlflow.entities import Metric

BARE = "Trained in the study "  # how the whole note of such a run began in earlier versions, which wrote nothing else of it
WORDS, METRICS = 100, 1000  # params, and metrics, that one call of MLflow's takes


@asking()
def show_borrowed(store: Store) -> None:
    """Have every run of the store's study that refers to another show what there is of that one by now.

    Raises:
        StoreError: the store cannot be used.
    """
    runs = [run for run in store.reader.runs([str(store.experiment_id)]) if REFERS in run.tags and run.readable]
    others = store.reader.named({run.tags[REFERS] for run in runs})
    for run in runs:
        other = others.get(run.tags[REFERS])
        if other is not None and state(other) == "finished":
            show(store, run, other)


@asking()
def show(store: Store, run: Run, other: Run) -> None:
    """Write what ``run`` lacks of ``other``, to which it refers: pictures, settings, curves and measures, and a note.

    The last values of all metrics come last: where they agree, all else stands there.

    Raises:
        StoreError: the store cannot be used.
    """
    from mlflow.entities import Param, RunTag

    params = settled(run.trial, _params(run, other))
    tags = {} if NOTE in run.tags and not run.tags[NOTE].startswith(BARE) else {NOTE: _note(store.study, run, other)}
    points = []
    if run.metrics != other.metrics:
        complete([other])
        if pictures := listed(other.run_id, other.artifacts, "images", store.uri):
            _lend(pictures, run, other, store.uri)
            tags[ILLUSTRATED] = "true"
        points = sorted(_lacking(store, run, other), key=lambda metric: metric.step)
    new = [Param(name, value) for name, value in params.items() if name not in run.params]
    for start in range(0, len(new), WORDS):
        store.client.log_batch(run.run_id, params=new[start : start + WORDS])
    if tags:
        store.client.log_batch(run.run_id, tags=[RunTag(*tag) for tag in tags.items()])
    for start in range(0, len(points), METRICS):
        store.client.log_batch(run.run_id, metrics=points[start : start + METRICS])


def _lacking(store: Store, run: Run, other: Run) -> Iterator[Metric]:
    from mlflow.entities import Metric

    standing, names = set(), list(other.metrics)
    for each in store.reader.histories([run.run_id], names):
        standing.add((each.name, each.step, each.moment))
    for each in store.reader.histories([other.run_id], names):
        if (each.name, each.step, each.moment) not in standing:
            yield Metric(each.name, each.value, each.moment, each.step)


def _lend(names: list[str], run: Run, other: Run, uri: str) -> None:
    """Have files of ``other`` among those of ``run``: the same ones where they lie here and their disk can name one twice."""
    here, there = local_folder(run.artifacts), local_folder(other.artifacts)
    standing = set(listed(run.run_id, run.artifacts, "images", uri))
    for name in (name for name in names if name not in standing):
        if here is None or there is None:
            put(run.run_id, run.artifacts, name, file_of(other.run_id, other.artifacts, name, uri).read_bytes(), uri)
        else:
            _link(there / name, here / name)


def _link(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, place)
    except FileExistsError:
        pass
    except OSError:
        write_whole(place, file.read_bytes())


def _note(study: str, run: Run, other: Run) -> str:
    """What the run was, and where it was trained, which need not be where it lies: it may have come in another study's file."""
    holder = other.tags["study"]
    trained = other.tags.get(TRAINED_IN, holder)
    lies = "" if trained == holder else f"; it lies in the study {holder}"
    where = f"Trained in the study {trained}{lies}, in its run {other.run_id}. What stands here is a copy."
    return "\n\n".join((note(run.trial, study, settled(run.trial, _params(run, other))), escaped(where)))


def _params(run: Run, other: Run) -> dict[str, Any]:
    """The settings that told ``other`` from the runs of its study, and those that tell ``run`` from its own."""
    return {**other.params, **run.trial.varied}
