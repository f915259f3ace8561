"""Which of the tracked runs a report is about."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping
from dataclasses import replace
from typing import Any

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

    Of a folder or file whose images have changed, those on what was in it when a run on it that finished began last.
    """
    if not len(runs):
        return runs
    latest = runs.assign(ends=runs["state"] == "finished").sort_values(["ends", "started"], kind="stable")
    contents = dict(zip(latest["dataset"], latest["fingerprint"], strict=True))
    runs = runs[runs["fingerprint"] == runs["dataset"].map(contents)]
    return _searched(study, catalogue, runs) if study.is_search else _laid_out(study, catalogue, runs, contents)


def _laid_out(study: Study, catalogue: Catalogue, runs: pd.DataFrame, contents: Mapping[str, str]) -> pd.DataFrame:
    """The runs of a grid."""
    names: dict[str, str] = {}
    for dataset in study.datasets:
        for variant in study.variants_on(dataset):
            for cell in study.cells():
                trial = study.trial(catalogue, variant, dataset, 0, cell, contents.get(dataset, ""))
                names.setdefault(trial.configuration, trial.variant)
    own = runs[runs["configuration"].isin(names)].reset_index(drop=True)
    return own.assign(variant=own["configuration"].map(names))


def _searched(study: Study, catalogue: Catalogue, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of a search: of other fixed settings is another search, and outside of its space lies no proposal of it."""

    def is_ours(run: Mapping[Hashable, Any]) -> bool:
        told = {name: run.get(f"param.{name}") for name in study.vary}
        cell = {name: json.loads(text) for name, text in told.items() if isinstance(text, str)}
        return run["key"] in study.tries(catalogue, run["dataset"], run["seed"], cell, run["fingerprint"])

    return runs[[is_ours(run) for run in runs.to_dict("records")]].reset_index(drop=True)
