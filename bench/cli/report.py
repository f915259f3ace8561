"""`bench report`: the comparison of what was tracked."""

from __future__ import annotations

from typing import Any

import click

from bench.cli.common import UsageLine, near, one_line, read_settings, settings_options, surroundings
from bench.cli.layout import terminal
from bench.cli.names import completing, examples


@click.command(epilog=examples("bench report latent_dim", "bench report --all"))
@click.argument("name", required=False, shell_complete=completing("studies"))
@click.option("--all", "every", is_flag=True, help="Every study that has tracked trials.")
@settings_options
def report(name: str | None, every: bool, **options: Any) -> None:
    """Write reports/NAME from the tracked trials of the study NAME; nothing is trained."""
    from bench.results import write_report
    from bench.study.catalogue import catalogue
    from bench.study.definition import StudyError
    from bench.study.file import load
    from bench.tracking.store import Store, studies

    if (name is None) == (not every):
        raise click.UsageError("name one study, or give --all")
    with one_line():
        paths = surroundings()
        known = catalogue()
        tracked = studies(paths.store, paths.tracking) if paths.tracking or paths.store.is_dir() else []
        names = [name] if name else [study for study in paths.study_files() if study in tracked]
        if not names:
            raise UsageLine("no study has tracked trials yet; begin with: bench run study latent_dim")
        for each in names:
            given = read_settings(options["settings"])
            study = load(paths.study(each), known, smoke=options["smoke"], given=given)
            store = Store(paths.store, paths.tracking, study.name, study.question, create=False)
            try:
                tell(write_report(study, known, paths, store, terminal()))
                click.echo(f"look: bench ui {study.name}")
            except StudyError as error:
                if not every:
                    raise
                click.echo(str(error))


def tell(written: Any) -> None:
    """Print the tables of a `bench.results.Written`, and say where the report is."""
    click.echo(written.text)
    if written.left_out:
        click.echo(written.left_out)
    click.echo(f"report: {near(written.path)}")
