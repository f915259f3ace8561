"""Tracked runs side by side: which is best where that was tested, what was measured of each, and their pictures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.images import Picture, picture, png, side_by_side
from bench.paths import Paths
from bench.report.selection import selected, tracked_on
from bench.report.tables import prepared, summary
from bench.score import TRAINED, Metric, Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Study
from bench.tracking.errors import StoreError
from bench.tracking.glance import Glimpse, glance, measured
from bench.tracking.names import SHORT
from bench.tracking.store import Store
from bench.tracking.words import title

FIRST = ("samples.png", "reconstructions.png")  # of the pictures, the rest by name
BLANK: Picture = np.full((1, 1, 3), 255, dtype=np.uint8)


@dataclass(frozen=True)
class Best:
    """The variant with the best mean of the objective on one data set, and split.

    Attributes:
        tied: the variants that a test does not tell apart from it.
        run: the run of it with the lowest seed.
        rest: the same of the variant with the next best mean; empty where nothing was tested, and so nothing is best.
    """

    dataset: str
    variant: str
    model: str
    metric: str
    mean: float
    seeds: int
    tied: tuple[str, ...]
    run: str
    rest: str


def best(study: Study, known: Catalogue, store: Store) -> list[Best]:
    """The best variant on each data set where its objective was measured."""
    runs = store.table()
    study = tracked_on(study, runs)
    runs = selected(study, known, runs)
    runs = runs[runs["state"] == "finished"] if len(runs) else runs
    if not len(runs):
        return []
    runs = prepared(study, runs)
    name, found = study.objective.name, []
    for (dataset, split), rows in summary(study, runs).groupby(["dataset", "split"], sort=False):
        ordered = rows[rows[f"{name}_mean"].notna()].sort_values(
            f"{name}_mean", key=lambda means: study.objective.sign * means, kind="stable"
        )
        if not len(ordered):
            continue
        here = runs[(runs["dataset"] == dataset) & (runs["split"] == split)].sort_values("seed")
        first = ordered.iloc[0]
        own = [here[here["variant"] == variant]["run_id"] for variant in ordered["variant"][:2]]
        tested = bool(first[f"{name}_best"]) and len(ordered) > 1
        found.append(
            Best(
                dataset=str(dataset),
                variant=str(first["variant"]),
                model=str(first["model"]),
                metric=name,
                mean=float(first[f"{name}_mean"]),
                seeds=int(first[f"{name}_n"]),
                tied=tuple(ordered["variant"][ordered[f"{name}_tied"]]),
                run=str(own[0].iloc[0]) if len(own[0]) else "",
                rest=str(own[1].iloc[0]) if tested and len(own[1]) else "",
            )
        )
    return found


def finished(store: Store) -> list[tuple[str, str]]:
    """Model and run of all that have finished, the newest first."""
    runs = glance(store.folder, None if store.local else store.uri, store.study)
    return [(run.trial.model, run.run_id) for run in runs if run.state == "finished"]


@dataclass(frozen=True)
class Compared:
    """One of the runs that are compared.

    Attributes:
        scores: what was measured, or why not, by metric.
        pictures: the final ones, PNG by name.
    """

    run: Glimpse
    scores: Mapping[str, Score]
    pictures: Mapping[str, bytes]

    @property
    def name(self) -> str:
        """How it is called beside others."""
        return f"{self.run.run_id[:SHORT]} {title(self.run.trial)}"


def found(name: str, paths: Paths) -> Glimpse:
    """The run whose ID or key begins with ``name``, or whose name it is: the newest where a key has several.

    Raises:
        StoreError: there is none, or runs of several trials answer to it.
    """
    runs = glance(paths.store, paths.tracking, begin=name) if name else []
    if not runs:
        runs = [run for run in glance(paths.store, paths.tracking) if name in (title(run.trial), run.trial.name)]
    by_key = {run.key: run for run in sorted(runs, key=lambda run: (run.state == "finished", run.started))}
    if len(by_key) == 1:
        return next(iter(by_key.values()))
    names = ", ".join(f"{run.run_id[:SHORT]} {run.study} {title(run.trial)}" for run in list(by_key.values())[:5])
    several = f"{len(by_key)} trials answer to it: {names}"
    raise StoreError(f"no run {name!r}: {several if by_key else 'bench list runs shows those there are'}")


def compared(run: Glimpse, paths: Paths) -> Compared:
    """A run with what was measured of it, and drawn.

    Raises:
        StoreError: the store cannot be used.
    """
    store = Store(paths.store, paths.tracking, run.study, "", create=False)
    return Compared(run, measured(store, run.holder), store.pictures([run.holder])[run.holder])


def ahead(metric: Metric, runs: Sequence[Compared]) -> int | None:
    """The place of the run with the best value of a metric, if one is; None too where the values do not compare."""
    scores = [each.scores.get(metric.name, Score(None)) for each in runs]
    values = [score.value for score in scores if score.value is not None]
    if not metric.directed or len(values) < 2 or not alike(metric.name, runs):
        return None
    best = min(values, key=lambda value: metric.sign * value)
    places = [place for place, score in enumerate(scores) if score.value == best]
    return places[0] if len(places) == 1 else None


def alike(metric: str, runs: Sequence[Compared]) -> bool:
    """Whether the values of a metric were taken of the same data, under one protocol."""
    taken = [each for each in runs if each.scores.get(metric, Score(None)).value is not None]
    facts = [
        {name: fact for name, fact in each.scores[metric].protocol.items() if name not in TRAINED} for each in taken
    ]
    data = [(each.run.trial.dataset, each.run.trial.fingerprint) for each in taken]
    return len({json.dumps(each, sort_keys=True) for each in facts}) < 2 and len(set(data)) < 2


def _place(name: str) -> tuple[int, str]:
    """Where a picture stands among others."""
    return FIRST.index(name) if name in FIRST else len(FIRST), name


def sheet(runs: Sequence[Compared]) -> bytes:
    """The runs' pictures in one PNG, a column for each run; empty where none has any.

    A row is for each that two of them have, or where no two share one, for each that there is.
    """
    counts = Counter(name for each in runs for name in each.pictures)
    names = sorted([name for name in counts if counts[name] > 1] or counts, key=_place)
    rows = []
    for name in names:
        placed = {}
        for each in runs:
            content = each.pictures.get(name)
            title = f"{each.name}: {name.removesuffix('.png')}"
            placed[title if content else f"{title}: none"] = BLANK if content is None else picture(content)
        rows.append(side_by_side(placed, columns=len(runs)))
    width = max((row.shape[1] for row in rows), default=0)
    padded = [np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    return png(np.concatenate(padded)) if padded else b""
