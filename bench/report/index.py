"""The index of published reports: what each study asks and found, from which data and how many seeds; and all verdicts, counted.

A study without a report stands there too, so that a reader sees what is open.
"""

from __future__ import annotations

import csv
import html
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from bench.files import write_whole
from bench.report.folder import RUNS
from bench.study.definition import Study, StudyError
from bench.text import escaped, is_name

INDEX = "README.md"
COLUMNS = ("study", "question", "answer", "", "data", "n", "date")
VERDICTS = ("holds", "does not hold", "cannot tell", "not judged", "open")
OWN, REPEATED = "digits", "repeated on digits"  # images that no document uses
WIDTH = 240  # pixels of a thumbnail
DOCUMENT = re.compile(
    r"[Dd]ocument \d+|.*?\b\d{4}\b|[^,]*"
)  # of "document 003, figure 1" or of "Burda et al., 2016, table 1"
HEAD = """# Reports

Beside each page lie `report.html`, the whole report in one file with its numbers and tables to be sorted, and `runs.zip`, the
runs that it is made of, with their trained weights where the page says so. Each page ends with the commands that make it again.
"""
COUNTED = """## What the sources said

A claim counts once for each study that makes it and each data set that it is about; one that cannot be judged, once for each
study, and its report says why. It is open where it was not run, or for fewer epochs than it speaks of.
"""
COMPARED = """## Whose distances compare

What is measured in the features of a network compares between reports on one line: those that had the same network on the same
images. A classifier that was trained again is another one.
"""
APART = f"""No document uses `{OWN}`, the images that come with the suite: what was repeated on them stands in a row of its own.
"""


def write_index(reports: Path, studies: Iterable[Study] = ()) -> Path:
    """Write the index of the folder of published reports from each one's ``report.json`` and ``claims.csv``.

    Args:
        studies: those that there are, with a report or without.

    Raises:
        StudyError: a report cannot be read.
    """
    published = [file.parent for file in sorted(reports.glob("*/report.json")) if is_name(file.parent.name)]
    names = {folder.name for folder in published}
    without = [study for study in studies if study.name not in names]
    rows = [_row(folder) for folder in published] + [_open(study) for study in without]
    compared = _compared(published)
    claims = [each for folder in published for each in _verdicts(folder)]
    claims += [each for study in without for each in _unjudged(study)]
    lines = [HEAD, *_table(COLUMNS, rows), ""]
    if claims:
        counts = _counts(claims)
        apart = [APART] if any(source == REPEATED for source, *_ in counts) else []
        lines += [COUNTED, *apart, *_table(("source", "claims", *VERDICTS), counts), ""]
    if compared:
        lines += [COMPARED, *_table(("data set", "images", "features of", "weights", "reports"), compared), ""]
    write_whole(reports / INDEX, "\n".join(lines).encode(errors="backslashreplace"))
    return reports / INDEX


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in (columns, *rows)]
    return [lines[0], f"|{'|'.join(':--' for _ in columns)}|", *lines[1:]]


def _row(folder: Path) -> list[str]:
    try:
        facts = {name: str(value) for name, value in json.loads((folder / "report.json").read_text()).items()}
        told = [escaped(facts[name]) for name in ("question", "answer", "data", "n", "date")]
        thumbnail = facts["thumbnail"]
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise _unreadable(folder, "report.json", error) from None
    image = f'<img src="{html.escape(f"{folder.name}/{thumbnail}")}" width="{WIDTH}" alt="">' if thumbnail else ""
    return [f"[{escaped(folder.name)}]({folder.name}/README.md)", *told[:2], image, *told[2:]]


def _compared(published: Iterable[Path]) -> list[list[str]]:
    """On which images of which data set features were taken of what, and the reports that have that."""
    found: dict[tuple[str, ...], list[str]] = {}
    for folder in published:
        try:
            with (folder / RUNS).open(newline="") as file:
                places = {place for row in csv.DictReader(file) for place in _features(row)}
        except (OSError, ValueError, AttributeError, KeyError, TypeError, csv.Error) as error:
            raise _unreadable(folder, RUNS, error) from None
        for place in places:
            found.setdefault(place, []).append(f"[{escaped(folder.name)}]({folder.name}/README.md)")
    return [[*map(escaped, place), ", ".join(reports)] for place, reports in sorted(found.items())]


def _features(run: Mapping[str, str]) -> Iterator[tuple[str, ...]]:
    """The data set and the images, what they were seen by and its weights, of each measure of a run that is one of features."""
    for column in run:
        kind, _, metric = column.partition(".")
        if kind == "protocol" and run[column] and run.get(f"metric.{metric}"):
            facts = {name: str(fact) for name, fact in json.loads(run[column]).items()}
            if "extractor" in facts:
                images = f"{facts.get('images', '')} of {facts.get('split', '')}"
                yield run["dataset"], images, facts["extractor"], facts.get("weights", "")


def _open(study: Study) -> list[str]:
    return [escaped(study.name), escaped(study.question), "no report yet", "", "", "", ""]


def _verdicts(folder: Path) -> list[tuple[str, str, str]]:
    """Where each claim of a report stands, the data set that it is judged on, and its verdict."""
    if not (folder / "claims.csv").is_file():
        return []  # its source says nothing that could be judged
    try:
        with (folder / "claims.csv").open(newline="") as file:
            rows = [(row["where"], row["dataset"], row["verdict"]) for row in csv.DictReader(file, restval="")]
        if other := {verdict for *_, verdict in rows} - {*VERDICTS}:
            raise ValueError(f"no verdict: {min(other)!r}")
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise _unreadable(folder, "claims.csv", error) from None
    return rows


def _unjudged(study: Study) -> list[tuple[str, str, str]]:
    """The same of a study without a report."""
    found = []
    for claim in study.claims:
        about = [""] if claim.why else claim.datasets or study.meant_for
        found += [(claim.where, dataset, "not judged" if claim.why else "open") for dataset in about]
    return found


def _counts(claims: Iterable[tuple[str, str, str]]) -> list[list[str]]:
    counts = dict[str, Counter[str]]()
    for where, dataset, verdict in claims:
        place = DOCUMENT.match(where)
        source = place[0] if place else where
        repeated = dataset == OWN and source.lower().startswith("document ")
        counts.setdefault(REPEATED if repeated else source, Counter())[verdict] += 1
    rows = [
        (escaped(source), counts[source])
        for source in sorted(counts, key=lambda name: (name == REPEATED, name.lower()))
    ]
    rows.append(("all", sum(counts.values(), Counter())))
    return [[source, str(count.total()), *(str(count[verdict]) for verdict in VERDICTS)] for source, count in rows]


def _unreadable(folder: Path, file: str, error: Exception) -> StudyError:
    place = f"reports/{folder.name}/{file}"
    return StudyError(f"{place}: is no report's ({type(error).__name__}: {error}); publish it again")
