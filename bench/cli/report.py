"""`bench report`: the comparison of what was tracked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.common import UsageLine, here, one_line, read_settings, settings_options

if TYPE_CHECKING:
    from bench.paths import Paths
    from bench.study.catalogue import Catalogue
    from bench.study.definition import Study
    from bench.tracking.store import Store


@click.command()
@click.argument("name", required=False)
@click.option("--all", "every", is_flag=True, help="Every study that has tracked trials.")
@settings_options
def report(name: str | None, every: bool, **options: Any) -> None:
    """Write reports/NAME from the tracked trials of the study NAME; nothing is trained."""
    from bench.paths import Paths
    from bench.study.catalogue import catalogue
    from bench.study.definition import StudyError
    from bench.study.file import load
    from bench.tracking.store import Store, studies

    if (name is None) == (not every):
        raise click.UsageError("name one study, or give --all")
    with one_line():
        paths = Paths.find(here())
        known = catalogue()
        files = {file.stem: file for file in sorted(paths.studies.glob("*.toml"))}
        tracked = studies(paths.store, paths.tracking) if paths.tracking or paths.store.is_dir() else []
        names = [name] if name else [study for study in files if study in tracked]
        if not names:
            raise UsageLine("no study has tracked trials yet; begin with: bench run study latent_dim")
        for each in names:
            study = load(
                paths.study(str(each)),
                known,
                smoke=options["smoke"],
                given=read_settings(options["settings"]),
            )
            store = Store(paths.store, paths.tracking, study.name, study.question, create=False)
            try:
                write_report(study, known, paths, store)
            except StudyError as error:
                if not every:
                    raise
                click.echo(str(error))


def write_report(study: Study, known: Catalogue, paths: Paths, store: Store) -> None:
    """Write the study's report from its runs on every data set, print its table, and say where everything is.

    Raises:
        StudyError: nothing is tracked yet, or of other settings alone.
    """
    from bench.report import page
    from bench.report.selection import selected, tracked_on
    from bench.report.tables import console
    from bench.study.definition import StudyError

    runs = store.table()
    study = tracked_on(study, runs)
    wanted = selected(study, known, runs)
    others = runs[~runs["run_id"].isin(wanted["run_id"])] if len(runs) else runs
    left_out = ""
    if len(others):
        left_out = (
            f"{len(others)} tracked trials of other settings are left out, the last by: {others['command'].iloc[0]}"
        )
        if not len(wanted):
            raise StudyError(f"{study.name}: {left_out}; give the same --set, or run: bench run study {study.name}")
    folder = paths.reports / study.name
    chosen = page.pictured(wanted)
    path = page.write(
        study,
        wanted,
        store.curves(wanted["run_id"] if len(wanted) else []),
        store.pictures(chosen),
        folder,
        known.metrics,
    )
    click.echo(console(study, wanted, known.metrics))
    if left_out:
        click.echo(left_out)
    click.echo(f"report: {_near(path)}")
    click.echo("browse: bench ui")


def _near(path: Path) -> str:
    return str(path.relative_to(here())) if path.is_relative_to(here()) else str(path)
