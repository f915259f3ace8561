"""What the studies of one store share: a trial that one of them has finished is finished for all.

The study that asks for it has a run that refers to the run that trained it, and holds nothing else: one truth, in one place.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunData, RunTag, ViewType
from mlflow.exceptions import MlflowException

from bench.tracking.reach import asking
from bench.tracking.rows import REFERS, TRAINED_IN, Record, readable, record, state

if TYPE_CHECKING:
    from bench.tracking.store import Store


@asking()
def elsewhere(store: Store, keys: Collection[str]) -> dict[str, Record]:
    """The newest finished run that other studies have of each of these trials, where they have any.

    Raises:
        StoreError: the store cannot be used.
    """
    others = [each.experiment_id for each in store.client.search_experiments()]
    others = [each for each in others if each != store.experiment_id]
    found: dict[str, Record] = {}
    for key in keys if others else ():
        finished = f"tags.key = '{key}' and tags.state = 'finished'"
        runs = store.client.search_runs(others, finished, ViewType.ACTIVE_ONLY, 10, ["attributes.start_time DESC"])
        if whole := [run for run in runs if REFERS not in run.data.tags and readable(run)]:
            found[key] = record(whole[0])
    return found


def meant(client: MlflowClient, run: Run) -> Run | None:
    """The run itself or the one that it refers to, under the names of the study that refers; None where that is no more."""
    if REFERS not in run.data.tags:
        return run
    try:
        other = client.get_run(run.data.tags[REFERS])
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    there = other.info.lifecycle_stage == "active" and state(other) == "finished" and readable(other)
    return _under_its_names(run, other) if there else None


def _under_its_names(run: Run, other: Run) -> Run:
    named = ("study", "variant", "dataset", "split", "trial", "mlflow.source.name")
    tags = {**other.data.tags, TRAINED_IN: other.data.tags.get(TRAINED_IN, other.data.tags["study"])}
    tags |= {name: run.data.tags[name] for name in named if name in run.data.tags}
    data = RunData(
        [Metric(name, value, 0, 0) for name, value in other.data.metrics.items()],
        [Param(name, value) for name, value in other.data.params.items()],
        [RunTag(name, value) for name, value in tags.items()],
    )
    return Run(other.info, data, other.inputs)
