"""Which of the tracked runs a report is about."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from bench.study.catalogue import Catalogue
from bench.study.definition import FULL, Study


def tracked_on(study: Study, runs: pd.DataFrame) -> Study:
    """The study on every data set that it has runs on: those it was written for first, in its order."""
    tracked = list(dict.fromkeys(runs["dataset"])) if len(runs) else []
    ours = [dataset for dataset in study.meant_for if dataset in tracked]
    return replace(study, datasets=(*ours, *(dataset for dataset in tracked if dataset not in ours)))


def size_of(study: Study, catalogue: Catalogue, runs: pd.DataFrame) -> str:
    """The size at which most of the tracked runs are the study's; as it is written where none is ahead of that."""
    most, size = len(selected(tracked_on(study, runs), catalogue, runs)), FULL
    for name in study.sizes:
        if (count := len(selected(tracked_on(study.at(name), runs), catalogue, runs))) > most:
            most, size = count, name
    return size


def selected(study: Study, catalogue: Catalogue, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the study as it is written now, under the names that it gives them now: other settings are another comparison.
    All of a search's."""
    if study.is_search or not len(runs):
        return runs
    names: dict[str, str] = {}
    for dataset in study.datasets:
        for variant in study.variants_on(dataset):
            for cell in study.cells():
                for fingerprint in set(runs[runs["dataset"] == dataset]["fingerprint"]):
                    trial = study.trial(catalogue, variant, dataset, 0, cell, fingerprint)
                    names.setdefault(trial.configuration, trial.variant)
    own = runs[runs["configuration"].isin(names)].reset_index(drop=True)
    return own.assign(variant=own["configuration"].map(names))
