"""`bench compare`: runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.common import UsageLine, nearest_told, one_line
from bench.cli.layout import described, table, terminal, wrapped
from bench.cli.names import completing, examples
from bench.cli.place import here, near, surroundings
from bench.text import line, listed
from bench.tracking.names import SHORT
from bench.tracking.words import title

if TYPE_CHECKING:
    from bench.comparison import Compared

APART = "do not compare"
CAUTION = (
    "ahead: of these runs alone. One run of each says nothing of its settings; over several seeds that is tested, by"
)


@click.command(
    epilog=examples("bench compare 3f2a91bc 77aa01ce", "bench compare 3f2a 77aa --out pair.png"),
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", shell_complete=completing("runs"))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Where to. Default: applied/compare-RUN-RUN.png."
)
def compare(runs: tuple[str, ...], out: Path | None) -> None:
    """Put runs side by side: the settings that differ, the measures, and their pictures in one PNG.

    RUN is the beginning of a run's ID or of its trial's key, as `bench list runs` shows it, or a run's name in words, as in
    "latent_dim=10, seed 0, digits".
    """
    from bench.comparison import compared, found, sheet

    with one_line():
        paths = surroundings()
        if len(runs) < 2:
            raise UsageLine("name two runs or more; bench list runs shows those there are")
        glimpses = []
        for name in runs:
            with nearest_told(name, paths):
                glimpses.append(found(name, paths))
        if len({each.run_id for each in glimpses}) < len(glimpses):
            raise UsageLine(f"{' '.join(runs)}: one run is named twice")
        each = [compared(glimpse, paths) for glimpse in glimpses]
        for text in [*_settings(each), "", *_measures(each)]:
            click.echo(text)
        if content := sheet(each):
            target = (
                out or here() / "applied" / f"compare-{'-'.join(glimpse.run_id[:SHORT] for glimpse in glimpses)}.png"
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            without = [one.run.run_id[:SHORT] for one in each if not one.pictures]
            lacking = f"; {listed(without)} {'has' if len(without) == 1 else 'have'} none" if without else ""
            click.echo(f"pictures: {near(target.absolute())}{lacking}")
        else:
            click.echo("pictures: none of these runs has any")


def _settings(runs: Sequence[Compared]) -> list[str]:
    """Who is compared, and the settings in which they differ."""
    from bench.cli.runs import differing

    rows = [(each.run.run_id[:SHORT], each.run.study, f"{title(each.run.trial)}, {_state(each)}") for each in runs]
    facts = differing([each.run.trial for each in runs])
    if not facts:
        return [*described(rows, terminal()), "", "  no setting differs"]
    titles = ("setting", *(each.run.run_id[:SHORT] for each in runs))
    return [*described(rows, terminal()), "", *table([titles, *((n, *v) for n, v in facts.items())], terminal())]


def _state(each: Compared) -> str:
    return f"{each.run.state}: {each.run.failure}" if each.run.failure else each.run.state


def _measures(runs: Sequence[Compared]) -> list[str]:
    """Every measure of each run, which of them is ahead where that can be said, and why cells are blank."""
    from bench.comparison import ahead, alike
    from bench.measure.measurements import measurements
    from bench.score import Metric

    known = measurements().metrics
    names = list(dict.fromkeys(name for each in runs for name in each.scores))
    rows: list[tuple[str, ...]] = [("measure", *(each.run.run_id[:SHORT] for each in runs), "ahead")]
    other: list[str] = []
    blank: dict[str, tuple[list[str], list[str]]] = {}  # why -> metrics, runs
    for name in names:
        metric = known.get(name, Metric(name, "neither"))
        values = [each.scores[name].value if name in each.scores else None for each in runs]
        place = ahead(metric, runs)
        marks = "" if place is None else runs[place].run.run_id[:SHORT]
        marks = marks if alike(name, runs) else APART
        if any(value is not None for value in values):
            cells = ["" if value is None else f"{value:.4g}" for value in values]
            rows.append((f"{name} {metric.arrow}".rstrip(), *cells, marks))
        if marks == APART:
            other.append(name)
        for each in runs:
            if name in each.scores and (why := each.scores[name].reason):
                for known_ones, one in zip(
                    blank.setdefault(why, ([], [])), (name, each.run.run_id[:SHORT]), strict=True
                ):
                    known_ones += [one] if one not in known_ones else []
    if len(rows) == 1:
        return ["  nothing was measured of them"]
    lines = table(rows, terminal(), numbers=range(1, len(runs) + 1))
    notes = [f"{', '.join(other)}: taken of other data, or under another protocol"] if other else []
    notes += [f"{', '.join(metrics)}: blank for {', '.join(of)}: {why}" for why, (metrics, of) in blank.items()]
    studies = " or ".join(f"bench report {study}" for study in dict.fromkeys(each.run.study for each in runs))
    if any(row[-1] not in ("", APART) for row in rows[1:]):
        notes.append(f"{CAUTION} {studies}")
    for note in notes:
        lines += wrapped(line(note), terminal(), "  ")
    return lines
