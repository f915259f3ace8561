"""The options of `bench run` that say where trials run, with how much of it, and what is run again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from bench.cli.names import completing


class Number(click.ParamType[int | str]):
    """A whole number of at least 1, or the word "auto"."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """What was typed."""
        from bench.run.resources import AUTO

        return AUTO if value == AUTO else click.IntRange(min=1).convert(value, param, ctx)


def execution(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where trials run, and how many at a time."""
    options = [
        click.option(
            "--workers",
            type=Number(),
            metavar="N|auto",
            help='Trials at a time without a GPU; "auto" tries what gets most done. Default: one per core, at most 8.',
        ),
        click.option("--gpus", metavar="0,1", help="The GPUs to use. Default: all; an empty text for none."),
        click.option(
            "--trials-per-gpu",
            type=Number(),
            metavar="N|auto",
            default=1,
            show_default=True,
            help='Trials that share a GPU; "auto" tries how many get most done.',
        ),
        click.option(
            "--executor",
            default="local",
            show_default=True,
            shell_complete=completing("executors"),
            help="Where trials run: a file of bench/executors.",
        ),
        click.option(
            "--ray-address", metavar="auto|HOST:PORT", help="A Ray cluster. Default: Ray on this machine alone."
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="Processor threads of a trial that runs on another machine. Default: 1.",
        ),
        click.option(
            "--slurm",
            multiple=True,
            metavar="KEY=VALUE",
            help="What a SLURM job asks for: partition=gpu, gpus_per_node=1, timeout_min=600; repeatable.",
        ),
        click.option(
            "--trials-per-job",
            type=click.IntRange(min=1),
            default=1,
            show_default=True,
            help="Trials that a SLURM job runs, one after another.",
        ),
        click.option(
            "--timeout",
            type=click.FloatRange(min=0, min_open=True),
            metavar="MINUTES",
            help="Stop a trial that takes longer.",
        ),
        click.option(
            "--storage",
            metavar="URL",
            envvar="BENCH_STORAGE",
            show_envvar=True,
            help="Optuna's database. Default: mlruns/optuna.db.",
        ),
        click.option("--dry-run", is_flag=True, help="Print every trial and how long it may take, and stop."),
        click.option("--rerun", is_flag=True, help="Train again what is finished."),
        click.option(
            "--rerun-changed",
            is_flag=True,
            help="Train again what was trained, or begun, with other code of its model than there is now; of a search, nothing.",
        ),
        click.option(
            "--remeasure",
            is_flag=True,
            help="Measure the models that are trained again, and draw what is made of them.",
        ),
    ]
    for option in reversed(options):
        command = option(command)
    return command
