"""The reference of the command line, `docs/cli.md`, from the commands themselves.

python docs/cli.py            writes it
python docs/cli.py --check    exit status 1 where it is not what it would write
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from bench.cli import main as bench

PAGE = Path(__file__).with_suffix(".md")
HEAD = """# The command line

Every command and every option, as `bench COMMAND --help` shows them. This page is written by `python docs/cli.py`.

Exit status 0 means that all went well, 1 that something failed (which trials, and why, on the last lines), 2 that something was
asked for that cannot be: one line says what is wrong and what would be right. A wrong name is answered with the nearest one.

## Completion

A shell completes commands, options, and the names of studies, models, data sets, metrics, applications and runs. That takes one
line in its own file:

```
eval "$(_BENCH_COMPLETE=bash_source bench)"         # ~/.bashrc
eval "$(_BENCH_COMPLETE=zsh_source bench)"          # ~/.zshrc
_BENCH_COMPLETE=fish_source bench | source          # ~/.config/fish/config.fish
```

Runs are completed by the beginnings of their IDs, from the store of the folder that the shell is in. Those on an MLflow server
are not: asking it would take seconds.
"""


def commands(command: click.Command, context: click.Context) -> Iterator[tuple[click.Command, click.Context]]:
    """A command's own and, of a group, all that lie in it, each with the context that names it; groups before what they hold."""
    yield command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            assert found is not None
            yield from commands(found, click.Context(found, info_name=name, parent=context, terminal_width=80))


def every() -> list[tuple[click.Command, click.Context]]:
    """Every command of ``bench``, itself first."""
    return list(commands(bench, click.Context(bench, info_name="bench", terminal_width=80)))


def options(command: click.Command) -> list[click.Option]:
    """The options of a command, but for ``--help``."""
    return [each for each in command.params if isinstance(each, click.Option)]


def examples(command: click.Command) -> list[str]:
    """The lines under "Examples" in a command's help."""
    return re.findall(r"^  (bench.*)$", command.epilog or "", re.MULTILINE)


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(part for command, context in every() for part in _section(command, context))])


def _section(command: click.Command, context: click.Context) -> Iterator[str]:
    yield f"## {context.command_path}\n"
    usage = command.get_usage(context).removeprefix("Usage: ")
    yield f"```\n{' '.join(usage.split())}\n```\n"
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        yield f"{_text(' '.join(paragraph.split()))}\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            found = command.get_command(context, name)
            path = f"{context.command_path} {name}"
            yield f"* [{path}](#{path.replace(' ', '-')}): {_text(found.get_short_help_str(120) if found else '')}"
        yield ""
    if rows := [_row(option, context) for option in options(command)]:
        yield "| option | |\n|:--|:--|"
        yield from (f"| {name} | {text} |" for name, text in rows)
        yield ""
    yield "```\n" + "\n".join(examples(command)) + "\n```\n"


def _row(option: click.Option, context: click.Context) -> tuple[str, str]:
    """An option as it is typed, and what it is for."""
    record = option.get_help_record(context)
    assert record is not None
    name, text = record
    return f"`{name}`".replace("|", "\\|"), _text(text)


def _text(text: str) -> str:
    """Words of a help text as Markdown; what stands in back-quotes there is code here too."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([\\*_<>|\[\]])", r"\\\1", part) for part in parts)


def main(arguments: list[Any]) -> None:
    """Write the page, or look whether it is what it would be."""
    if arguments not in ([], ["--check"]):
        sys.exit(f"usage: python docs/cli.py [--check], not {' '.join(arguments)}")
    text = page()
    if not arguments:
        PAGE.write_text(text, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PAGE.name} is not what the commands say; write it anew: python docs/cli.py")


if __name__ == "__main__":
    main(sys.argv[1:])
