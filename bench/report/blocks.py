"""What a page is made of: one description, from which Markdown, HTML and LaTeX are written.

All texts are plain: whoever writes them in a format escapes them for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Cell:
    """What stands in one place of a table.

    Attributes:
        value: the number by which a column is sorted; None where it is by the text.
        after: what follows the text, and is not strong.
    """

    text: str = ""
    strong: bool = False
    value: float | None = None
    after: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under headings, the first column naming each row.

    Attributes:
        name: of letters, digits and hyphens, its own on the page.
        note: what its marks mean; empty where it has none.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""

    def filled(self) -> Table:
        """Without the rows and columns in which nothing stands but a name."""
        kept = [n for n in range(len(self.columns)) if n == 0 or any(row[n].text for row in self.rows)]
        rows = [tuple(row[n] for n in kept) for row in self.rows]
        alone = len(kept) == 1
        return replace(
            self,
            columns=tuple(self.columns[n] for n in kept),
            rows=tuple(row for row in rows if alone or any(cell.text for cell in row[1:])),
        )

    def turned(self, corner: str) -> Table:
        """With rows as columns, under the heading ``corner``."""
        columns = (corner, *(row[0].text for row in self.rows))
        rows = tuple((Cell(name), *(row[n] for row in self.rows)) for n, name in enumerate(self.columns) if n)
        return replace(self, columns=columns, rows=rows)


@dataclass(frozen=True)
class Text:
    """A paragraph; ``lead`` is the one that a page is read for."""

    text: str
    lead: bool = False


@dataclass(frozen=True)
class Quote:
    """What somebody else said."""

    text: str


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Code:
    """Lines to be copied."""

    text: str


@dataclass(frozen=True)
class Files:
    """Files that lie beside the page, with what each is."""

    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Picture:
    """A picture that lies beside the page, its title, and what is to be known of it."""

    file: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """Pictures side by side."""

    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Fold:
    """What is shown when it is asked for."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Tabs:
    """Sections of which one is looked at at a time, where a format can do that."""

    sections: tuple[Section, ...]


Block = Text | Quote | Bullets | Code | Files | Table | Picture | Row | Fold | Section | Tabs


@dataclass(frozen=True)
class Page:
    """A page, and the files that lie beside it.

    Attributes:
        facts: what an index says of it, by column, in plain texts.
        thumbnail: of ``files``, the one that stands for the page; empty where it has no picture.
    """

    name: str
    title: str
    blocks: tuple[Block, ...]
    files: Mapping[str, bytes]
    facts: Mapping[str, str] = field(default_factory=dict)
    thumbnail: str = ""


def mapped(item: Any, change: Callable[[str], str]) -> Any:
    """A page, or a part of one, with every text changed; what lies beside it is left as it is."""
    if isinstance(item, str):
        return change(item)
    if isinstance(item, tuple):
        return tuple(mapped(each, change) for each in item)
    if is_dataclass(item) and not isinstance(item, type):
        return replace(item, **{each.name: mapped(getattr(item, each.name), change) for each in fields(item)})
    return {name: mapped(each, change) for name, each in item.items()} if isinstance(item, Mapping) else item


def tables(blocks: Iterable[Block]) -> list[Table]:
    """Every table of a page, in its order."""
    found: list[Table] = []
    for block in blocks:
        match block:
            case Table():
                found.append(block)
            case Fold() | Section():
                found += tables(block.blocks)
            case Tabs():
                found += tables(block.sections)
    return found


def some(*blocks: Block | Sequence[Block] | None) -> tuple[Block, ...]:
    """Those of the blocks that there are."""
    found: list[Block] = []
    for block in blocks:
        found += [] if block is None else [block] if isinstance(block, Block) else block
    return tuple(found)
