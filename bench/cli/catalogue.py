"""`bench list`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.common import one_line, surroundings
from bench.text import line

if TYPE_CHECKING:
    from bench.paths import Paths

KINDS = ("studies", "models", "datasets", "metrics", "features", "applications", "executors")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
def list_names(kind: str | None) -> None:
    """List studies, models, data sets, metrics and so on: where each comes from, and its first line."""
    with one_line():
        paths = surroundings()
        for each in [kind] if kind else KINDS:
            if kind is None:
                click.echo(f"{each}:")
            rows = _studies(paths) if each == "studies" else _metrics() if each == "metrics" else _components(each)
            widths = [max((len(row[column]) for row in rows), default=0) for column in (0, 1)]
            for name, origin, text in rows:
                click.echo(f"  {name:<{widths[0]}}  {origin:<{widths[1]}}  {text}")


def _studies(paths: Paths) -> list[tuple[str, str, str]]:
    """Name, origin and question of every study; of one that cannot be read, why."""
    from bench.paths import shipped
    from bench.study.definition import StudyError
    from bench.study.text import read

    rows = []
    for name, file in paths.study_files().items():
        origin = "bench" if file.parent == shipped() else f"studies/{file.name}"
        try:
            text = str(read(file).get("question", ""))
        except StudyError as error:
            text = str(error)
        rows.append((line(name), line(origin), line(text)))
    return rows


def _metrics() -> list[tuple[str, str, str]]:
    """Name, origin and description of every value that can be measured; of a file that cannot be used, why."""
    from bench import registry
    from bench.measure.measurements import describe, measurements

    measured = measurements()
    rows = [(n, registry.find("metrics", file).origin, describe(n, file)) for n, file in measured.files.items()]
    rows += [(name, "", why) for name, why in measured.unread.items()]
    return sorted(rows)


def _components(kind: str) -> list[tuple[str, str, str]]:
    """Name, origin and first line of every component of a kind; of one that cannot be used, why."""
    from bench import registry
    from bench.source import doc

    rows = []
    for name in registry.names(kind):
        try:
            text = registry.first_line(doc(kind, name))
        except registry.BrokenGuest as error:
            text = str(error)
        rows.append((name, registry.find(kind, name).origin, text))
    return rows
