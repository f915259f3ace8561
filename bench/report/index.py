"""The index of published reports: what each asks, what it found, from which data and how many seeds."""

from __future__ import annotations

import html
import json
from pathlib import Path

from bench.files import write_whole
from bench.study.definition import StudyError
from bench.text import escaped, is_name

COLUMNS = ("study", "question", "answer", "", "data", "n", "date")
WIDTH = 240  # pixels of a thumbnail
HEAD = """# Reports

Every report is a page here, and one `report.html` beside it that holds all of it: pictures, tables to be sorted, the numbers.
"""


def write_index(reports: Path) -> Path:
    """Write ``README.md`` of the folder of published reports from what each says of itself in its ``report.json``.

    Raises:
        StudyError: one cannot be read.
    """
    rows = [_row(file.parent) for file in sorted(reports.glob("*/report.json")) if is_name(file.parent.name)]
    rule = "|".join(":--" for _ in COLUMNS)
    lines = [HEAD, f"| {' | '.join(COLUMNS)} |", f"|{rule}|", *(f"| {' | '.join(row)} |" for row in rows), ""]
    write_whole(reports / "README.md", "\n".join(lines).encode(errors="backslashreplace"))
    return reports / "README.md"


def _row(folder: Path) -> list[str]:
    place = f"reports/{folder.name}/report.json"
    try:
        facts = {name: str(value) for name, value in json.loads((folder / "report.json").read_text()).items()}
        told = [escaped(facts[name]) for name in ("question", "answer", "data", "n", "date")]
        thumbnail = facts["thumbnail"]
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise StudyError(f"{place}: is no report's ({type(error).__name__}: {error}); publish it again") from None
    image = f'<img src="{html.escape(f"{folder.name}/{thumbnail}")}" width="{WIDTH}" alt="">' if thumbnail else ""
    return [f"[{escaped(folder.name)}]({folder.name}/README.md)", *told[:2], image, *told[2:]]
