"""A table in plain text, as a terminal shows it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, zip_longest

from bench.report.blocks import Table
from bench.text import printable

WIDTH = 118  # columns that a printed table may fill where nobody says how wide the terminal is
NAME = 24  # of them that a row's name has at the least ...
WORDS = 20  # ... and any other column whose words are wrapped


def plain_table(table: Table, width: int = WIDTH) -> str:
    """As many columns side by side as ``width`` holds; names, in the first one, that are too long for it go on below.

    So do other words, where all columns have room then.
    """
    columns = [
        [printable(f"{cell.text} *" if cell.strong else cell.text) for cell in column]
        for column in zip(*table.rows, strict=True)
    ]
    cells = dict(zip(table.columns, columns or [[] for _ in table.columns], strict=True))
    title, *others = table.columns
    widths = {name: max(map(len, (name, *column))) for name, column in cells.items()}
    widths |= _narrowed({name: (name, *cells[name]) for name in others}, widths[title], width)
    blocks: list[list[str]] = [[]]
    for column in others:
        if blocks[-1] and NAME + sum(2 + widths[each] for each in [*blocks[-1], column]) > width:
            blocks.append([])
        blocks[-1].append(column)
    parts = []
    for block in blocks:
        rest = sum(2 + widths[column] for column in block)
        widths[title] = min(widths[title], max(NAME, width - rest))
        shown = (title, *block)
        sizes = [widths[column] for column in shown]
        rows = [shown, *zip(*(cells[column] for column in shown), strict=True)]
        head, *lines = [list(_lines(row, sizes)) for row in rows]
        parts.append("\n".join([*head, "  ".join("-" * size for size in sizes), *chain(*lines)]))
    return "\n\n".join(parts)


def _narrowed(columns: Mapping[str, Sequence[str]], name: int, width: int) -> dict[str, int]:
    """The widths of columns whose words are wrapped until a ``name`` beside them has room; as they are where it never has."""
    widths = {column: max(map(len, texts)) for column, texts in columns.items()}
    least = {
        column: min(widths[column], max(WORDS, *(len(word) for text in texts for word in _whole(text).split(" "))))
        for column, texts in columns.items()
    }
    if NAME + sum(2 + size for size in least.values()) > width:
        return widths
    while name + sum(2 + size for size in widths.values()) > width and widths != least:
        widths[max((each for each in widths if widths[each] > least[each]), key=widths.__getitem__)] -= 1
    return widths


def _whole(text: str) -> str:
    """A text whose numbers hold together with their intervals: ``4.0 ± 0.2``, ``n = 3``."""
    return re.sub(r" ([±=]) ", "\N{NO-BREAK SPACE}\\1\N{NO-BREAK SPACE}", text)


def _lines(row: Sequence[str], sizes: Sequence[int]) -> Iterator[str]:
    """A row of a table, in as many lines as its longest cell takes."""
    cells = zip(row, sizes, strict=True)
    wrapped = [textwrap.wrap(_whole(text), size) if len(text) > size else [text] for text, size in cells]
    for parts in zip_longest(*wrapped, fillvalue=""):
        yield "  ".join(map(str.ljust, parts, sizes)).replace("\N{NO-BREAK SPACE}", " ").rstrip()
