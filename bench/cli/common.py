"""What several commands share: errors as one line, and the options that select trials."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bench.cli.names import completing, nearest_run
from bench.text import BadName, is_plain, line, read_toml, reason

if TYPE_CHECKING:
    from bench.paths import Paths

Command = TypeVar("Command", bound=Callable[..., Any])


class UsageLine(click.ClickException):
    """What the user can put right: one line, exit status 2."""

    exit_code = 2

    def __init__(self, message: str) -> None:
        super().__init__(line(message))


@contextlib.contextmanager
def one_line() -> Iterator[None]:
    """Turn the errors that the suite foresees into one line and exit status 2; any other keeps its traceback."""
    from bench.errors import DataError, StudyError, Unsupported
    from bench.registry import RegistryError
    from bench.tracking.errors import StoreError

    try:
        yield
    except (StudyError, StoreError, RegistryError, BadName, DataError, Unsupported) as error:
        raise UsageLine(str(error)) from None
    except BrokenPipeError:  # whoever reads what is written has gone, which click ends quietly
        raise
    except OSError as error:  # a place that cannot be read or written: its path stands in the message
        raise UsageLine(reason(error)) from None


@contextlib.contextmanager
def nearest_told(run: str, paths: Paths) -> Iterator[None]:
    """Have the error on a run that is none name the nearest one."""
    from bench.tracking.errors import StoreError

    try:
        yield
    except StoreError as error:
        raise StoreError(f"{error}{nearest_run(run, paths)}") from None


def tracked(paths: Paths) -> list[str]:
    """The studies that have runs in the store; there may be no store yet."""
    from bench.tracking.lookup import studies

    return studies(paths.store, paths.tracking) if paths.tracking or paths.store.is_dir() else []


def settings_options(command: Command) -> Command:
    """The options that say which settings of a study are meant: the same for running and for reporting."""
    for option in (
        click.option("--size", help='A size that the study names. Default: "full", the study as it is written.'),
        click.option("--smoke", is_flag=True, help="A tiny subset for one epoch, tracked apart as NAME_smoke."),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="KEY=VALUE",
            help="A setting for this invocation; repeatable. Fixes a setting that the study varies.",
        ),
    ):
        command = option(command)
    return command


def selection(command: Command) -> Command:
    """The options that say which trials of a study are meant."""
    command = settings_options(command)
    for option in (
        click.option(
            "--seeds", type=click.IntRange(min=1), help="How many seeds, from 0. Default: the study's number."
        ),
        click.option(
            "--dataset",
            "datasets",
            multiple=True,
            metavar="NAME",
            shell_complete=completing("datasets"),
            help="A data set or a path; repeatable. Default: the study's first.",
        ),
    ):
        command = option(command)
    return command


def parse_setting(text: str, option: str = "--set") -> tuple[str, Any]:
    """``key=value`` from the command line, the value read as TOML and else as a bare word."""
    from bench.errors import StudyError

    example = "epochs=5" if option == "--set" else "partition=gpu"
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise StudyError(f"{option} {text}: must be key=value, as in {option} {example}")
    if not is_plain(text):
        raise StudyError(f"{option} {text!r}: must hold no line break, nor anything else that is no text in UTF-8")
    try:
        return name.strip(), read_toml(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()
    except ValueError:  # lists without end in one another, a number of more digits than Python reads
        raise StudyError(f"{option} {name.strip()}: {value} is too much to be read; it must be a plain value") from None


def read_settings(texts: tuple[str, ...]) -> dict[str, Any]:
    """``--set`` options by name; ``critic.learning_rate=1e-4`` is one player's own."""
    from bench.study.definition import SECTIONS

    given: dict[str, Any] = {}
    for text in texts:
        name, value = parse_setting(text)
        player, dot, option = name.partition(".")
        if dot and player in SECTIONS:
            raise UsageLine(f"--set {name}: must be {option}, without its table [{player}], which its name tells")
        table = given.get(player)
        if dot and isinstance(table, (dict, type(None))):
            given[player] = {**(table or {}), option: value}
        elif dot or isinstance(table, dict):
            one = table if dot else value
            raise UsageLine(
                f"--set {player}: {one!r} and options of a player are both given; it must be one of the two"
            )
        else:
            given[name] = value
    return given
