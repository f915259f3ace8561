"""Tables in plain text, as a terminal shows them."""

from __future__ import annotations

import textwrap

import pandas as pd

from bench.report.blocks import Table
from bench.report.cells import laid_out, legend, measures
from bench.report.tables import TOP, notes, prepared, summary
from bench.study.definition import Study
from bench.text import printable

WIDTH = 118  # columns that a printed table may fill where nobody says how wide the terminal is
NAME = 24  # of them that a row's name has at the least


def console(study: Study, runs: pd.DataFrame, width: int | None = None, *, table: pd.DataFrame | None = None) -> str:
    """The tables as a finished study prints them; what is blank throughout is left to `notes`.

    Args:
        width: of the terminal, in columns; None where there is none, and so lines of words are not broken.
        table: the `summary` of the runs, where it is at hand.
    """
    runs = prepared(study, runs)
    parts = []
    table = summary(study, runs) if table is None else table
    for (dataset, split), rows in table.groupby(["dataset", "split"], sort=False):
        shown = rows.head(TOP) if study.is_search else rows
        text = plain_table(laid_out(measures(study, shown, study.metrics, "measures")), width or WIDTH)
        parts.append(f"{study.name} on {printable(str(dataset))}, {split} split\n{text}")
        parts[-1] += f"\n{_filled(words, width)}" if (words := legend(shown, study.metrics, "*")) else ""
    return "\n\n".join([*parts, "\n".join(_filled(printable(note), width) for note in notes(study, runs))]).strip()


def _filled(text: str, width: int | None) -> str:
    """A line of words, broken between them where a terminal would break it anywhere."""
    return textwrap.fill(text, width, subsequent_indent="  ") if width else text


def plain_table(table: Table, width: int = WIDTH) -> str:
    """As many columns side by side as ``width`` holds; names, in the first one, that are too long for it go on below."""
    columns = [
        [f"{cell.text} *" if cell.strong else cell.text for cell in column] for column in zip(*table.rows, strict=True)
    ]
    cells = dict(zip(table.columns, columns or [[] for _ in table.columns], strict=True))
    widths = {name: max(map(len, (name, *column))) for name, column in cells.items()}
    title = table.columns[0]
    names = [printable(name) for name in cells.pop(title)]
    blocks: list[list[str]] = [[]]
    for column in cells:
        if blocks[-1] and NAME + sum(2 + widths[each] for each in [*blocks[-1], column]) > width:
            blocks.append([])
        blocks[-1].append(column)
    parts = []
    for block in blocks:
        rest = sum(2 + widths[column] for column in block)
        widths[title] = min(widths[title], max(NAME, width - rest))
        sizes = [widths[column] for column in (title, *block)]
        rows = [[title, *block], ["-" * size for size in sizes]]
        for index, text in enumerate(names):
            name, *more = textwrap.wrap(text, widths[title]) or [""]
            rows += [[name, *(cells[column][index] for column in block)], *([line] for line in more)]
        parts.append("\n".join("  ".join(map(str.ljust, row, sizes)).rstrip() for row in rows))
    return "\n\n".join(parts)
