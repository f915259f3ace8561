"""A look at the runs, for lists and for a shell that completes: what there is, and what it came to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.score import Score
from bench.study.definition import Trial
from bench.text import is_name
from bench.tracking.database import address, settle
from bench.tracking.names import REFERS
from bench.tracking.protocols import unpacked
from bench.tracking.reach import answered, check_address
from bench.tracking.reader import Run
from bench.tracking.readers import reader
from bench.tracking.rows import scores, state
from bench.tracking.shared import meant

if TYPE_CHECKING:
    from bench.tracking.store import Store


@dataclass(frozen=True)
class Glimpse:
    """A run as a list shows it.

    Attributes:
        state: ``finished``, ``failed``, ``pruned``, ``interrupted`` or ``running``.
        holder: the run that holds what it came to: itself, or the run of another study that it refers to.
        started: in milliseconds since 1970.
        scores: what was measured, by metric.
    """

    run_id: str
    study: str
    trial: Trial
    key: str
    state: str
    failure: str
    holder: str
    started: int
    scores: Mapping[str, float] = field(default_factory=dict)


def glance(
    folder: Path, uri: str | None, study: str | None = None, *, begin: str = "", most: int = 1000
) -> list[Glimpse]:
    """The newest runs, the newest first: of one study or of all, those whose ID or key begins with ``begin``.

    Raises:
        StoreError: they cannot be read.
    """
    if uri is None:
        settle(folder)
    place = address(folder, uri)
    check_address("MLFLOW_TRACKING_URI", place)

    def ask() -> list[Glimpse]:
        asked = reader(place)
        names = {each.experiment_id: each.name for each in asked.experiments() if each.active and is_name(each.name)}
        runs = asked.runs([number for number, name in names.items() if study in (None, name)])
        runs = [
            run for run in runs if run.readable and (run.run_id.startswith(begin) or run.trial.key.startswith(begin))
        ]
        chosen = runs[:most]
        there = meant(asked, chosen)
        return [
            _glimpse(names[run.experiment_id], run, unpacked(other or run, place))
            for run, other in zip(chosen, there, strict=True)
        ]

    return answered(place, ask, start=True)


def measured(store: Store, run_id: str) -> dict[str, Score]:
    """What was measured of a run, or why not, by metric, each with its protocol.

    Raises:
        StoreError: the store cannot be used.
    """
    return answered(store.uri, lambda: scores(unpacked(store.reader.named([run_id])[run_id], store.uri)))


def _glimpse(study: str, run: Run, there: Run) -> Glimpse:
    values = {name: score.value for name, score in scores(there).items() if score.value is not None}
    return Glimpse(
        run.run_id,
        study,
        run.trial,
        run.trial.key,
        state(run),
        run.tags.get("failure", ""),
        run.tags.get(REFERS, run.run_id),
        run.started,
        values,
    )
