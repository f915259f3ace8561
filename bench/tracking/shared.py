"""What the studies of one store share: a trial that one of them has finished is finished for all.

The study that asks for it has a run that refers to the run that trained it: one truth, in one place. What that run holds besides
is a copy for MLflow's UI (`bench.tracking.borrowed`), and nothing here reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.tracking.names import REFERS, RUN_NAME
from bench.tracking.protocols import unpacked
from bench.tracking.reach import asking
from bench.tracking.reader import Reader, Run
from bench.tracking.rows import TRAINED_IN, Record, record, state

if TYPE_CHECKING:
    from bench.tracking.store import Store

# Tags that stay those of whoever refers.
OWN = ("study", "variant", "dataset", "split", "trial", "mlflow.source.name", RUN_NAME)


@asking()
def elsewhere(store: Store, keys: Collection[str]) -> dict[str, Record]:
    """The newest finished run that other studies have of each of these trials, where they have any.

    Raises:
        StoreError: the store cannot be used.
    """
    found: dict[str, Record] = {}
    if not keys:
        return found
    others = [each.experiment_id for each in store.reader.experiments() if each.active]
    for run in store.reader.finished([each for each in others if each != store.experiment_id], keys):
        if REFERS not in run.tags and run.readable:
            found.setdefault(run.trial.key, record(unpacked(run, store.uri)))
    return found


def meant(reader: Reader, runs: Sequence[Run]) -> list[Run | None]:
    """Each run itself or the one that it refers to, under the names of the study that refers; None where that is no more."""
    others = reader.named({run.tags[REFERS] for run in runs if REFERS in run.tags})
    return [_under_its_names(run, others.get(run.tags[REFERS])) if REFERS in run.tags else run for run in runs]


def _under_its_names(run: Run, other: Run | None) -> Run | None:
    if other is None or state(other) != "finished" or not other.readable:
        return None
    own = {name: run.tags[name] for name in OWN if name in run.tags}
    trained = other.tags.get(TRAINED_IN, other.tags["study"])
    tags = {name: value for name, value in other.tags.items() if name != TRAINED_IN}
    if trained != run.tags["study"]:  # it came back, in the file of another study that had it from this one
        tags[TRAINED_IN] = trained
    return replace(other, name=run.name, tags={**tags, **own})
