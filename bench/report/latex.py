"""The tables of a page as LaTeX, for ``\\usepackage{booktabs}``."""

from __future__ import annotations

from collections.abc import Sequence

from bench.report.blocks import Cell, Page, Table, tables
from bench.text import printable

SIGNS = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "`": r"\textasciigrave{}",
    "[": "{[}",  # after \\ it would begin an option
    "]": "{]}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\rightarrow$",
    "²": r"$^2$",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
}


def latex(page: Page) -> str:
    """Every table of the page as a ``table`` of its own, to be read with ``\\input``."""
    return "\n".join(line for each in tables(page.blocks) for line in (*_table(page.name, each), ""))


def _table(study: str, table: Table) -> list[str]:
    return [
        r"\begin{table}",
        r"\centering",
        f"\\begin{{tabular}}{{{'l' * len(table.columns)}}}",
        r"\toprule",
        _row([_text(column) for column in table.columns]),
        r"\midrule",
        *(_row([_cell(cell) for cell in row]) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *([f"\\caption{{{_text(table.note)}}}"] if table.note else []),
        f"\\label{{tab:{study}-{table.name}}}",
        r"\end{table}",
    ]


def _row(cells: Sequence[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _cell(cell: Cell) -> str:
    text = _text(cell.text)
    return (f"\\textbf{{{text}}}" if cell.strong and text else text) + _text(cell.after)


def _text(text: str) -> str:
    return "".join(SIGNS.get(sign, sign) for sign in printable(" ".join(text.split())))
