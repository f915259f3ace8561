"""Study files: TOML read, checked against what the code takes, and turned into a `Study`; nothing runs that was not checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.registry import unknown
from bench.study.catalogue import Catalogue
from bench.study.definition import FULL, SECTIONS, Range, Study, StudyError
from bench.study.reader import Reader
from bench.study.text import read
from bench.study.types import flat

TOP = ("question", "source", "model", "datasets", "seeds", "metrics", "pictures", "applications", "trials", "prune")
TABLES = (*SECTIONS, "vary", "on", "smoke", "sizes", "confirm", "variants", "claims")
SMOKE: dict[str, Any] = {  # of a study that nobody wrote a [smoke] for
    "seeds": 1,
    "training": {"epochs": 1, "batch_size": 16},
    "data": {"train_images": 100, "test_images": 50},
    "evaluation": {"samples": 50},
}


def load(
    path: Path,
    catalogue: Catalogue,
    *,
    smoke: bool = False,
    given: Mapping[str, Any] | None = None,
    datasets: Sequence[str] = (),
    seeds: int | None = None,
    size: str = FULL,
) -> Study:
    """The study in ``path``, checked.

    Args:
        smoke: lay ``[smoke]`` over it: a tiny subset, one epoch.
        given: settings for this invocation, by name; one that the study varies is fixed to the value.
        datasets: data sets to run on; the study's first where empty.
        seeds: how many seeds, where not the study's number.
        size: one of the study's ``[sizes]``.

    Raises:
        StudyError: anything in the file or in the arguments that cannot run as written.
    """
    return build(read(path), path, catalogue, smoke=smoke, given=given, datasets=datasets, seeds=seeds, size=size)


def build(
    tables: Mapping[str, Any],
    path: Path,
    catalogue: Catalogue,
    *,
    smoke: bool = False,
    given: Mapping[str, Any] | None = None,
    datasets: Sequence[str] = (),
    seeds: int | None = None,
    size: str = FULL,
) -> Study:
    """`load` for tables that are already read; ``path`` names the study and stands in its messages."""
    study = _build(tables, path, catalogue, smoke=smoke, given=given, datasets=datasets, seeds=seeds)
    if size != FULL:
        if smoke:
            raise StudyError(f"{study.name}: a smoke run has a size of its own; it must be --smoke or --size {size}")
        if size not in study.sizes:
            raise StudyError(f"{path}: {unknown('size', size, (FULL, *study.sizes))}")
        study = study.at(size, seeds=seeds is None)
    if smoke or given:
        # Then it may vary and measure something else; the source speaks of the study as it is written.
        return replace(study, claims=_build(tables, path, catalogue).claims)
    if "smoke" in tables:
        _build(tables, path, catalogue, smoke=True)  # what is wrong there is told before somebody needs it
    return study


def _build(
    tables: Mapping[str, Any],
    path: Path,
    catalogue: Catalogue,
    *,
    smoke: bool = False,
    given: Mapping[str, Any] | None = None,
    datasets: Sequence[str] = (),
    seeds: int | None = None,
) -> Study:
    reader = Reader(path, catalogue)
    for key in tables:
        reader.known(key, (*TOP, *TABLES), "key")
    few = {"trials": 2} if "trials" in tables else {}
    overlay = reader.table(tables, "smoke") if "smoke" in tables else SMOKE | few
    for key in overlay:
        reader.known(key, ("datasets", "seeds", "metrics", "trials", "vary", *SECTIONS), "key in [smoke]")
    overlay = overlay if smoke else {}
    known = {*catalogue.datasets, *reader.datasets(tables, "datasets"), *datasets}
    tables = {**tables, **{key: value for key, value in overlay.items() if key not in SECTIONS}}
    question = reader.text(tables, "question")
    meant_for = tuple(reader.datasets(tables, "datasets"))
    reader.datasets({"--dataset": list(datasets) or list(meant_for)}, "--dataset")
    known |= set(meant_for)
    variants = reader.variants(tables, known)
    models = {variant.model for variant in variants}
    overrides: dict[str, dict[str, Any]] = {
        section: dict(values) for section, values in reader.sections(overlay, "[smoke]", models).items()
    }
    if smoke:
        overrides.setdefault("data", {})["allow_fewer"] = True  # one's own images may be fewer than [smoke] takes
    vary = reader.vary(reader.table(tables, "vary"), models)
    varied = list(vary)
    for name, value in (given or {}).items():
        section, checked = reader.setting(name, value, models, "--set")
        overrides.setdefault(section, {})[name] = checked
        for fixed in flat({section: {name: value}}):
            vary.pop(fixed, None)
    metrics = tuple(reader.metric(name) for name in reader.different(tables, "metrics"))
    on = reader.on(reader.table(tables, "on"), "on", list(known), models)
    sizes = {} if smoke else reader.sizes(reader.table(tables, "sizes"), list(known), models, varied)
    search = any(isinstance(values, Range) for values in vary.values())
    if search and not metrics[0].directed:
        reader.fail("metrics", metrics[0].name, "a search's objective, which is the first, with a better direction")
    trials = reader.count(tables, "trials", 0)
    if search and not trials:
        reader.fail("trials", tables.get("trials"), "the number of configurations to try, since [vary] holds a range")
    if trials and not search:
        reader.fail("trials", trials, "left out: [vary] holds no range, so its grid says how many there are")
    if search and sizes:
        reader.fail("sizes", sorted(sizes), "left out: a search's proposals are learnt from one another, at one size")
    for key in ("prune", "confirm"):
        if key in tables and not search:
            reader.fail(key, tables[key], "left out: it is for searches, and [vary] holds no range")
    prune = tables.get("prune", True)
    if not isinstance(prune, bool):
        reader.fail("prune", prune, "true or false")
    study = Study(
        name=path.stem + ("_smoke" if smoke else ""),
        question=question,
        source=reader.text(tables, "source"),
        meant_for=meant_for,
        datasets=tuple(datasets) or meant_for[:1],
        seeds=reader.count(tables if seeds is None else {"seeds": seeds}, "seeds", 1),
        metrics=metrics,
        variants=variants,
        settings=reader.sections({key: tables.get(key, {}) for key in SECTIONS}, "", models),
        on=on,
        vary=vary,
        overrides=overrides,
        trials=trials,
        prune=prune,
        confirm=reader.confirm(tables) if not smoke else None,
        pictures=reader.epochs(tables, "pictures"),
        applications=reader.applications(tables, "applications"),
        sizes=sizes,
    )
    for size in sizes:
        reader.bounded(study.at(size))
    reader.bounded(study)
    return replace(study, claims=() if smoke or given else reader.claims(tables, study))
