"""What a table of measures shows: every mean with its spread, its unit and its marks, and what the marks mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from bench.report.blocks import Cell, Table
from bench.report.tables import MARKED, unnumbered
from bench.score import Metric
from bench.study.definition import Study

SIDE_BY_SIDE = 6  # variants that a table may have as columns ...
COLUMNS = 10  # ... once it has more columns than this
ROUNDING = 1e-12  # of a mean: what is no more than that is of the sum, and not of the seeds
DECIDE = 5  # measures that a reader is shown first
HELD_OUT = "_held_out"  # ends the name of what a measure of generated images is of held-out ones


def deciding(study: Study, table: pd.DataFrame) -> list[Metric]:
    """The measures that decide, as far as any was taken, each with what it is of held-out images where that is a measure.

    The objective is first, then those of the claims, then others in the study's order, diagnostics last.
    """
    claimed = {claim.metric for claim in study.claims}

    def place(metric: Metric) -> tuple[bool, bool, bool]:
        return (
            metric != study.objective,
            unnumbered(metric) not in claimed,
            bool(table[f"{metric.name}_diagnostic"].any()),
        )

    taken = [metric for metric in study.metrics if table[f"{metric.name}_mean"].notna().any()]
    real = {metric.name.removesuffix(HELD_OUT): metric for metric in taken if metric.name.endswith(HELD_OUT)}
    chosen = sorted((metric for metric in taken if metric not in real.values()), key=place)[:DECIDE]
    return [each for metric in chosen for each in (metric, real.get(metric.name)) if each]


def measures(study: Study, rows: pd.DataFrame, metrics: Sequence[Metric], name: str, *, costs: bool = True) -> Table:
    """The rows of one data set and split for a reader: the best mean of each metric strong, what is tied with it marked.

    What is blank throughout is left out; where seeds or epochs differ within a column, it says so. With its ``costs``: how
    large a variant is, how long it takes, how many of its trials finished.
    """
    columns: dict[str, list[Cell]] = {"variant": [Cell(variant) for variant in rows["variant"]]}
    for metric in metrics:
        own = _plain(rows, metric)
        columns[heading(study, metric, rows)] = [_cell(study, metric, row, own) for row in own]
        halves = rows[f"{metric.name}_interval"]
        if metric == study.objective and halves.notna().any():
            factor, unit = told_in(study, metric)
            columns["95 % interval" + (f" ({unit})" if unit else "")] = [
                Cell() if pd.isna(h) else Cell(f"± {factor * h:.3g}", value=h) for h in halves
            ]
    if costs:
        columns |= _costs(rows)
    table = Table(name, tuple(columns), tuple(zip(*columns.values(), strict=True)), legend(rows, metrics, "Bold"))
    return table.filled()


def heading(study: Study, metric: Metric, rows: pd.DataFrame) -> str:
    """A metric with its better direction, its unit and what is to be known of the whole column."""
    name, (_, unit) = metric.name, told_in(study, metric)
    remarks = [mark for mark in MARKED if rows[f"{name}_{mark}"].any()]
    remarks += ["untested"] if rows[f"{name}_untested"].any() and not rows[f"{name}_best"].any() else []
    return ", ".join((titled(metric), *remarks)) + (f" ({unit})" if unit else "")


def titled(metric: Metric) -> str:
    """A metric with its better direction."""
    return f"{metric.name} {metric.arrow}".rstrip()


def told_in(study: Study, metric: Metric) -> tuple[int, str]:
    """The factor and the unit in which a metric is told: a share in percent where its source has that."""
    percent = metric.unit == "share" and any(c.metric == unnumbered(metric) and "%" in c.text for c in study.claims)
    return (100, "%") if percent else (1, metric.unit)


def legend(rows: pd.DataFrame, metrics: Sequence[Metric], best: str) -> str:
    """What the marks in the table of one data set mean: those that are in it, the best one's being ``best``."""
    marked = {mark: any(rows[f"{m.name}_{mark}"].any() for m in metrics) for mark in ("best", "tied", "untested")}
    marked["n"] = any(_uneven(_plain(rows, m)) for m in metrics)
    marked["time"] = bool(rows["seconds_per_epoch"].notna().any())
    words = {
        "best": f"{best}: best mean",
        "tied": "≈ tied with it: a paired t-test over the seeds that both have, at 5 % after Holm's correction over the "
        "variants, does not tell them apart",
        "untested": "untested: one seed says nothing of which is best",
        "n": "n or seeds: from how many or from which, where not all are from the same",
        "time": "s/epoch: time that passed, more of it where other work ran beside",
    }
    return "; ".join(words[mark] for mark in words if marked[mark])


def laid_out(table: Table) -> Table:
    """The table, or where few variants have many measures its rows as columns: a page holds those, and not the others."""
    names = [row[0].text for row in table.rows]
    if len(names) > SIDE_BY_SIDE or len(table.columns) <= COLUMNS or len(set(names)) < len(names):
        return table
    return table.turned("measure")


def with_spread(mean: float, std: float) -> str:
    """A mean and its standard deviation to the place of that one's second digit, at the most four digits or one more."""
    largest = max(abs(mean), 0.0 if pd.isna(std) else std)
    std = 0.0 if std < ROUNDING * largest else std
    places = max(0, 3 - math.floor(math.log10(largest))) if largest else 3
    places += 10.0 ** -(places + 1) <= std < 10.0**-places
    if std > 0:
        places = min(places, max(0, 1 - math.floor(math.log10(std))))
    style = f".{places}f" if largest < 1e6 else ".3e"
    spread = "" if pd.isna(std) else f" ± {std:{style}}" if std else " ± 0"
    return f"{mean:{style}}{spread}"


def _cell(study: Study, metric: Metric, row: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Cell:
    factor, _ = told_in(study, metric)
    mean = float(row["mean"])
    if math.isnan(mean):
        return Cell()
    text = with_spread(factor * mean, factor * float(row["std"]))
    text += " ≈" if row["tied"] else ""
    text += " untested" if row["untested"] and any(each["best"] for each in rows) else ""
    if row["n"] < max(each["n"] for each in rows):
        text += f" (n = {row['n']:.0f})"
    elif _uneven([each for each in rows if each["n"] == row["n"]]):
        text += f" (seeds {row['seeds']})"
    return Cell(text, bool(row["best"]), mean)


def _plain(rows: pd.DataFrame, metric: Metric) -> list[dict[str, Any]]:
    """Of every row what it has of one metric: without pandas, since each cell is laid beside all of its column."""
    names = ("mean", "std", "n", "seeds", "best", "tied", "untested")
    columns = [rows[f"{metric.name}_{name}"] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _uneven(column: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the means of a column are not all of the same seeds."""
    return len({each["seeds"] for each in column if each["n"] > 0}) > 1


def _costs(rows: pd.DataFrame) -> dict[str, list[Cell]]:
    """Size, time and success of every row; after how many epochs, where that differs."""
    columns = {
        "parameters": [Cell() if pd.isna(n) else Cell(f"{int(n):,}", value=n) for n in rows["parameters"]],
        "s/epoch": [
            Cell() if pd.isna(s) else Cell(f"{s:.2g}" if s < 10 else f"{s:.0f}", value=s)
            for s in rows["seconds_per_epoch"]
        ],
    }
    if rows["epochs"].nunique() > 1:
        columns["epochs"] = [Cell() if pd.isna(n) else Cell(f"{n:.0f}", value=n) for n in rows["epochs"]]
    done = zip(rows["finished"], rows["total"], strict=True)
    return {**columns, "finished": [Cell(f"{finished}/{total}", value=finished) for finished, total in done]}
