"""`bench run`: a study, or a single trial."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.cli.common import one_line, parse_setting, read_settings, selection
from bench.cli.execution import execution
from bench.cli.layout import terminal, wrapped
from bench.cli.names import Group, completing, examples
from bench.cli.place import surroundings
from bench.errors import interrupt_behind
from bench.text import line, without_passwords

if TYPE_CHECKING:
    from bench.executors import Resources
    from bench.paths import Paths
    from bench.run.driver import Driver
    from bench.run.events import Event
    from bench.run.plan import Plan
    from bench.study.catalogue import Catalogue
    from bench.study.definition import Study, Trial

Item = TypeVar("Item")
SELECTION = ("datasets", "seeds", "settings", "smoke", "size")  # what the remembered command says
INTERRUPTED, TERMINATED = 130, 143  # what a shell shows for a program that Ctrl-C or SIGTERM ended


@click.group(cls=Group, epilog=examples("bench run study latent_dim", "bench run trial vae --dataset mnist"))
def run() -> None:
    """Run a study, or a single trial; what is finished already is not run again."""


@run.command(
    "study",
    short_help="Run what is missing of a study and write its report.",
    epilog=examples(
        "bench run study latent_dim",
        "bench run study latent_dim --dry-run",
        "bench run study latent_dim --dataset mnist --dataset cifar10 --seeds 5",
        "bench run study latent_dim --set epochs=5 --set latent_dim=2",
        "bench run study tune_vae --gpus 0,1 --trials-per-gpu 4",
    ),
)
@click.argument("name", shell_complete=completing("studies"))
@selection
@execution
def run_study(name: str, **options: Any) -> None:
    """Run what is missing of the study NAME and write its report."""
    from bench import registry
    from bench.study.catalogue import catalogue
    from bench.study.definition import FULL
    from bench.study.file import load

    with one_line():
        paths = surroundings(options["storage"])
        options["datasets"] = list(map(registry.seen, options["datasets"]))
        known = catalogue()
        study = load(
            paths.study(name),
            known,
            smoke=options["smoke"],
            given=read_settings(options["settings"]),
            datasets=options["datasets"],
            seeds=options["seeds"],
            size=options["size"] or FULL,
        )
        _run("study", name, study, known, paths, options)


@run.command(
    "trial",
    short_help="Run a model once, on its own defaults but for what is set.",
    epilog=examples(
        "bench run trial vae",
        "bench run trial wgan --dataset mnist --set critic.learning_rate=1e-4",
        "bench run trial vae --dataset path/to/images --set image_size=64",
    ),
)
@click.argument("model", shell_complete=completing("models"))
@selection
@execution
def run_trial(model: str, **options: Any) -> None:
    """Run MODEL once, on its own defaults but for what is --set; tracked in the experiment "trials"."""
    from bench import registry
    from bench.study.catalogue import catalogue
    from bench.study.definition import FULL, SINGLE
    from bench.study.file import build

    with one_line():
        paths = surroundings(options["storage"])
        options["datasets"] = list(map(registry.seen, options["datasets"]))
        known = catalogue()
        tables = {
            "question": "Single trials, run by hand.",
            "source": "none",
            "model": model,
            "datasets": ["digits"],
            "metrics": ["test_loss", *sorted(set(known.metrics) - {"test_loss"})],
        }
        study = build(
            tables,
            Path(SINGLE),
            known,
            smoke=options["smoke"],
            given=read_settings(options["settings"]),
            datasets=options["datasets"],
            seeds=options["seeds"],
            size=options["size"] or FULL,
        )
        _run("trial", model, study, known, paths, options)


def _run(kind: str, name: str, study: Study, known: Catalogue, paths: Paths, options: dict[str, Any]) -> None:
    from bench import registry
    from bench.cli.dry_run import announce, describe
    from bench.cli.ending import given, tell_next
    from bench.cli.report import tell, to_publish
    from bench.run.command import command_line
    from bench.run.driver import Driver
    from bench.run.resources import AUTO, share_out
    from bench.tracking.words import title

    registry.load("executors", options["executor"])
    command = command_line(
        kind,
        name,
        options["datasets"],
        options["seeds"],
        options["settings"],
        options["smoke"],
        study.size,
    )
    with Driver(study, known, paths, command, _track, looks=options["dry_run"]) as driver:
        plan = driver.plan(
            rerun=options["rerun"], rerun_changed=options["rerun_changed"], remeasure=options["remeasure"]
        )
        gpus = options["gpus"]
        if gpus is None and not plan.work:
            gpus = ""  # which GPUs there are is of no matter, and torch need not be read to tell
        resources = share_out(
            workers=options["workers"],
            gpus=None if gpus is None else [gpu for gpu in gpus.split(",") if gpu],
            trials_per_gpu=options["trials_per_gpu"],
            timeout=options["timeout"],
            executor=options["executor"],
            jobs=paths.store / "jobs",
            threads=options["threads"],
            ray_address=options["ray_address"],
            slurm=dict(parse_setting(text, "--slurm") for text in options["slurm"]),
            trials_per_job=options["trials_per_job"],
        )
        if AUTO in (asked := (options["workers"], options["trials_per_gpu"])):
            resources = _tried(driver, plan, resources, asked)
        if options["dry_run"]:
            describe(study, plan, driver, resources)
            return
        for text in wrapped(announce(study, plan), terminal(), "  "):
            click.echo(text)
        status = _drive(driver, plan, options["executor"], resources)
        outcome = driver.outcome
        for note in outcome.notes:
            click.echo(line(note), err=True)
        if not (status or outcome.broken):
            if kind == "study":
                from bench.results import write_report

                publish = to_publish(name, options["settings"], options["smoke"], options["size"])
                tell(write_report(study, known, paths, driver.store, width=terminal()), publish)
            tell_next(study, known, driver.store)
        tracebacks = _tracebacks(driver)
        for trial, failure in outcome.failed:
            told = f"{title(trial)}: {failure.kind}: {failure.reason}{tracebacks.get(trial.key, '')}"
            click.echo(line(told), err=True)
        if outcome.failed:
            click.echo(f"{len(outcome.failed)} of {len(plan.trials) or plan.proposals} trials failed", err=True)
        if outcome.broken:
            click.echo(line(outcome.broken), err=True)
        if status:
            again = without_passwords(shlex.join([*shlex.split(command), *given(SELECTION)]))
            click.echo(f"stopped; the same command goes on where this stopped: {again}", err=True)
            sys.exit(status)
        if outcome.failed or outcome.broken:
            sys.exit(1)


def _tracebacks(driver: Driver) -> dict[str, str]:
    """Where the tracebacks of failed trials lie, by key, as far as they were written and lie here."""
    from bench.tracking.errors import StoreError

    failed = [trial.key for trial, failure in driver.outcome.failed if failure.details]
    if not failed or driver.outcome.broken or not driver.store.local:
        return {}
    files = {}
    with suppress(StoreError):
        records = driver.store.records()
        for record in (records[key] for key in failed if key in records):
            file = driver.store.artifact(record.redone or record.run_id, "failure.txt")
            if file.is_file():
                files[record.trial.key] = f" (traceback: {os.path.relpath(file)})"
    return files


def _tried(driver: Driver, plan: Plan, resources: Resources, asked: Sequence[int | str]) -> Resources:
    """The machine shared out so that most gets done, by a rehearsal; the trials of a seed then begin with the longest."""
    from bench.run.rehearsal import rehearsed

    found = rehearsed(driver.planner, plan, driver.paths.guests, resources, *asked)
    rates = ", ".join(f"{number}: {rate:.3g}" for number, rate in sorted(found.rates.items()))
    if rates:
        click.echo(
            f"{found.resources.slots} at a time; batches a second of all together by how many there are: {rates}"
        )
    return found.resources


def _track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    from bench.cli.progress import track

    return track(items, what, total)


def _drive(driver: Driver, plan: Plan, executor: str, resources: Resources) -> int:
    """Run the plan and show how it goes; the exit status where it was stopped, 0 where it came to its end."""
    try:
        with (
            _heeding_sigterm(),
            _shown(driver, plan, resources) as show,
            closing(driver.run(plan, executor, resources)) as events,
        ):
            for trial, event in events:
                show(trial, event)
    except (KeyboardInterrupt, Exception) as error:
        interrupt = interrupt_behind(error)
        if interrupt is None:
            raise
        return TERMINATED if isinstance(interrupt, Terminated) else INTERRUPTED
    return 0


@contextmanager
def _shown(driver: Driver, plan: Plan, resources: Resources) -> Iterator[Callable[[Trial, Event], object]]:
    """What shows the events of a plan; nothing is read for it where there will be none."""
    if not plan.work:
        yield lambda trial, event: None
        return
    from bench.cli.progress import Display

    with Display(plan, driver.study.name, resources.slots) as display:

        def show(trial: Trial, event: Event) -> None:
            display.show(trial, event)
            if driver.outcome.pruned and driver.outcome.pruned[-1] is trial:
                display.given_up(trial)

        yield show


class Terminated(KeyboardInterrupt):
    """Ended by SIGTERM."""


@contextmanager
def _heeding_sigterm() -> Iterator[None]:
    """Let SIGTERM, by which schedulers end what takes too long, do what Ctrl-C does."""

    def terminate(*_: object) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
