"""`bench export` and `bench import`: runs carried between machines and people in one file."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from bench.cli.common import UsageLine, one_line, tracked
from bench.cli.names import completing, examples
from bench.cli.place import near, surroundings
from bench.files import Weights


@click.command(
    "export",
    epilog=examples("bench export latent_dim hidden_dim vaes.zip", "bench export latent_dim vaes.zip --weights half"),
)
@click.argument("studies", nargs=-1, required=True, metavar="STUDY...", shell_complete=completing("studies"))
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--weights",
    type=click.Choice(get_args(Weights)),
    default="full",
    show_default=True,
    help="How the trained weights go with them: as they are, in half precision, or not at all, so that nothing can be "
    "made or measured of the models later.",
)
@click.option(
    "--origin", metavar="WORDS", help="Where they were trained, for reports of them. Default: this machine's name."
)
def export_runs(studies: tuple[str, ...], file: Path, weights: Weights, origin: str | None) -> None:
    """Write the runs of studies that have ended to FILE, with their pictures, histories and weights.

    What was interrupted stays here, where its checkpoint is.
    """
    import socket

    from bench.registry import unknown
    from bench.run.saved import packing
    from bench.tracking.errors import StoreError
    from bench.tracking.lookup import opened
    from bench.tracking.transfer import export

    with one_line():
        paths = surroundings()
        there = tracked(paths)
        for each in studies:
            if there and each not in there:
                raise UsageLine(unknown("run of a study", each, there))
        stores = [opened(paths.store, paths.tracking, study) for study in studies]
        try:
            names = export(stores, file, origin or socket.gethostname(), packing=packing(weights))
        except OSError as error:
            raise StoreError(f"{file} cannot be written: {error.strerror or error}") from None
    click.echo(f"{len(names)} runs: {near(file.resolve())} ({file.stat().st_size / 1e6:.1f} MB)")


@click.command("import", epilog=examples("bench import vaes.zip"))
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
def import_runs(files: tuple[Path, ...]) -> None:
    """Take in the runs of files that `bench export` wrote; a trial that is finished here already stays as it is.

    A metric that a run here has blank, and files that it lacks, as where it came without its weights, are taken over where
    all else agrees. Exit status 1 where both have finished a trial to other values: those here are kept.
    """
    from bench.run.lock import sole_driver
    from bench.tracking.archive import Archive, ArchiveError
    from bench.tracking.store import Store
    from bench.tracking.transfer import studies_in, take_in

    paths, conflicts = surroundings(), 0
    with one_line():
        for file in files:
            try:
                with Archive(file) as archive:
                    for study, run_ids in studies_in(archive).items():
                        with sole_driver(paths.store / "locks", study):
                            question = archive.run(run_ids[0]).question
                            store = Store(paths.store, paths.tracking, study, question, create=True)
                            taken = take_in(store, archive, run_ids)
                        click.echo(f"{study}: {len(taken.new)} runs taken in, {len(taken.known)} known already")
                        for name, metrics in taken.supplied.items():
                            click.echo(f"  {name}: {', '.join(metrics)} added")
                        for line in taken.conflicts:
                            click.echo(f"  {line}")
                        conflicts += len(taken.conflicts)
            except ArchiveError as error:
                raise UsageLine(str(error)) from None
    if conflicts:
        raise SystemExit(1)
