"""Runs between a store and a file: out of the one into the other, and back where they are not known yet."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

from bench.files import sha256
from bench.study.definition import LONGEST_TRIAL
from bench.study.naming import applied_file
from bench.text import is_name, reason
from bench.tracking.archive import Archive, ArchiveError, Exporter, Portable
from bench.tracking.names import REFERS, RUN_NAME
from bench.tracking.protocols import NAMED, facts_in, named_in, packed, unpacked
from bench.tracking.reach import answered
from bench.tracking.reader import DataNote, Run
from bench.tracking.rows import APPLIED, FILES, ORIGIN, TRAINED_IN, applied_in, record, row, scores, scores_of, state
from bench.tracking.run_files import TRIAL, WEIGHTS
from bench.tracking.run_log import RunLog, write_applied, write_files, write_scores
from bench.tracking.shared import elsewhere
from bench.tracking.store import Store
from bench.tracking.thumbnails import add_thumbnails, thumbnail_of
from bench.tracking.words import own_name

ENDED = ("finished", "failed", "pruned")  # what another machine cannot go on with, and need not
SOURCE = "mlflow.source.name"  # the command that trained a run
PICTURES = (".png", ".gif", ".webp")
AT_ONCE = 100  # params or tags that one call of MLflow's takes; of metrics it takes ten times as many

Item = TypeVar("Item")


@dataclass
class Taken:
    """What became of a file's runs of one study.

    Attributes:
        new: runs that were not known here.
        known: those that were.
        supplied: what a run here had not and the file's had, metrics, applications and files, by the run's name.
        conflicts: lines on trials that both have finished, to other values; those here are kept.
    """

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    supplied: dict[str, list[str]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)


def export(
    stores: Sequence[Store],
    file: Path,
    origin: str,
    *,
    packing: Callable[[Mapping[str, bytes]], Mapping[str, bytes]],
    shown: Mapping[str, Collection[str]] | None = None,
) -> list[str]:
    """Write every run of the studies in ``stores`` that has ended, one of each key, to ``file``; their names.

    Args:
        origin: where they were trained, in words for whoever reads a report of them; those that were imported keep their own.
        packing: what becomes of the files of a run, by name, its weights above all: see `bench.run.saved`.
        shown: the pictures that go with them, by run; all where None.
    """

    def goes(run: Run, name: str) -> bool:
        return shown is None or Path(name).suffix not in PICTURES or name in shown.get(run.run_id, ())

    names = []
    with Exporter(file, origin) as exporter:
        for store in stores:
            for run in store.chosen():
                if state(run) not in ENDED:
                    continue
                artifacts = store.artifacts(run.run_id)
                files = {path.relative_to(artifacts).as_posix(): path for path in sorted(artifacts.rglob("*"))}
                kept = {n: path.read_bytes() for n, path in files.items() if path.is_file() and goes(run, n)}
                carried = packing(kept)
                changed = {name: content for name, content in carried.items() if content != kept[name]}
                exporter.add(_portable(store, run, origin, carried, changed), carried)
                names.append(run.name)
    return names


def take_in(store: Store, archive: Archive, run_ids: Sequence[str]) -> Taken:
    """Write those of a file's runs into the store of their study that are not known there; whoever calls this holds its lock.

    A run is known by its key; one that another study has finished is referred to, and what it lacks is added to it. A run becomes
    visible whole: until it is, it has no key, and one that stayed so is removed.

    Raises:
        ArchiveError: the file is damaged; what was taken in before stays.
    """
    for run_id in store.unfinished_imports():
        store.remove(run_id)
    taken, here = Taken(), {run.tags["key"]: run for run in store.chosen()}
    for run in map(archive.run, run_ids):
        ours = here.get(run.key)
        if ours is None or (state(ours) != "finished" == run.tags.get("state")):
            taken.new.append(run.name)
            found = elsewhere(store, [run.key]).get(run.key)
            if found is None:
                answered(store.uri, partial(_write, store, archive, run))
                continue
            RunLog(store, run.trial, {SOURCE: run.tags.get(SOURCE, "")}).refer(found)
            ours = unpacked(store.reader.named([found.run_id])[found.run_id], store.uri)
        else:
            taken.known.append(run.name)
        if state(ours) == "finished" == run.tags.get("state"):
            _compare(store, ours, run, archive, taken)
    return taken


def studies_in(archive: Archive) -> dict[str, list[str]]:
    """The IDs of a file's runs by study, all of them read and checked: of a file with one that cannot be nothing is taken in.

    Raises:
        ArchiveError: the file is damaged, or is not what it says.
    """
    found = archive.studies()
    for run_ids in found.values():
        for run in map(archive.run, run_ids):
            try:
                _check(run)
            except ArchiveError as error:
                raise ArchiveError(f"{archive.file}: {error}") from error
    return found


def _check(run: Portable) -> None:
    """Refuse a run that could be written here and not be read again: one would stand in the way of every report of its study.

    Raises:
        ArchiveError: it is such a run.
    """
    from mlflow.entities import Metric, Param, RunStatus, RunTag
    from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH, _validate_batch_log_data

    metrics = [Metric(name, each[-1][1], each[-1][2], each[-1][0]) for name, each in run.metrics.items() if each]
    params, tags = [Param(*each) for each in run.params.items()], [RunTag(*each) for each in run.tags.items()]
    last = {metric.key: metric.value for metric in metrics}
    try:
        noted = DataNote(**run.data) if run.data else None
        times = run.started, run.ended
        whole = Run(run.run_id, "0", run.name, run.status, *times, "", run.tags, run.params, last, noted)
        found, trial = row(whole), record(whole).trial
        if (longest := max(map(len, run.tags.values()))) > LONGEST_TRIAL:
            raise ValueError(f"a tag takes {longest:,} characters, of which {LONGEST_TRIAL:,} are kept")
        if (longest := max(map(len, run.params.values()), default=0)) > MAX_PARAM_VAL_LENGTH:
            raise ValueError(f"a param takes {longest:,} characters, of which {MAX_PARAM_VAL_LENGTH:,} are kept")
        _validate_batch_log_data(metrics, params, tags)  # type: ignore[no-untyped-call]
        for name, value in {**found, FILES: run.tags.get(FILES, "{}")}.items():
            measured = name.startswith("protocol.")
            kinds = (str, int, float, bool) if measured else (str,)
            told = json.loads(value) if measured or name in ("versions", "guests", "data", APPLIED, FILES) else {}
            if not all(type(each) in kinds for each in told.values()):
                raise TypeError(f"{name} holds what is none of {', '.join(kind.__name__ for kind in kinds)}")
        if odd := [name for name in applied_in(run.tags) if not is_name(name)]:  # a path is made of it
            raise ValueError(f"it was put to {odd[0]!r}, which is no name of an application")
        if REFERS in run.tags:
            raise ValueError(f"it refers to {run.tags[REFERS]!r}, a run elsewhere")
        for name, value in {"epochs": found["epochs"], "seed": trial.seed, "started": run.started}.items():
            if type(value) is not int or not 0 <= value < 2**53:
                raise TypeError(f"{name} is {value!r}")
        RunStatus.from_string(run.status)
        if found["study"] != run.study:
            raise ValueError(f"it is of the study {found['study']!r}, and lies in {run.study!r}")
    except Exception as error:  # whatever is wrong with it, nothing of ours wrote it
        raise ArchiveError(f"run {run.run_id}: it is not what bench export writes ({reason(error)})") from error


def _portable(store: Store, run: Run, origin: str, kept: Collection[str], changed: Mapping[str, bytes]) -> Portable:
    tags, metrics = dict(run.tags), dict[str, list[tuple[int, float, int]]]()
    if FILES in tags:  # a picture that is left out is not looked for where the run is taken in
        digests = json.loads(tags[FILES]) | {name: sha256(content) for name, content in changed.items()}
        there = {n: each for n, each in digests.items() if n in kept or Path(n).suffix not in PICTURES}
        tags[FILES] = json.dumps(there)
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
    name = own_name(run.name, run.trial, run.tags)
    created = client.create_run(str(store.experiment_id), run.started, {ORIGIN: run.origin}, name)
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
        told = {tag: text for tag, text in run.tags.items() if tag not in (NAMED, RUN_NAME)}
        if facts := facts_in(told):  # in a file of today, whatever wrote them; what was checked is the tags
            if before := named_in(run.tags):
                (Path(folder) / before).unlink(missing_ok=True)
            told[NAMED], content = packed(facts)
            (Path(folder) / told[NAMED]).write_bytes(content)
        add_thumbnails(Path(folder))  # which a published file goes without
        client.log_artifacts(run_id, folder)
    tags = sorted(
        told.items() - facts.items(), key=lambda tag: (tag[0] == "key", tag)
    )  # its key last: by it it is known
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
        write_scores(store, ours, missing)
    ours, lacking = _supply(store, ours, theirs, archive)
    applied = {name: why for name, why in applied_in(theirs.tags).items() if name not in applied_in(ours.tags)}
    if applied:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            archive.unpack(theirs, Path(folder))
            paths = {name: f"final/{applied_file(name)}" for name in applied}
            drawn = {name: path for name, path in paths.items() if (Path(folder) / path).is_file()}
            # A picture that stayed where it was drawn is drawn here by the next run of the study.
            applied = {name: why for name, why in applied.items() if why or name in drawn}
            write_applied(store, ours, applied, {path: (Path(folder) / path).read_bytes() for path in drawn.values()})
    if supplied := [*sorted(missing), *sorted(applied), *lacking]:
        taken.supplied[theirs.name] = supplied


def _supply(store: Store, ours: Run, theirs: Portable, archive: Archive) -> tuple[Run, list[str]]:
    """Write what ours lacks of the other's files, but for pictures of new applications; ours then, and what came, in words.

    Weights and what describes them belong together: in half precision both are others.
    """
    coming = {f"final/{applied_file(name)}" for name in applied_in(theirs.tags).keys() - applied_in(ours.tags).keys()}
    lacking = [name for name in store.lacking(ours, archive.files(theirs)) if name not in coming]
    if not lacking:
        return ours, []
    digests: dict[str, str] = json.loads(theirs.tags.get(FILES, "{}"))
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        archive.unpack(theirs, Path(folder))
        add_thumbnails(Path(folder))
        names = {*lacking, *map(thumbnail_of, lacking)} | ({TRIAL} if WEIGHTS in lacking else set())
        there = {name: path.read_bytes() for name in names if (path := Path(folder) / name).is_file()}
    # What was damaged where it was exported is of no use here.
    files = {name: content for name, content in there.items() if digests.get(name, sha256(content)) == sha256(content)}
    described = json.loads(ours.tags.get(FILES, "{}")).get(TRIAL) in (None, sha256(files.get(TRIAL, b"")))
    if not ({TRIAL, WEIGHTS} <= files.keys() or (WEIGHTS not in lacking and described)):
        files = {name: content for name, content in files.items() if name not in (TRIAL, WEIGHTS)}
    if not files:
        return ours, []
    ours = answered(store.uri, partial(write_files, store, ours, files, digests.keys()))
    came = [name for name in lacking if name in files]
    pictures = sum(name.endswith(PICTURES) for name in came)
    words = [f"{pictures} picture{'s' * (pictures > 1)}"] if pictures else []
    return ours, [*(name for name in came if not name.endswith(PICTURES)), *words]
