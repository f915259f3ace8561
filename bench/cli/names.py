"""Names as they are typed: what there is of each kind, completed by the shell, and the nearest one to a name that is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from bench.cli.place import surroundings
from bench.registry import KINDS
from bench.registry import names as registered
from bench.text import is_name, is_plain, printable
from bench.tracking.names import SHORT

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from bench.paths import Paths
    from bench.tracking.glance import Glimpse

MOST = 100  # runs that a shell is offered
ALIKE = 0.75  # of an ID's letters: of two by chance, about half stand in the same order
# What is written before a name of each kind that stands where a command should: `bench run latent_dim`.
READINGS = {
    "": {"studies": "show study", "models": "show model", "datasets": "show dataset", "metrics": "show metric"},
    "run": {"studies": "run study", "models": "run trial"},
    "show": {
        "studies": "show study",
        "models": "show model",
        "datasets": "show dataset",
        "metrics": "show metric",
        "applications": "show application",
    },
}
LISTED = ("studies", *KINDS, "runs")  # what `bench list` has


def examples(*lines: str) -> str:
    """The end of a command's help: examples as they are typed, a line each."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def names(kind: str, paths: Paths) -> list[str]:
    """The names of a kind: ``studies``, ``models``, ``metrics``, ...; nothing is imported for it but a metric of one's own."""
    if kind == "studies":
        return [name for name in paths.study_files() if is_name(name)]
    if kind == "metrics":
        from bench.measure.measurements import measurements

        return sorted(measurements().metrics)
    return registered(kind)


def completing(*kinds: str) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Complete an argument by the names of some kinds, ``runs`` among them; what goes wrong completes nothing."""

    def complete(context: click.Context, parameter: click.Parameter, begin: str) -> list[CompletionItem]:
        try:
            paths = surroundings()
            return [
                item for kind in kinds for item in (_runs(paths, begin) if kind == "runs" else _of(kind, paths, begin))
            ]
        except Exception:  # a shell that waits for a word has no use for a message
            return []

    return complete


def _of(kind: str, paths: Paths, begin: str) -> Iterator[CompletionItem]:
    from click.shell_completion import CompletionItem

    for name in names(kind, paths):
        if name.startswith(begin) and is_plain(name):
            yield CompletionItem(name)


def _runs(paths: Paths, begin: str) -> Iterator[CompletionItem]:
    from click.shell_completion import CompletionItem

    from bench.tracking.glance import glance
    from bench.tracking.words import title

    if paths.tracking is None:  # a server would have to be asked through MLflow, for seconds
        for run in glance(paths.store, None, begin=begin, most=MOST):
            beginning = run.run_id if run.run_id.startswith(begin) else run.key
            shown = beginning[: max(SHORT, len(begin))]
            yield CompletionItem(shown, help=printable(f"{run.study}: {title(run.trial)}, {run.state}"))


def nearest_run(name: str, paths: Paths) -> str:
    """The run whose ID, key or name is nearest to one that none has, as the end of a message."""
    from difflib import get_close_matches

    from bench.tracking.glance import glance
    from bench.tracking.words import title

    known: dict[str, Glimpse] = {}
    for run in glance(paths.store, paths.tracking):
        known |= {beginning[: len(name)]: run for beginning in (run.run_id, run.key)} | {title(run.trial): run}
    near = [] if name in known else get_close_matches(name, known, n=1, cutoff=ALIKE)
    return "".join(f"; did you mean {known[each].run_id[:SHORT]} ({title(known[each].trial)})?" for each in near)


class Choice(click.Choice[str]):
    """One of a few words; the message on another has the nearest."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The word, if it is one of them."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter as error:
            self.fail(error.message + hint(str(value), list(map(str, self.choices))), param, ctx)


class Group(click.Group):
    """A group that says which command a wrong one is nearest to: of its own, or with a name that stands in its place."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The command that the first word names."""
        word = args[0] if args else ""
        if not word.startswith("-") and self.get_command(ctx, word) is None:
            path = ctx.command_path.partition(" ")[2]
            near = hint(word, self.list_commands(ctx))
            if path in READINGS and word in LISTED:
                near = f" Did you mean 'bench list {word}'?"
            near = near or _meant(word, READINGS.get(path, {}))
            ctx.fail(f"No such command {printable(word)!r}.{near}")
        return super().resolve_command(ctx, args)


def hint(word: str, known: Sequence[str]) -> str:
    """The known word that is nearest to one that is none, as the end of a message."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _meant(word: str, readings: Mapping[str, str]) -> str:
    """The commands that a name, or the nearest to it, stands in the place of, as the end of a message."""
    try:
        paths = surroundings()
        known = {kind: names(kind, paths) for kind in readings}
    except Exception:  # what is wrong with a study or a component is told where it is asked for
        return ""
    from difflib import get_close_matches

    near = get_close_matches(word, sorted({each for found in known.values() for each in found}), n=1)
    if word not in near:
        near = [word] if any(word in found for found in known.values()) else near
    meant = [f"'bench {readings[kind]} {name}'" for name in near for kind in readings if name in known[kind]]
    return f" Did you mean {' or '.join(meant)}?" if meant else ""
