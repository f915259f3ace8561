"""Text on a terminal: columns that line up, cut or wrapped to what it holds; elsewhere whole lines, for other programs."""

from __future__ import annotations

import inspect
import re
import sys
import unicodedata
from collections.abc import Collection, Mapping, Sequence

from bench.text import printable

CUT = "…"
NARROWEST = 8  # cells that a column keeps when a table is made to fit ...
READABLE = 20  # ... and below which it is not cut where another can be left out
GAP = "  "
BEGINS = re.compile(
    r"[ *-]|\w+: "
)  # a line of a docstring that goes on with none before it: an item, a name that is explained
FULL = 100  # letters from which a line of a docstring is taken to go on in the next: they are written 130 wide


def terminal() -> int | None:
    """The width in cells of the terminal that is written to, or None where it is a file or another program."""
    if not sys.stdout.isatty():
        return None
    import shutil  # which reads every compression there is

    return shutil.get_terminal_size().columns


def cells(text: str) -> int:
    """How many cells of a terminal a text fills: East Asian letters two each, combining ones none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    return len(text) + wide - sum(unicodedata.combining(letter) > 0 for letter in text)


def cut(text: str, most: int) -> str:
    """The beginning of a text that fills more than ``most`` cells, with a sign that it goes on."""
    if cells(text) <= most:
        return text
    while text and cells(text) > most - 1:
        text = text[: min(len(text) - 1, most - 1)]
    return text + CUT


def padded(text: str, size: int) -> str:
    """A text with blanks behind it, to fill ``size`` cells."""
    return text + " " * (size - cells(text))


def wrapped(text: str, width: int | None, indent: str = "") -> list[str]:
    """The words of a text in lines of at most ``width`` cells, all but the first behind ``indent``; no word is cut."""
    if width is None or cells(text) <= width:
        return [text]
    lines, line = [], text[: len(text) - len(text.lstrip())]
    for word in text.split():
        longer = f"{line} {word}" if line.strip() else line + word
        if line.strip() and cells(longer) > width:
            lines.append(line)
            longer = indent + word
        line = longer
    return [*lines, line]


def reflowed(text: str, width: int | None) -> list[str]:
    """A docstring's lines, broken anew for the terminal: a full line goes on in the next, a short one ends there."""
    written = [printable(line) for line in inspect.cleandoc(text).splitlines()]
    if width is None:
        return written
    lines: list[str] = []
    full = False
    for line in written:
        if full and line.strip() and not BEGINS.match(line):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
        full = len(line) >= FULL
    return [part for line in lines for part in wrapped(line, width)]


def described(rows: Sequence[Sequence[str]], width: int | None, indent: str = GAP, *, wrap: bool = True) -> list[str]:
    """Rows whose last cell is a sentence, the others lined up: it is wrapped beside them, or cut to one line.

    Where the others leave it little room it goes below them.
    """
    sizes = [
        max((cells(row[column]) for row in rows), default=0) for column in range(max(map(len, rows), default=1) - 1)
    ]
    left = len(indent) + sum(size + len(GAP) for size in sizes)
    lines = []
    for *names, text in rows:
        head = indent + "".join(padded(name, size) + GAP for name, size in zip(names, sizes, strict=True))
        if width is None:
            lines.append((head + text).rstrip())
        elif width - left < NARROWEST * 3:
            below = indent + 2 * GAP
            parts = wrapped(text, width - len(below)) if wrap else [cut(text, width - len(below))]
            lines += [cut(head.rstrip(), width), *(below + part for part in parts if part)]
        else:
            parts = wrapped(text, width - left) if wrap else [cut(text, width - left)]
            lines += [(head if number == 0 else " " * left) + part for number, part in enumerate(parts)]
    return [line.rstrip() for line in lines]


def roomy(
    columns: Mapping[str, Sequence[str]], spare: Sequence[str], whole: Collection[str], width: int | None
) -> list[str]:
    """A table, each column under its name, without as many of the ``spare`` ones, the first first, as there is no room for.

    A name that is wider than what stands below it is broken behind its underscores before a column is left out; what is left
    out is named below. The columns that are ``whole`` are not cut.
    """
    for number in range(len(spare) + 1):
        kept = {name: values for name, values in columns.items() if name not in spare[:number]}
        room = {name: max(map(cells, values), default=0) for name, values in kept.items()}
        broken = [_broken(name, room[name]) for name in kept]
        for heads in ([[name] for name in kept], broken):
            sizes = [max(room[name], *map(cells, lines)) for name, lines in zip(kept, heads, strict=True)]
            least = [size if name in whole else min(size, READABLE) for name, size in zip(kept, sizes, strict=True)]
            if width is None or len(GAP) * len(kept) + sum(least) <= width:
                return _under(heads, kept, whole, width, spare[:number])
    return _under(broken, kept, whole, width, spare)


def _under(
    heads: Sequence[Sequence[str]],
    columns: Mapping[str, Sequence[str]],
    whole: Collection[str],
    width: int | None,
    left_out: Sequence[str],
) -> list[str]:
    """Columns under their heads, which may have several lines and end on the last of them."""
    high = max(map(len, heads))
    titles = zip(*([*[""] * (high - len(lines)), *lines] for lines in heads), strict=True)
    rows = [*titles, *zip(*columns.values(), strict=True)]
    lines = table(rows, width, whole=[n for n, name in enumerate(columns) if name in whole])
    also = f"{GAP}in a wider terminal also: {', '.join(left_out)}"
    return [*lines, *(wrapped(printable(also), width, GAP) if left_out else ())]


def _broken(name: str, room: int) -> list[str]:
    """A name in lines of ``room`` cells, or of as many as its longest word takes with the sign behind it."""
    words = re.findall(r"[^_.]+[_.]*|[_.]+", name)
    room, lines = max(room, *map(cells, words)), [""]
    for word in words:
        lines = [*lines[:-1], lines[-1] + word] if cells(lines[-1] + word) <= room else [*lines, word]
    return lines


def table(
    rows: Sequence[Sequence[str]],
    width: int | None,
    indent: str = GAP,
    numbers: Sequence[int] = (),
    whole: Collection[int] = (),
) -> list[str]:
    """Rows, the first of them the titles, with every column lined up: the widest are cut until a line fits the terminal.

    Args:
        numbers: the columns that are lined up on the right.
        whole: the columns that are not cut.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    sizes = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    over = 0 if width is None else len(indent) + sum(sizes) + len(GAP) * (len(sizes) - 1) - width
    while over > 0 and max((size for n, size in enumerate(sizes) if n not in whole), default=0) > NARROWEST:
        widest = max((n for n in range(len(sizes)) if n not in whole), key=sizes.__getitem__)
        sizes[widest] -= 1
        over -= 1
    lines = []
    for row in rows:
        shown = [cut(cell, size) for cell, size in zip(row, sizes, strict=True)]
        placed = [
            " " * (size - cells(cell)) + cell if column in numbers else padded(cell, size)
            for column, (cell, size) in enumerate(zip(shown, sizes, strict=True))
        ]
        line = (indent + GAP.join(placed)).rstrip()
        lines.append(line if width is None else cut(line, width))
    return lines
