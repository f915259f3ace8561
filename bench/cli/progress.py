"""How a running study looks: a bar per trial on a terminal, a plain line per milestone elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.previews import picture_epochs
from bench.run.events import Epoch, Event, Finished
from bench.study.definition import Failure, Trial

if TYPE_CHECKING:
    from bench.run.plan import Plan

Item = TypeVar("Item")


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """The `bench.datasets.Track` of the command line: a bar while there is something to see, and nothing elsewhere."""
    console = Console(stderr=True, emoji=False)
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        yield from bar.track(items, total, description=what)


class Display:
    """Shows events as they come; a context manager that leaves the terminal as it was."""

    def __init__(self, plan: Plan) -> None:
        self._console = Console(stderr=True, emoji=False)  # names are text: neither markup nor signs for pictures
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        total = len(plan.todo) + len(plan.again) + plan.proposals
        self._all = self._bars.add_task("trials", total=total, loss="")
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Display:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, trial: Trial, event: Event) -> None:
        """One event of one trial."""
        epochs = trial.settings["training"]["epochs"]
        if isinstance(event, Epoch):
            progress = event.progress
            losses = "  ".join(f"{name} {value:.4g}" for name, value in progress.held_out.items())
            if trial.key not in self._tasks:
                self._tasks[trial.key] = self._bars.add_task(trial.name, total=epochs, loss="")
            self._bars.update(self._tasks[trial.key], completed=progress.epoch, loss=losses)
            if not self._console.is_terminal and progress.epoch in picture_epochs(epochs):
                self._line(f"{trial.name}  epoch {progress.epoch}/{epochs}  {trial.held_out}: {losses}")
        elif isinstance(event, (Finished, Failure)):
            if trial.key in self._tasks:
                self._bars.remove_task(self._tasks.pop(trial.key))
            self._bars.advance(self._all)
            if isinstance(event, Failure):
                self._line(f"{trial.name}  {event.kind}: {event.reason}")
            else:
                values = {name: score.value for name, score in event.scores.items() if score.value is not None}
                self._line(f"{trial.name}  finished: " + "  ".join(f"{n} {v:.4g}" for n, v in values.items()))

    def _line(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
