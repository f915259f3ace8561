"""Reports as they lie in their folders: given out as they are, and kept from running anything that stands in them."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from bench.paths import Paths
from bench.text import is_name
from bench.tracking.server import Answer

KINDS = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".json": "application/json",
    ".tex": "text/plain; charset=utf-8",
    ".png": "image/png",
}
FIRST = ("report.html", "README.md")  # what a report opens with


def file(paths: Paths, rest: str) -> Answer:
    """What lies at ``STUDY/FILE`` among the reports: those beside the store first, then the published ones.

    Links that lead out of a report's folder lead nowhere; neither do names with a ``..``, of hidden files or of other kinds.
    """
    study, _, name = rest.partition("/")
    for found in _named(paths, study, name):
        return Answer(found.read_bytes(), KINDS[found.suffix], _policy())
    return Answer(b"no such file of a report", "text/plain; charset=utf-8", status=404)


def place(paths: Paths, study: str) -> str:
    """The address of a study's report, from the index's; empty where it has none."""
    found = _named(paths, study, "")
    return f"reports/{quote(study)}/{found[0].name}" if found else ""


def _named(paths: Paths, study: str, name: str) -> list[Path]:
    names = (name,) if name else FIRST
    if not all(map(is_name, (study, *names))):
        return []
    bases = (paths.store / "reports", paths.reports)
    found = [(base.resolve() / study / each, base / study / each) for base in bases for each in names]
    return [path for own, path in found if path.suffix in KINDS and path.is_file() and path.resolve() == own]


def _policy() -> str:
    """What a report may do: show its own pictures, and run the one script that the suite writes into it, by its hash.

    In a sandbox it has no origin either: nothing in it reaches MLflow's API, which lies on the same port.
    """
    script = files("bench.report").joinpath("report.js")
    allowed = "'none'"
    if script.is_file():
        allowed = f"'sha256-{b64encode(hashlib.sha256(script.read_bytes()).digest()).decode()}'"
    return (
        f"default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; script-src {allowed}; "
        "base-uri 'none'; form-action 'none'; sandbox allow-scripts allow-popups allow-downloads"
    )
