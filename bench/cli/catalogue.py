"""`bench list`: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.common import UsageLine, one_line
from bench.cli.layout import described, terminal
from bench.cli.names import Choice, completing, examples
from bench.cli.place import surroundings
from bench.text import line

if TYPE_CHECKING:
    from bench.paths import Paths

KINDS = ("studies", "models", "datasets", "metrics", "features", "applications", "executors")


@click.command(
    "list",
    epilog=examples("bench list", "bench list studies", "bench list runs", "bench list runs latent_dim"),
)
@click.argument("kind", type=Choice([*KINDS, "runs"]), required=False, metavar="[KIND]")
@click.argument("study", required=False, shell_complete=completing("studies"))
def list_names(kind: str | None, study: str | None) -> None:
    """List studies, models, data sets, metrics and so on: where each comes from, and its first line.

    KIND is one of studies, models, datasets, metrics, features, applications, executors and runs. `bench list runs STUDY`
    shows of every run of STUDY what it has of its own: the settings that differ, how it ended, the objective.
    """
    if study is not None and kind != "runs":
        raise UsageLine(f"bench list {kind} takes no further word; of a study there are runs: bench list runs {study}")
    with one_line():
        paths = surroundings()
        if kind == "runs":
            from bench.cli.runs import listed

            click.echo("\n".join(listed(paths, study)))
            return
        for each in [kind] if kind else KINDS:
            if kind is None:
                click.echo(f"{each}:")
            rows = _studies(paths) if each == "studies" else _metrics() if each == "metrics" else _components(each)
            for text in described(rows, terminal(), wrap=kind is not None):
                click.echo(text)


def _studies(paths: Paths) -> list[tuple[str, str, str]]:
    """Name, origin and question of every study; of one that cannot be read, why."""
    from bench.errors import StudyError
    from bench.paths import shipped
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
