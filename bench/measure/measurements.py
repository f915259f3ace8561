"""What there is to measure, read from the files of `bench.metrics`: every value by name, its direction, and who measures it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench import registry
from bench.score import Metric
from bench.source import Absent, Unread, doc, source

MEASURED_BY = "measured by"
"""The fact of a protocol that holds `measured_by`; blanks have it too, since what was wrong with a file may have been mended."""


@dataclass(frozen=True)
class Measurements:
    """What can be measured.

    Attributes:
        metrics: every value by name, with its better direction.
        files: the file that measures it, as the registry knows it.
        unread: why what is in other files cannot be measured, by file: it harms those alone who ask for it.
    """

    metrics: Mapping[str, Metric]
    files: Mapping[str, str]
    unread: Mapping[str, str]


def measured_by(file: str) -> str:
    """Whose file measures, and in what state; empty for the suite's own, whose version every run remembers."""
    return ", ".join(f"{origin}, sha256 {digest[:12]}" for origin, digest in registry.guests(metrics=file).items())


def measurements() -> Measurements:
    """What the files say that they measure; a name that two of them claim is nobody's."""
    metrics: dict[str, Metric] = {}
    claims: dict[str, list[str]] = {}
    unread: dict[str, str] = {}
    for file in registry.names("metrics"):
        try:
            units = _units(file)
            found = {name: Metric(name, better, units.get(name, "")) for name, better in _values(file).items()}
        except registry.BrokenGuest as error:
            unread[file] = str(error)
        except (AttributeError, ValueError) as error:
            where = registry.find("metrics", file).origin
            unread[file] = f"{where}: must hold VALUES, the better direction of what it measures by name ({error})"
        else:
            metrics |= found
            for name in found:
                claims.setdefault(name, []).append(file)
    for name, files in claims.items():
        if len(files) > 1:
            unread[name] = f"metrics {' and '.join(files)} both measure {name!r}: one of them needs another name"
    files_of = {name: files[0] for name, files in claims.items() if len(files) == 1}
    return Measurements({name: metrics[name] for name in files_of}, files_of, unread)


def describe(name: str, file: str) -> str:
    """What a value is, in a line: its own line in the docstring of its file, or the first."""
    text = doc("metrics", file)
    own = (line for line in text.splitlines() if line.startswith(f"{name}: "))
    return next(own, registry.first_line(text)).removeprefix(f"{name}: ")


def _values(file: str) -> Mapping[str, Any]:
    try:
        values: Mapping[str, Any] = source(registry.file("metrics", file)).constant("VALUES")
    except Unread:
        values = registry.load("metrics", file).VALUES
    return values


def _units(file: str) -> Mapping[str, str]:
    """The units of those values that have one."""
    try:
        units: Mapping[str, str] = source(registry.file("metrics", file)).constant("UNITS")
    except Absent:
        return {}
    except Unread:
        units = getattr(registry.load("metrics", file), "UNITS", {})
    return units
