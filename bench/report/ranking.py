"""Who is best by the objective: the answer of a study whose source claims nothing, and the ranking of all that it compares."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from bench.report.answer import answer
from bench.report.blocks import Cell, Table
from bench.report.cells import titled, told_in
from bench.report.claims import Judgement
from bench.report.tables import unless_test
from bench.study.definition import Study
from bench.study.naming import nicknames
from bench.text import listed

LEGEND = (
    "The place by the mean over the seeds, and ± half the width of its 95 % interval; ≈ is tied with the first by a paired "
    "t-test, at 5 % after Holm's correction. Of one seed there is no interval, and the order says nothing. The mean place is "
    "over the data sets on which a model was measured; n is of how many seeds, where others have more."
)


def found(study: Study, table: pd.DataFrame, judgements: Sequence[Judgement]) -> str:
    """What a report answers: the verdicts, after who leads by the objective where no verdict is about that."""
    said = answer(judgements)
    about = any(e.claim.metric == study.objective.name and e.verdict in ("holds", "does not hold") for e in judgements)
    return said if about else " ".join(filter(None, (leading(study, table), said)))


def leading(study: Study, table: pd.DataFrame) -> str:
    """A sentence of the best on every data set where more than one variant was measured, and of what is tied with it."""
    metric = study.objective
    name, (factor, unit) = metric.name, told_in(study, metric)
    most = {"lower": "lowest", "higher": "highest", "neither": ""}[metric.better]
    alike: dict[tuple[str, str], list[tuple[str, str]]] = {}  # the best and a remark: data sets and values
    for place, rows in _places(study, table).items():
        if not most or len(rows) < 2:
            continue
        first = rows.iloc[int((metric.sign * rows[f"{name}_mean"]).argmin())]
        tied = list(rows.loc[rows[f"{name}_tied"], "variant"])
        if not first[f"{name}_best"]:
            remark = ": one seed says nothing of which is best"
        elif len(tied) == len(rows) - 1:
            remark = ", but it cannot be told from any other"
        else:
            remark = f", tied with {listed([*map(_quoted, tied)])}" if tied else ""
        half = first[f"{name}_interval"]
        spread, at = ("", "") if math.isnan(half) else (f" ± {factor * half:.2g}", "at 95 %")
        value = " ".join(filter(None, (f"{factor * first[f'{name}_mean']:.4g}{spread}", unit, at)))
        alike.setdefault((_quoted(first["variant"]), remark), []).append(
            (place, f"{value}, n = {first[f'{name}_n']:.0f}")
        )
    parts = []
    for (best, remark), found in alike.items():
        values = "; ".join(value for _, value in found)
        parts.append(f"on {listed([place for place, _ in found])} {best} has the {most} {name} ({values}){remark}")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def ranking(study: Study, table: pd.DataFrame) -> Table | None:
    """All variants by their place on every data set; None where the study does not rank.

    A study ranks that compares what it names, and whose source claims nothing of it.
    """
    places = _places(study, table)
    if study.claims or study.vary or len(study.variants) < 2 or not study.objective.directed or not places:
        return None
    name, (factor, unit) = study.objective.name, told_in(study, study.objective)
    ranks = {
        place: dict(zip(rows["variant"], (study.objective.sign * rows[f"{name}_mean"]).rank(method="min"), strict=True))
        for place, rows in places.items()
    }
    variants = list(dict.fromkeys(variant for each in ranks.values() for variant in each))
    means = {variant: _mean([each[variant] for each in ranks.values() if variant in each]) for variant in variants}
    heads = [f"{place}: {titled(study.objective)}" + (f" ({unit})" if unit else "") for place in places]
    rows = []
    for variant in sorted(variants, key=lambda variant: means[variant]):
        cells = [Cell(variant)]
        for place, own in places.items():
            found = own[own["variant"] == variant]
            if not len(found):
                cells.append(Cell())
                continue
            row = found.iloc[0]
            half = row[f"{name}_interval"]
            spread = "" if math.isnan(half) else f" ± {factor * half:.2g}"
            spread += " ≈" if row[f"{name}_tied"] else ""
            fewer = row[f"{name}_n"] < own[f"{name}_n"].max()
            spread += f" (n = {row[f'{name}_n']:.0f})" if fewer else ""
            mean = float(row[f"{name}_mean"])
            text = f"{ranks[place][variant]:.0f}. {factor * mean:.4g}{spread}"
            cells.append(Cell(text, bool(row[f"{name}_best"]), mean))
        cells += [Cell(f"{means[variant]:.1f}", value=means[variant])] if len(places) > 1 else []
        rows.append(tuple(cells))
    columns = ("model", *heads, *(["mean place"] if len(places) > 1 else []))
    return Table("ranking", columns, tuple(rows), LEGEND)


def _places(study: Study, table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """The rows that were measured by the objective, by data set; of a search what was confirmed, where anything was."""
    places, names = {}, nicknames(table["dataset"])
    for (dataset, split), rows in table.groupby(["dataset", "split"], sort=False):
        confirmed = (
            study.is_search and split != "test" and "test" in set(table.loc[table["dataset"] == dataset, "split"])
        )
        measured = rows[rows[f"{study.objective.name}_mean"].notna()]
        if len(measured) and not confirmed:
            places[f"{names[str(dataset)]}{unless_test(str(split))}"] = measured
    return places


def _quoted(variant: str) -> str:
    """A name as a sentence has it: one of several words would run into the others."""
    return f"“{variant}”" if " " in variant else variant


def _mean(numbers: list[float]) -> float:
    return sum(numbers) / len(numbers)
