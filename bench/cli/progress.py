"""How a running study looks: a line for it and one for each trial on a terminal, a plain line per milestone elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from bench.cli.layout import GAP, cells, cut, padded
from bench.cli.remaining import Remaining, Running, clock
from bench.previews import picture_epochs
from bench.run.events import Epoch, Event, Finished, Started
from bench.study.definition import Failure, Trial
from bench.text import printable
from bench.tracking.words import title as named

if TYPE_CHECKING:
    from bench.run.plan import Plan

Item = TypeVar("Item")

ROOMY = 100  # cells from which a line has its words written out
BAR = 40  # cells that a bar has at the most
MEASURING = "measuring"  # what is said in place of a time, once nothing is left to train
NAME, SHORTEST_BAR = 12, 6  # cells that a name and a bar keep, or are left out
PARTS = ("count", "loss", "speed", "left")  # what stands behind a name and its bar, in this order ...
DISPENSABLE = ("speed", "loss", "left", "count")  # ... and what is left out first where there is no room for all


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The `bench.datasets.Track` of the command line: a bar while there is something to see, and nothing elsewhere."""
    console = Console(stderr=True, emoji=False)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(items, total, description=what)


class Display:
    """Shows events as they come; a context manager that leaves the terminal as it was, with a line for every trial that ended."""

    def __init__(
        self, plan: Plan, title: str = "trials", slots: int = 1, now: Callable[[], float] = time.monotonic
    ) -> None:
        """``slots`` is how many trials run at a time."""
        self._console = Console(stderr=True, emoji=False)  # names are text: neither markup nor signs for pictures
        self._remaining = Remaining(plan, slots)
        self._title = title
        self._now = now
        self._seen: dict[str, tuple[str, str]] = {}  # of the trials that run, by key: loss and speed
        self._failed = 0
        # What is to come is reserved, and widths only grow: nothing jumps.
        longest = max((_epochs(trial) for trial in plan.todo), default=1)
        roomy = self._console.width >= ROOMY
        expected = (
            f"{'epoch ' if roomy else ''}{longest}/{longest}",
            "loss 1234.5",
            "12,345 img/s",
            "1:00:00 left" if roomy else MEASURING,
        )
        self._widths = dict(zip(PARTS, map(len, expected), strict=True))
        self._longest = max(cells(printable(each)) for each in (title, *map(named, plan.todo)))
        self._lock = threading.Lock()  # the terminal is drawn by a thread of its own
        self._moving = self._console.is_terminal and not self._console.is_dumb_terminal
        self._live = Live(
            console=self._console, get_renderable=self._render, refresh_per_second=4, transient=True, auto_refresh=True
        )

    def __enter__(self) -> Display:
        if self._moving:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._moving:
            self._live.stop()

    def show(self, trial: Trial, event: Event) -> None:
        """One event of one trial."""
        now = self._now()
        match event:
            case Started():
                with self._lock:
                    self._remaining.begin(trial, now)
            case Epoch(progress):
                with self._lock:
                    running = self._remaining.passed(trial, progress.epoch, now, told_again=progress.past)
                    self._seen[running.key] = one_loss(progress.held_out), speed(progress.images_per_second)
                epochs = _epochs(trial)
                if not self._moving and progress.epoch in picture_epochs(epochs):
                    losses = GAP.join(f"{name} {value:.4g}" for name, value in progress.held_out.items())
                    self._line(f"{named(trial)}  epoch {progress.epoch}/{epochs}  {trial.held_out}: {losses}")
            case Failure(kind, reason):
                self._failed += 1
                self._ended(trial, f"{kind}: {reason}", whole=False, style="bold red")
            case Finished(scores):
                values = [f"{name} {s.value:.4g}" for name, s in scores.items() if s.value is not None]
                self._ended(trial, "finished: " + GAP.join(values))

    def given_up(self, trial: Trial) -> None:
        """A trial was stopped, since it lay behind the others of its search."""
        self._ended(trial, "given up: it lies behind the others", whole=False)

    def _ended(self, trial: Trial, text: str, *, whole: bool = True, style: str = "") -> None:
        with self._lock:
            running = self._remaining.end(trial, self._now(), whole=whole)
            self._seen.pop(running.key, None)
        name, width = printable(named(trial)), self._console.width
        if self._moving and cells(name) + len(GAP) + cells(text) > width:
            name = cut(name, max(NAME, width * 2 // 5))
        line = Text(name + GAP).append(printable(text), style)
        if self._moving and whole:  # a failure is told to its end
            line = Text(cut(line.plain, width))
        elif not self._moving:
            left = clock(self._remaining.of_all(self._now()))
            line.append(f"  ({self._count()}{f', {left} left' if left else ''})")
        self._console.print(line, highlight=False, soft_wrap=True)

    def _line(self, text: str) -> None:
        self._console.print(printable(text), highlight=False, markup=False, soft_wrap=True)

    def _count(self) -> str:
        return f"{len(self._remaining.ended)}/{self._remaining.total}"

    def _render(self) -> Group:
        """The line of the study and one for each trial that runs, in columns of one width."""
        with self._lock:
            now, width = self._now(), self._console.width
            roomy = width >= ROOMY
            running = list(self._remaining.running.values())
            rows = [self._study(now, roomy), *(self._trial(each, now, roomy) for each in running)]
        for part in PARTS:
            self._widths[part] = max(self._widths[part], *(cells(row[part]) for _, _, row in rows))
        self._longest = max(self._longest, *(cells(title) for title, _, _ in rows))
        parts = list(PARTS)
        for part in DISPENSABLE:
            if width - self._filled(parts) < NAME:
                parts.remove(part)
        name, bar = self._shares(width - self._filled(parts), self._longest)
        lines = []
        for number, (title, done, row) in enumerate(rows):
            line = Text(padded(cut(title, name), name), "bold" if not number else "", no_wrap=True, overflow="crop")
            if bar:
                full, rest = self._bar(done, bar)
                line.append(GAP).append(full, "green" if number else "cyan").append(rest, "dim")
            for part in parts:
                blank = " " * (self._widths[part] - cells(row[part]))
                line.append(GAP + (row[part] + blank if part == "loss" else blank + row[part]))
            lines.append(line)
        return Group(*lines)

    def _filled(self, parts: Iterable[str]) -> int:
        """The cells of a line that ``parts`` take."""
        return sum(len(GAP) + self._widths[part] for part in parts)

    @staticmethod
    def _shares(room: int, longest: int) -> tuple[int, int]:
        """The cells of a name and of a bar: the name's seed stands behind what is varied, so the bar has what the names leave."""
        if room < NAME + len(GAP) + SHORTEST_BAR:
            return max(1, room), 0
        name = min(longest, room - len(GAP) - SHORTEST_BAR)
        return name, min(BAR, room - len(GAP) - name)

    def _bar(self, done: float, size: int) -> tuple[str, str]:
        full = min(size, int(done * size))
        signs = "#-" if self._console.options.ascii_only else "━─"
        return signs[0] * full, signs[1] * (size - full)

    def _study(self, now: float, roomy: bool) -> tuple[str, float, Mapping[str, str]]:
        """The name, the share that is done, and the parts of the study's line."""
        remaining = self._remaining
        shares = [(each.epoch or 0) / _epochs(each.trial) for each in remaining.running.values()]
        parts = {
            "count": self._count() + (" trials" if roomy else ""),
            "loss": f"{self._failed} failed" if self._failed else "",
            "speed": "",
            "left": _left(remaining.of_all(now), roomy),
        }
        return printable(self._title), (len(remaining.ended) + sum(shares)) / max(1, remaining.total), parts

    def _trial(self, running: Running, now: float, roomy: bool) -> tuple[str, float, Mapping[str, str]]:
        """The same of a trial's."""
        loss, rate = self._seen.get(running.key, ("", ""))
        epoch, epochs = running.epoch or 0, _epochs(running.trial)
        left = MEASURING if epoch == epochs else _left(self._remaining.of(running, now), roomy)
        count = f"{'epoch ' if roomy else ''}{epoch}/{epochs}"
        parts = {"count": count, "loss": loss, "speed": rate, "left": left}
        return printable(named(running.trial)), epoch / epochs, parts


def one_loss(terms: Mapping[str, float]) -> str:
    """The loss that a model descends on held-out images, or the first of several."""
    name = "loss" if "loss" in terms else next(iter(terms), "")
    return f"{cut(printable(name), NAME)} {terms[name]:.4g}" if terms else ""


def speed(images_per_second: float) -> str:
    """How many images were learnt from in a second; blank before any was."""
    return f"{images_per_second:,.0f} img/s" if images_per_second else ""


def _left(seconds: float | None, roomy: bool) -> str:
    text = clock(seconds)
    return f"{text} left" if text and roomy else text


def _epochs(trial: Trial) -> int:
    return int(trial.settings["training"]["epochs"])
