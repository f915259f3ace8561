"""Runs read through MLflow's own client, from wherever it can read: a server, a database of another kind or of another layout."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

from mlflow import MlflowClient
from mlflow.entities import Run as Entity
from mlflow.entities import ViewType

from bench.tracking.reader import DataNote, Experiment, Point, Run

PAGE = 1000  # runs of one answer
NAMED = 100  # run IDs of one question, which must fit an address
SINGLY = 10  # trials up to which each is asked for by itself, and not all that have finished

Item = TypeVar("Item")


class ClientReader:
    """A `bench.tracking.reader.Reader` of what MLflow's client can reach."""

    def __init__(self, client: MlflowClient) -> None:
        self._client = client

    def experiments(self) -> list[Experiment]:
        """All of them, deleted ones too."""
        found, token = [], None
        while True:
            page = self._client.search_experiments(ViewType.ALL, PAGE, page_token=token)
            found += [
                Experiment(str(each.experiment_id), each.name, each.lifecycle_stage == "active", dict(each.tags))
                for each in page
            ]
            if not (token := page.token):
                return sorted(found, key=lambda each: int(each.experiment_id))

    def runs(self, experiments: Collection[str]) -> list[Run]:
        """Those of experiments by their IDs, the newest first."""
        return self._search(experiments, "")

    def finished(self, experiments: Collection[str], keys: Collection[str] | None = None) -> list[Run]:
        """Those that say of themselves that they are finished, of these trials or of all, the newest first."""
        finished = "tags.state = 'finished'"
        if keys is None or len(keys) > SINGLY:  # MLflow can ask for one value of a tag, not for several
            found = self._search(experiments, finished)
            return [run for run in found if keys is None or run.tags.get("key") in set(keys)]
        found = [run for key in keys for run in self._search(experiments, f"{finished} and tags.key = '{key}'")]
        return sorted(found, key=lambda run: (-run.started, run.run_id))

    def named(self, run_ids: Collection[str]) -> dict[str, Run]:
        """Those of these IDs that there are."""
        found: dict[str, Run] = {}
        experiments = [each.experiment_id for each in self.experiments()] if run_ids else []
        for some in _parts(list(run_ids), NAMED):
            listed = ", ".join(f"'{run_id}'" for run_id in some)
            found |= {run.run_id: run for run in self._search(experiments, f"attributes.run_id in ({listed})")}
        return found

    def histories(self, run_ids: Collection[str], names: Collection[str]) -> Iterator[Point]:
        """All values of these metrics, in the order of run IDs, names, steps, moments and values.

        MLflow's client asks for one metric of one run at a time.
        """
        starts, whole = tuple(name for name in names if name[-1] == "/"), set(names)
        for run_id, run in sorted(self.named(run_ids).items()):
            for name in sorted(name for name in run.metrics if name in whole or name.startswith(starts)):
                values = self._client.get_metric_history(run_id, name)
                points = (Point(run_id, name, each.step, each.value, each.timestamp) for each in values)
                yield from sorted(points, key=lambda point: (point.step, point.moment, point.value))

    def _search(self, experiments: Collection[str], which: str) -> list[Run]:
        if not experiments:
            return []
        found: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                list(experiments), which, ViewType.ACTIVE_ONLY, PAGE, ["attributes.start_time DESC"], token
            )
            found += map(run_of, page)
            if not (token := page.token):
                return found


def run_of(entity: Entity) -> Run:
    """A run as MLflow gives it, in the suite's own words."""
    inputs = entity.inputs.dataset_inputs if entity.inputs else []
    data = sorted((each.dataset.name, each.dataset.digest, each.dataset.source) for each in inputs)
    info = entity.info
    return Run(
        info.run_id,
        str(info.experiment_id),
        info.run_name or "",
        info.status,
        info.start_time,
        info.end_time,
        info.artifact_uri,
        dict(entity.data.tags),
        dict(entity.data.params),
        dict(entity.data.metrics),
        DataNote(*data[0]) if data else None,
    )


def _parts(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    return (items[start : start + size] for start in range(0, len(items), size))
