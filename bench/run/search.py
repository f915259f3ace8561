"""The searches of a study: one for every variant and data set, and the trials that confirm what they found."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from bench.run.plan import Planner
from bench.run.proposals import Past, Search
from bench.run.queue import Storage
from bench.study.definition import Cell, Trial, Variant
from bench.tracking.rows import Record


@dataclass(frozen=True)
class Candidates:
    """The proposals for one variant on one data set, and the queue that they come from."""

    variant: Variant
    queue: Search


def searches(
    planner: Planner, storage: Storage, records: Mapping[str, Record], losses: Callable[[str, str], dict[int, float]]
) -> list[Candidates]:
    """One search per data set and variant; another space or other fixed settings are another search.

    Args:
        records: what the tracked runs tell, by key: a queue that was lost is made again from them.
        losses: after every epoch of a run, on a split.
    """
    finished = planner.objectives(records)
    study = planner.study
    followed = study.objective.name == "test_loss"  # the one metric of which every epoch tells
    found = []
    for dataset in study.datasets:
        for variant in study.variants_on(dataset):
            propose = partial(_propose, planner, variant, dataset)
            corner = propose(dict.fromkeys(study.vary))
            queue = Search(
                storage,
                f"{study.name} {variant.name or variant.model} {dataset} {_hash(study.vary, corner.key)}",
                study.objective,
                finished,
                space=study.vary,
                total=study.trials,
                propose=propose,
                prune=study.prune and followed,
            )
            ours = [
                record
                for key, record in sorted(records.items(), key=lambda item: item[1].started)
                if record.trial.dataset == dataset and record.trial.varied.keys() == study.vary.keys()
                if key not in queue.known and propose(record.trial.varied).key == key
            ]
            queue.remember(
                Past(
                    each.trial,
                    each.state,
                    finished.get(each.trial.key),
                    losses(each.run_id, each.trial.held_out) if study.prune and followed else {},
                )
                for each in ours
            )
            found.append(Candidates(variant, queue))
    return found


def confirmations(planner: Planner, found: Sequence[Candidates]) -> Iterator[Trial]:
    """The best configurations of each search on the test split, over seeds that the search did not choose them by."""
    study = planner.study
    if study.confirm is None:
        return
    for each in found:
        for best in each.queue.best(study.confirm.top):
            for seed in range(1, study.confirm.seeds + 1):
                yield study.trial(planner.catalogue, each.variant, best.dataset, seed, best.varied, best.fingerprint)


def _propose(planner: Planner, variant: Variant, dataset: str, cell: Cell) -> Trial:
    fingerprint = planner.fingerprint(dataset)
    return planner.study.trial(planner.catalogue, variant, dataset, 0, cell, fingerprint, proposal=True)


def _hash(space: Mapping[str, Any], key: str) -> str:
    return hashlib.sha256(f"{sorted(space.items())!r} {key}".encode()).hexdigest()[:8]
