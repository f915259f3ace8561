"""`bench report`: the comparison of what was tracked."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import click

from bench.cli.common import UsageLine, one_line, read_settings, settings_options, tracked
from bench.cli.layout import terminal
from bench.cli.names import completing, examples
from bench.cli.place import near, surroundings
from bench.files import Weights
from bench.text import line

if TYPE_CHECKING:
    from bench.results import Written


@click.command(
    epilog=examples(
        "bench report latent_dim",
        "bench report --all",
        "bench report latent_dim --publish --weights half",
        "bench report latent_dim --latex",
    ),
)
@click.argument("name", required=False, shell_complete=completing("studies"))
@click.option("--all", "every", is_flag=True, help="Every study that has tracked trials.")
@click.option("--publish", is_flag=True, help="Write into reports/ and its index, and not beside the store.")
@click.option("--drop", is_flag=True, help="Publish even without trials that the published report has.")
@click.option(
    "--weights",
    type=click.Choice(get_args(Weights)),
    help="How the trained weights go into the file of runs beside a published report, as with bench export. Default: none.",
)
@click.option("--latex", is_flag=True, help="Write the tables as report.tex too.")
@settings_options
def report(
    name: str | None, every: bool, publish: bool, drop: bool, weights: Weights | None, latex: bool, **options: Any
) -> None:
    """Write the report of the study NAME from its tracked trials, beside their store; nothing is trained.

    With --all, a report that is not written leaves exit status 1 and its reason among the last lines; the others are written.
    """
    from bench.results import at_its_size, write_report
    from bench.study.catalogue import catalogue
    from bench.study.definition import FULL, SINGLE, StudyError
    from bench.study.file import load
    from bench.tracking.store import Store

    if (name is None) == (not every):
        raise click.UsageError("name one study, or give --all")
    if drop and not publish:
        raise click.UsageError("--drop is for --publish: a report beside the store is always written anew")
    if weights and not publish:
        raise click.UsageError("--weights is for --publish: a report beside the store has its runs there")
    with one_line():
        paths = surroundings()
        known = catalogue()
        there = [] if name else tracked(paths)
        files = paths.study_files()
        names = [name] if name else [study for study in files if study in there]
        others = [each for each in there if each not in files and each.removesuffix("_smoke") not in (*names, SINGLE)]
        if not names:
            but = f", but for {', '.join(sorted(others))}" if others else ""
            raise UsageLine(f"no study has tracked trials yet{but}; begin with: bench run study latent_dim")
        refused = []
        for each in names:
            try:
                given = read_settings(options["settings"])
                asked = options["size"] or FULL
                study = load(paths.study(each), known, smoke=options["smoke"], given=given, size=asked)
                store = Store(paths.store, paths.tracking, study.name, study.question, create=False)
                if not options["size"]:
                    study = at_its_size(study, known, store)
                written = write_report(
                    study,
                    known,
                    paths,
                    store,
                    publish=publish,
                    drop=drop,
                    weights=weights or "none",
                    latex=latex,
                    width=terminal(),
                )
            except StudyError as error:
                if not every:
                    raise
                refused.append(str(error))
            else:
                tell(
                    written, "" if publish else to_publish(each, options["settings"], options["smoke"], options["size"])
                )
    if others:
        click.echo(f"passed over, without a study of that name here: {', '.join(sorted(others))}")
    for reason in refused:  # last, where they are seen
        click.echo(line(reason))
    if refused:
        click.echo(f"{len(refused)} of {len(names)} reports were not written")
        raise SystemExit(1)


def to_publish(name: str, settings: Sequence[str], smoke: bool, size: str | None) -> str:
    """The command that puts a report among the published ones."""
    words = ["bench", "report", name, *(word for each in settings for word in ("--set", each))]
    words += ["--smoke"] if smoke else []
    return shlex.join([*words, *(["--size", size] if size else []), "--publish"])


def tell(written: Written, publish: str) -> None:
    """Print the tables of a report, and say where it is and, where there is a command for it, how to ``publish`` it."""
    click.echo(written.text)
    if written.left_out:
        click.echo(written.left_out)
    click.echo(f"report: {near(written.path)}")
    click.echo(f"page: {near(written.path.with_name('report.html'))}")
    if publish:
        click.echo(f"publish: {publish}")
