"""Runs between a store and a file: out of the one into the other, and back where they are not known yet."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from bench.tracking.archive import Archive, Exporter, Portable
from bench.tracking.reader import Run
from bench.tracking.rows import ORIGIN, TRAINED_IN, scores, scores_of, state
from bench.tracking.run_files import WEIGHTS
from bench.tracking.run_log import RunLog, write_scores
from bench.tracking.shared import elsewhere
from bench.tracking.store import Store

ENDED = ("finished", "failed", "pruned")  # what another machine cannot go on with, and need not
SOURCE = "mlflow.source.name"  # the command that trained a run
AT_ONCE = 100  # params or tags that one call of MLflow's takes; of metrics it takes ten times as many

Item = TypeVar("Item")


@dataclass
class Taken:
    """What became of a file's runs of one study.

    Attributes:
        new: runs that were not known here.
        known: those that were.
        supplied: metrics that a run here had blank and the file's had measured, by the run's name.
        conflicts: lines on trials that both have finished, to other values; those here are kept.
    """

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    supplied: dict[str, list[str]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)


def export(stores: Sequence[Store], file: Path, origin: str, *, weights: bool) -> list[str]:
    """Write every run of the studies in ``stores`` that has ended, one of each key, to ``file``; their names.

    Args:
        origin: where they were trained, in words for whoever reads a report of them; those that were imported keep their own.
        weights: whether the trained weights go with them, without which no metric can be added later.
    """
    names = []
    with Exporter(file, origin) as exporter:
        for store in stores:
            for run in store.chosen():
                if state(run) not in ENDED:
                    continue
                artifacts = store.artifacts(run.run_id)
                files = {path.relative_to(artifacts).as_posix(): path for path in sorted(artifacts.rglob("*"))}
                kept = {name: path for name, path in files.items() if path.is_file() and (weights or name != WEIGHTS)}
                exporter.add(_portable(store, run, origin), kept)
                names.append(run.name)
    return names


def take_in(store: Store, archive: Archive, run_ids: Sequence[str]) -> Taken:
    """Write those of a file's runs into the store of their study that are not known there; whoever calls this holds its lock.

    A run is known by its key; one that another study has finished is referred to. A run becomes visible whole: until it is, it
    has no key, and one that stayed so is removed.

    Raises:
        ArchiveError: the file is damaged; what was taken in before stays.
    """
    for run_id in store.unfinished_imports():
        store.remove(run_id)
    taken, here = Taken(), {run.tags["key"]: run for run in store.chosen()}
    for run in map(archive.run, run_ids):
        ours = here.get(run.key)
        if ours is None or (state(ours) != "finished" == run.tags.get("state")):
            if found := elsewhere(store, [run.key]).get(run.key):
                RunLog(store, run.trial, {SOURCE: run.tags.get(SOURCE, "")}).refer(found)
            else:
                _write(store, archive, run)
            taken.new.append(run.name)
            continue
        taken.known.append(run.name)
        if state(ours) == "finished" == run.tags.get("state"):
            _compare(store, ours, run, archive, taken)
    return taken


def _portable(store: Store, run: Run, origin: str) -> Portable:
    tags, metrics = dict(run.tags), dict[str, list[tuple[int, float, int]]]()
    if state(run) != "failed":  # where it is tried again it is from its beginning
        for each in store.reader.histories([run.run_id], list(run.metrics)):
            metrics.setdefault(each.name, []).append((each.step, each.value, each.moment))
    return Portable(
        # Two studies of one file may have a run between them: each has it under an ID of its own.
        run_id=run.run_id + str(store.experiment_id) if TRAINED_IN in tags else run.run_id,
        study=store.study,
        question=store.question(),
        name=run.name,
        status=run.status,
        started=run.started,
        ended=run.ended or run.started,
        origin=tags.pop(ORIGIN, origin),
        tags=tags,
        params=dict(run.params),
        metrics=metrics,
        data={"name": run.data.name, "digest": run.data.digest, "source": run.data.source} if run.data else {},
    )


def _write(store: Store, archive: Archive, run: Portable) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    client = store.client
    created = client.create_run(
        str(store.experiment_id), start_time=run.started, tags={ORIGIN: run.origin}, run_name=run.name
    )
    run_id = created.info.run_id
    for params in _parts([Param(name, value) for name, value in run.params.items()], AT_ONCE):
        client.log_batch(run_id, params=params)
    written = [Metric(name, v, moment, step) for name, values in run.metrics.items() for step, v, moment in values]
    for metrics in _parts(written, 10 * AT_ONCE):
        client.log_batch(run_id, metrics=metrics)
    if run.data:
        dataset = Dataset(run.data["name"], run.data["digest"], source_type="code", source=run.data["source"])
        client.log_inputs(run_id, datasets=[DatasetInput(dataset, [InputTag("mlflow.data.context", "train")])])
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        archive.unpack(run, Path(folder))
        client.log_artifacts(run_id, folder)
    tags = sorted(run.tags.items(), key=lambda tag: tag[0] == "key")  # its key last, by which it is known
    client.set_terminated(run_id, run.status, run.ended)
    for some in _parts([RunTag(name, value) for name, value in tags], AT_ONCE):
        client.log_batch(run_id, tags=some)


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _compare(store: Store, ours: Run, theirs: Portable, archive: Archive, taken: Taken) -> None:
    """Two finished runs of one trial: what ours lacks is added where they agree in all that both have measured."""
    mine = scores(ours)
    last = {name: max(values, key=lambda each: (each[0], each[2]))[1] for name, values in theirs.metrics.items()}
    other = scores_of(theirs.tags, last)
    both = {name for name in mine.keys() & other.keys() if None not in (mine[name].value, other[name].value)}
    if unlike := sorted(name for name in both if mine[name].value != other[name].value):
        name = unlike[0]
        more = f" and {len(unlike) - 1} more differ" if len(unlike) > 1 else ""
        taken.conflicts.append(
            f"{theirs.name}: {name} is {mine[name].value:g} here and {other[name].value:g} in {archive.file}{more}; "
            "the run here is kept"
        )
        return
    missing = {n: score for n, score in other.items() if score.value is not None and n not in both}
    if missing:
        write_scores(store.client, ours.run_id, missing, standing=ours.metrics)
        taken.supplied[theirs.name] = sorted(missing)
