"""How a search went: its history, what mattered, where the good values lie, and what fewer proposals would have brought."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pandas as pd

from bench.images import png
from bench.report.blocks import Block, Cell, Picture, Table, Text, some
from bench.report.cells import titled, told_in
from bench.report.search_plots import history, shares, slices
from bench.report.significance import expected_best
from bench.report.tables import TOP, values_of
from bench.score import LARGEST
from bench.study.definition import Range, Study
from bench.study.naming import short

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def proposals(study: Study, runs: pd.DataFrame) -> dict[str, tuple[list[dict[str, str]], list[float]]]:
    """What was tried, and found, on every data set: `points` of each."""
    tried = runs[runs["split"] != "test"].groupby("dataset", sort=False)
    return {str(dataset): points(study, trials) for dataset, trials in tried}


def points(study: Study, trials: pd.DataFrame) -> tuple[list[dict[str, str]], list[float]]:
    """The finished proposals in their order: the varied settings as JSON texts, and the objective."""
    finished = trials[trials["state"] == "finished"].sort_values(["started", "run_id"])
    found, values = [], []
    for _, trial in finished.iterrows():
        value = trial.get(f"metric.{study.objective.name}")
        cell = {name: trial.get(f"param.{name}") for name in study.vary}
        if pd.isna(value) or abs(float(value)) >= LARGEST or not all(isinstance(text, str) for text in cell.values()):
            continue
        found.append({name: str(text) for name, text in cell.items()})
        values.append(float(value))
    return found, values


def searched(
    study: Study, trials: pd.DataFrame, importances: Mapping[str, float], stem: str
) -> tuple[tuple[Block, ...], dict[str, bytes]]:
    """Blocks of the proposals on one data set, and their pictures by file name."""
    metric, (factor, unit) = study.objective, told_in(study, study.objective)
    title, lower = titled(metric), metric.better == "lower"
    ordered = trials.sort_values(["started", "run_id"])
    tried = [_value(trial, metric.name, factor) for _, trial in ordered.iterrows()]
    files: dict[str, bytes] = {}
    blocks: list[Block] = []

    def show(name: str, heading: str, content: bytes, note: str = "") -> None:
        files[f"{stem}-{name}"] = content
        blocks.append(Picture(f"{stem}-{name}", heading, note))

    if sum(value is not None for value in tried) > 1:
        show("history.png", "History of the search", png(history(tried, title, unit, lower), plot=True))
    if importances:
        words = "The share of the objective's variance over the space that a setting explains, by a functional ANOVA of the "
        words += "finished proposals (Hutter et al., 2014)."
        show("importances.png", "What mattered", png(shares(importances, "importance"), plot=True), words)
    cells, values = points(study, trials)
    if len(values) > 1:
        own = {name: [_read(cell[name]) for cell in cells] for name in study.vary}
        logarithmic = [name for name, of in study.vary.items() if isinstance(of, Range) and of.log]
        told = [factor * value for value in values]
        drawn = slices(own, told, title, unit, lower=lower, logarithmic=logarithmic)
        show(
            "slices.png",
            "The objective by each setting",
            png(drawn, plot=True),
            "Every finished proposal; the star is the best.",
        )
    return some(blocks, prospects(study, trials, stem)), files


def prospects(study: Study, trials: pd.DataFrame, stem: str) -> tuple[Block, ...]:
    """The expected best of fewer proposals, so that searches of other lengths compare."""
    objective, sign = study.objective.name, study.objective.sign
    found = sign * values_of(trials[trials["state"] == "finished"], objective)
    if len(found) < 2:
        return ()
    values = [*found, *[found.max()] * int((trials["state"] == "pruned").sum())]
    counts = [k for k in COUNTS if k < len(values)] + [len(values)]
    factor, unit = told_in(study, study.objective)
    rows = []
    for k in counts:
        best = factor * sign * expected_best(values, k)
        rows.append((Cell(f"{k}", value=k), Cell(f"{best:.4g}", value=best)))
    text = f"The expected best {objective} of so many of these proposals, a pruned one counting as the worst that was finished:"
    head = f"{objective} ({unit})" if unit else objective
    return (Text(text), Table(f"prospects-{stem}", ("proposals", head), tuple(rows)))


def words_of(study: Study, rows: pd.DataFrame, trials: pd.DataFrame) -> str:
    """How many were proposed, and what became of them."""
    counts = [f"{(trials['state'] == state).sum()} {state}" for state in ("finished", "pruned", "failed")]
    best = f"the best {min(TOP, len(rows))} by {study.objective.name} ({study.objective.better} is better)"
    return f"{len(rows)} proposals, {best}: {', '.join(counts)}."


def _value(trial: pd.Series[Any], metric: str, factor: int) -> float | None:
    value = trial.get(f"metric.{metric}")
    if trial["state"] != "finished" or value is None or pd.isna(value) or abs(float(value)) >= LARGEST:
        return None
    return factor * float(value)


def _read(text: str) -> str | float:
    """A setting as the store has it, in JSON: a number, or what it is called by."""
    value = json.loads(text)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else short(value, pad=False)
