"""`bench doctor`: what this machine has, whether the stores are sound, and what fixes them."""

from __future__ import annotations

from pathlib import Path

import click

from bench.cli.common import one_line
from bench.cli.layout import described, terminal, wrapped
from bench.cli.names import examples
from bench.cli.place import surroundings
from bench.text import line


@click.command(epilog=examples("bench doctor", "bench doctor --fix"))
@click.option("--fix", is_flag=True, help="Fix what can be: dead runs, damaged databases.")
def doctor(fix: bool) -> None:
    """Check this machine and the stores; exit status 1 where something wants mending.

    Every data set and every network's weights are named with where they are, or how to get them.
    """
    import platform
    import shutil

    import torch

    from bench.datasets import LAYOUT
    from bench.run.queue_file import unsound as queue_unsound
    from bench.tracking.errors import StoreError
    from bench.tracking.lookup import studies
    from bench.tracking.names import DATABASE
    from bench.tracking.repair import damaged, orphans
    from bench.tracking.repair import unsound as store_unsound

    with one_line():
        paths = surroundings()
        gpus = [torch.cuda.get_device_name(gpu) for gpu in range(torch.cuda.device_count())]
        click.echo(f"python    {platform.python_version()}, torch {torch.__version__}")
        click.echo(f"device    {', '.join(gpus) or 'CPU'}, {torch.get_num_threads()} threads")
        click.echo(f"studies   {paths.studies}")
        free = shutil.disk_usage(_existing(paths.store)).free / 2**30
        click.echo(f"store     {paths.store} ({free:.1f} GiB free)")
        click.echo(f"data      {paths.data}")
        _tell("datasets", paths.data)
        click.echo("weights")
        _tell("features", paths.data)
        for text in wrapped(f"npz       a data set's NAME.npz holds {LAYOUT}", terminal(), 10 * " "):
            click.echo(text)
        unsound = 0
        if paths.tracking:
            try:
                click.echo(line(f"tracking  {paths.tracking}: {len(studies(paths.store, paths.tracking))} studies"))
            except StoreError as error:
                unsound += 1
                click.echo(f"tracking  {error}")
        wrong = "" if paths.tracking else store_unsound(paths.store, fix=fix)
        for file, fault in ((DATABASE, wrong), (paths.queue.rpartition("/")[2], queue_unsound(paths.queue, fix=fix))):
            if fault:
                unsound += not fix
                end = "set aside" if fix else "bench doctor --fix sets it aside, and so does the next bench run"
                click.echo(line(f"database  {file} is damaged ({fault}): {end}"))
        if paths.tracking is None and (paths.store / DATABASE).exists() and (fix or not wrong):
            for run, held in orphans(paths.store, fix=fix):
                unsound += not (fix or held)
                end = (
                    "is being run" if held else "closed" if fix else "its driver is dead: bench doctor --fix closes it"
                )
                click.echo(f"run       {run}: {end}")
            for study, file in damaged(paths.store):
                unsound += 1
                click.echo(
                    line(f"file      {file} is gone or damaged: bench run study {study} --rerun trains it again")
                )
        click.echo("sound" if not unsound else f"{unsound} to fix")
        if unsound:
            raise SystemExit(1)


def _tell(kind: str, data_dir: Path) -> None:
    """Where each data set is, or what each feature extractor needs; or how it is had."""
    from bench.datasets import located
    from bench.registry import RegistryError, load, names

    rows = []
    for name in names(kind):
        try:
            if kind == "datasets":
                place = located(name, data_dir)
            else:
                place = getattr(load(kind, name), "located", lambda data_dir: "does not say")(data_dir)
        except RegistryError as error:
            place = str(error)
        rows.append((line(name), line(place)))
    click.echo("\n".join(described(rows, terminal())))


def _existing(folder: Path) -> Path:
    return next(parent for parent in (folder, *folder.parents) if parent.exists())
