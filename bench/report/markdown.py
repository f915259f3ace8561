"""A page as Markdown, with GitHub's tables and HTML's ``details``: no text in it means anything but itself."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

from bench.report.blocks import (
    Block,
    Bullets,
    Cell,
    Code,
    Files,
    Fold,
    Page,
    Picture,
    Quote,
    Row,
    Section,
    Table,
    Tabs,
    Text,
)
from bench.text import escaped, printable


def markdown(page: Page) -> str:
    """The whole page, ending in a line break."""
    return "\n".join((f"# {escaped(page.title)}", "", *_blocks(page.blocks, 2)))


def table(each: Table) -> list[str]:
    """The lines of a table, without its note."""
    cells = [[escaped(column) for column in each.columns], *([_cell(cell) for cell in row] for row in each.rows)]
    widths = [max(3, *(len(row[n]) for row in cells)) for n in range(len(each.columns))]
    lines = ["| " + " | ".join(map(str.ljust, row, widths)) + " |" for row in cells]
    return [lines[0], "|" + "|".join(f":{'-' * (width + 1)}" for width in widths) + "|", *lines[1:]]


def _blocks(blocks: Iterable[Block], level: int) -> list[str]:
    lines: list[str] = []
    for block in blocks:
        lines += [*_block(block, level), ""]
    return lines


def _block(block: Block, level: int) -> list[str]:
    match block:
        case Text():
            return [escaped(block.text)]
        case Quote():
            return [f"> {escaped(block.text)}"]
        case Bullets():
            return [f"* {escaped(item)}" for item in block.items]
        case Code():
            shown = [printable(line) for line in block.text.splitlines()]
            fence = "`" * max([3, *(1 + len(ticks) for ticks in re.findall("`+", " ".join(shown)))])
            return [fence, *shown, fence]
        case Files():
            return ["; ".join(f"{escaped(what)}: [{name}]({name})" for name, what in block.files) + "."]
        case Table():
            return [*table(block), *(["", escaped(block.note)] if block.note else [])]
        case Picture():
            shown = [f"{'#' * level} {escaped(block.title)}", "", _image(block)]
            return [*shown, *(["", escaped(block.note)] if block.note else [])]
        case Row():
            titles, images = ([f(each) for each in block.pictures] for f in (lambda p: escaped(p.title), _image))
            rule = "|".join(":--" for _ in titles)
            notes = [line for each in block.pictures if each.note for line in ("", escaped(each.note))]
            return [f"| {' | '.join(titles)} |", f"|{rule}|", f"| {' | '.join(images)} |", *notes]
        case Fold():
            inside = _blocks(block.blocks, level + 1)
            return ["<details>", f"<summary>{html.escape(printable(block.title))}</summary>", "", *inside, "</details>"]
        case Section():
            return [f"{'#' * level} {escaped(block.title)}", "", *_blocks(block.blocks, level + 1)[:-1]]
        case Tabs():
            return _blocks(block.sections, level)[:-1]


def _image(picture: Picture) -> str:
    return f"![{escaped(picture.title)}]({picture.file})"


def _cell(cell: Cell) -> str:
    text = escaped(cell.text)
    return (f"**{text}**" if cell.strong and text else text) + escaped(cell.after)
