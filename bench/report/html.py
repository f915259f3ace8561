"""A page as one HTML file that asks nothing of anybody: its pictures, tables and files are within it."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from html import escape
from pathlib import Path

from bench.images import COLOURS, embedded
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
from bench.text import printable

# Nothing is fetched, sent or framed: what a browser holds a page to, whatever stands in it.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; form-action 'none'"
TOGETHER = re.compile(r" (?=[=±%] ?)|(?<= [=±]) ")  # p = 0.01, 12 ± 45 %
LONG = re.compile(r"\w{17,}")


def html(page: Page) -> str:
    """The whole page. `report.css` and `report.js`, beside this file, are how it looks and what it does."""
    title = _text(page.title)
    colours = "".join(f"--colour-{number}: {colour}; " for number, colour in enumerate(COLOURS))
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            '<link rel="icon" href="data:,">',
            f"<title>{title}</title>",
            f"<style>:root {{ {colours}}}\n{_beside('report.css')}</style>",
            "</head>",
            "<body>",
            "<main>",
            f'<p class="study">{_text(page.name)}</p>',
            f"<h1>{title}</h1>",
            *_blocks(page.blocks, 2, page.files),
            "</main>",
            '<dialog id="large"><img alt=""></dialog>',
            f"<script>{_beside('report.js')}</script>",
            "</body>",
            "</html>",
            "",
        )
    )


@cache
def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _blocks(blocks: Iterable[Block], level: int, files: Mapping[str, bytes]) -> list[str]:
    return [line for block in blocks for line in _block(block, level, files)]


def _block(block: Block, level: int, files: Mapping[str, bytes]) -> list[str]:
    match block:
        case Text():
            return [f"<p{' class=lead' if block.lead else ''}>{_text(block.text)}</p>"]
        case Quote():
            return [f"<blockquote>{_text(block.text)}</blockquote>"]
        case Bullets():
            return ["<ul>", *(f"<li>{_text(item)}</li>" for item in block.items), "</ul>"]
        case Code():
            return [f"<pre>{_lines(block.text)}</pre>"]
        case Files():
            links = [
                f'{_text(what)}: <a download="{_text(name)}" href="{_data(name, files)}">{_text(name)}</a>'
                for name, what in block.files
            ]
            return [f"<p>{'; '.join(links)}.</p>"]
        case Table():
            return [*_table(block), *([f'<p class="note">{_text(block.note)}</p>'] if block.note else [])]
        case Picture():
            return [_figure(block, files)]
        case Row():
            return ['<div class="row">', *(_figure(each, files) for each in block.pictures), "</div>"]
        case Fold():
            return [
                f"<details><summary>{_text(block.title)}</summary>",
                *_blocks(block.blocks, level + 1, files),
                "</details>",
            ]
        case Section():
            return [
                f"<section><h{level}>{_text(block.title)}</h{level}>",
                *_blocks(block.blocks, level + 1, files),
                "</section>",
            ]
        case Tabs():
            return ['<div class="tabs">', *_blocks(block.sections, level, files), "</div>"]


def _table(table: Table) -> list[str]:
    head = "".join(f"<th scope=col>{_name(column)}</th>" for column in table.columns)
    rows = []
    for row in table.rows:
        first = f"<th scope=row>{_name(row[0].text)}</th>"
        rows.append(f"<tr>{first}{''.join(map(_cell, row[1:]))}</tr>")
    return [
        f'<div class="scroll"><table id="{table.name}">',
        f"<thead><tr>{head}</tr></thead>",
        "<tbody>",
        *rows,
        "</tbody></table></div>",
    ]


def _name(text: str) -> str:
    """A text in which long names may be broken between their words."""
    return LONG.sub(lambda name: name[0].replace("_", "_<wbr>"), _text(text))


def _cell(cell: Cell) -> str:
    text = (f"<b>{_name(cell.text)}</b>" if cell.strong else _name(cell.text)) + _text(cell.after)
    number = cell.value is not None and math.isfinite(cell.value)  # one that breaks nowhere
    together = TOGETHER.sub("\N{NO-BREAK SPACE}", text)
    return f"<td data-value={cell.value!r}>{text}</td>" if number else f"<td>{together}</td>"


def _figure(picture: Picture, files: Mapping[str, bytes]) -> str:
    title, note = _text(picture.title), _text(picture.note)
    image = f'<button class="picture"><img alt="{title}" src="{_data(picture.file, files)}"></button>'
    return f"<figure>{image}<figcaption><b>{title}</b>{'. ' if note else ''}{note}</figcaption></figure>"


def _lines(text: str) -> str:
    return "\n".join(escape(printable(line)) for line in text.splitlines())


def _data(name: str, files: Mapping[str, bytes]) -> str:
    kind, content = embedded(files[name]) if Path(name).suffix == ".png" else ("text/csv", files[name])
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _text(text: str) -> str:
    return escape(printable(" ".join(text.split())))
