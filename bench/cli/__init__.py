"""The command line: words to one call. Commands are imported when they are used, so `bench --help` costs no more than click."""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import click

from bench.cli.names import Group, examples, hint
from bench.text import line, without_passwords

COMMANDS = {
    "apply": ("bench.cli.apply:apply", "Put a trained model to use: generate, interpolate, classify, ..."),
    "check": ("bench.cli.check:check", "Try what every component promises, on your own or the suite's."),
    "compare": ("bench.cli.compare:compare", "Put runs side by side: settings, measures, pictures."),
    "define": ("bench.cli.define:define", "Write a study file."),
    "doctor": ("bench.cli.doctor:doctor", "Check this machine and the stores."),
    "export": ("bench.cli.transfer:export_runs", "Write a study's runs to one file, for another machine."),
    "import": ("bench.cli.transfer:import_runs", "Take in the runs of such files."),
    "list": ("bench.cli.catalogue:list_names", "List studies, models, data sets, metrics, runs and so on."),
    "new": ("bench.cli.new:new", "Write a component of your own that works, to start from."),
    "report": ("bench.cli.report:report", "Write the comparison of a study's trials."),
    "run": ("bench.cli.run:run", "Run a study, or a single trial."),
    "show": ("bench.cli.show:show", "Show a study, a model with its layers, a metric, a data set."),
    "ui": ("bench.cli.ui:ui", "Browse the runs in MLflow."),
}

GC_THRESHOLD = 100_000  # objects between two looks for cycles among them; at Python's 700 they take 8 % of a report
AGAIN_SECONDS = 0.05  # after which a Ctrl-C that was lost comes again


@contextlib.contextmanager
def shown_safely() -> Iterator[None]:
    """Whatever is told of an error is one line, or where nobody foresaw it a traceback, and holds no password."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # a group without a command: the help, which has lines
        raise
    except click.NoSuchOption as error:
        # Without the dashes, which all options share: they made --set the nearest to --metric.
        near = {each for each in error.possibilities or () if hint(error.option_name.strip("-"), [each.strip("-")])}
        raise click.UsageError(
            line(error.message + "".join(f" Did you mean {each!r}?" for each in sorted(near)[:1])), error.ctx
        ) from None
    except click.UsageError as error:
        text = error.format_message()
        if isinstance(error, click.MissingParameter):  # which lists what there is to choose from, a line each
            text = " ".join(text.split())
        raise click.UsageError(line(text), error.ctx) from None
    except click.ClickException as error:
        vars(error)["message"] = line(error.message)  # click holds it to be final
        raise
    except (click.exceptions.Exit, click.Abort, BrokenPipeError):
        raise
    except Exception:
        import traceback

        click.echo(without_passwords(traceback.format_exc()), err=True)
        raise SystemExit(1) from None


class LazyGroup(Group):
    """A group whose commands are imported on use; their one-line helps stand in ``COMMANDS``."""

    def make_context(self, info_name: str | None, args: list[str], *more: Any, **options: Any) -> click.Context:
        """Read the group's own options."""
        with shown_safely():
            return super().make_context(info_name, args, *more, **options)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command."""
        with shown_safely():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command, or None where there is no such name."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in ``--help``, written without importing any command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


EXAMPLES = examples(
    "bench list studies",
    "bench run study latent_dim",
    "bench run trial vae --dataset mnist --set latent_dim=10",
    "bench report latent_dim",
    "bench ui",
)


@click.group(cls=LazyGroup, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bench", help="Show the version and exit.")
def main() -> None:
    """Which small image generator works, and why: studies of VAEs, GANs and what lies between."""


def program() -> None:
    """``bench`` as a program: `main`, with few looks for garbage, after which a Ctrl-C has nothing left to stop.

    It would end in a traceback of whatever library clears up at that moment.
    """
    sys.unraisablehook = _come_again
    gc.set_threshold(GC_THRESHOLD, *gc.get_threshold()[1:])
    try:
        main(prog_name="bench")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _come_again(unraisable: sys.UnraisableHookArgs) -> None:
    """Have a Ctrl-C that met a finaliser, where Python prints what is raised and goes on, come once more when that has ended."""
    if issubclass(unraisable.exc_type, KeyboardInterrupt):
        import threading

        threading.Timer(AGAIN_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        sys.__unraisablehook__(unraisable)
