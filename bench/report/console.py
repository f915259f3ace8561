"""What a study prints when it is finished: what was found, on a screen or two; the page has the rest."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from bench.report.answer import plain
from bench.report.blocks import Table
from bench.report.cells import SIDE_BY_SIDE, deciding, legend, measures
from bench.report.claims import Judgement
from bench.report.plain import WIDTH, plain_table
from bench.report.tables import TOP, by_protocol, notes, prepared, summary
from bench.study.definition import Study
from bench.text import listed, printable


def console(
    study: Study,
    runs: pd.DataFrame,
    found: str = "",
    judgements: Sequence[Judgement] = (),
    width: int | None = None,
    *,
    table: pd.DataFrame | None = None,
) -> str:
    """The answer, the verdicts that a test gave, the measures that decide, and why cells are blank.

    Args:
        found: the answer.
        judgements: all of them; of those without a test it is told how many there are.
        width: of the terminal, in columns; None where there is none, and so lines of words are not broken.
        table: the `summary` of the runs, where it is at hand.
    """
    runs = prepared(study, runs)
    table = summary(study, runs) if table is None else table
    told, _ = by_protocol(study, runs)
    chosen = deciding(told, table)
    parts = [_verdicts(found, judgements, width)]
    marks: list[str] = []
    for (dataset, split), rows in table.groupby(["dataset", "split"], sort=False):
        shown = rows.head(TOP) if study.is_search else rows
        text = _shortest(measures(told, shown, chosen, "measures", costs=False), width or WIDTH)
        parts.append(f"{study.name} on {printable(str(dataset))}, {split} split\n{text}")
        marks.append(legend(shown, chosen, "*"))
    rest = [metric for metric in told.metrics if metric not in chosen and table[f"{metric.name}_mean"].notna().any()]
    more = f"{len(rest)} more measure{'s' if len(rest) > 1 else ''}, " if rest else ""
    signs = "; ".join(dict.fromkeys(part for each in marks for part in each.split("; ") if part))
    remarks = [
        *filter(None, [signs]),
        *map(printable, notes(study, runs)),
        f"on the page: {more}curves, pictures, costs",
    ]
    return "\n\n".join(filter(None, [*parts, "\n".join(_filled(each, width) for each in remarks)]))


def _verdicts(found: str, judgements: Sequence[Judgement], width: int | None) -> str:
    """What was found, a line for every verdict that a test gave, and in one how many others there are."""
    told = [each for each in judgements if each.test]
    counts = Counter(each.verdict for each in judgements if not each.test)
    rest = f"what else the source says: {listed([f'{count} {verdict}' for verdict, count in counts.items()])}"
    first = plain(found, told, width or WIDTH) if told else textwrap.fill(found, width or WIDTH)
    return "\n".join(filter(None, [first, _filled(f"{rest}; on the page", width) if counts else ""]))


def _shortest(table: Table, width: int) -> str:
    """A table with its variants as rows, or as columns where they are few and that takes fewer lines."""
    names = [row[0].text for row in table.rows]
    texts = [plain_table(table, width)]
    if len(set(names)) == len(names) <= SIDE_BY_SIDE:
        texts.append(plain_table(table.turned("measure"), width))
    return min(texts, key=lambda text: text.count("\n"))


def _filled(text: str, width: int | None) -> str:
    """A line of words, broken between them where a terminal would break it anywhere."""
    return textwrap.fill(text, width, subsequent_indent="  ") if width else text
