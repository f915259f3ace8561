"""One case: a project, a command, and what happens to it."""

from __future__ import annotations

import itertools
import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults import facts, processes
from tests.faults.facts import Reference
from tests.faults.project import Kind, lay_out
from tests.faults.warm import Driver, Warm

if TYPE_CHECKING:
    from tests.faults.servers import Server

END_SECONDS = 900.0  # after which a command that has not ended hangs, on a busy machine


class Broken(Exception):
    """A promise that was not kept: a line."""


@dataclass
class Case:
    """A project of its own, at the mercy of its seed.

    Attributes:
        did: what was done to it: the name of each disturbance, and it in words.
        quick: servers of processes are forks too, and reports' pictures packed loosely.
        others: trials of other keys may come to stand there.
    """

    seed: int
    name: str
    kind: Kind
    folder: Path
    warm: Warm
    expected: Reference
    environment: dict[str, str] = field(default_factory=dict)
    did: list[tuple[str, str]] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    quick: bool = True
    others: bool = False
    server: Server | None = None

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.mark = f"case-{self.seed}-{self.folder.name}"
        self.studies = list(self.kind.studies)
        self.commands = 0

    @property
    def store(self) -> Path:
        """Where its databases, checkpoints and files are."""
        return self.folder / "mlruns"

    def start(self, study: str | None = None, words: list[str] | None = None, **options: Any) -> Driver:
        """The command, begun."""
        self.commands += 1
        words = words or self.kind.words(study or self.studies[0])
        output = self.folder / f"output-{self.commands}.txt"
        output.touch()
        environment = {**self.environment, **options.pop("environment", {})}
        options |= {"mark": self.mark, "environment": environment, "quick": self.quick}
        return self.warm.start(words, self.folder, output, **options)

    def end(self, driver: Driver, seconds: float = END_SECONDS) -> int:
        """The status with which it ends; it must, leave nobody behind, and have thrown nothing at its user."""
        status = driver.wait(seconds)
        if status is None:
            processes.send(driver.pid, 9)
            driver.wait(30)
            processes.outlived(self.mark, driver.pid, 0)
            raise Broken(f"the command had not ended after {seconds:g} s; it said: {last(driver.said())}")
        if left := processes.outlived(self.mark, driver.pid):
            raise Broken(f"outlived their driver: {', '.join(f'{each.role} ({each.state})' for each in left)}")
        if found := thrown(driver.said()):
            raise Broken(f"a traceback, status {status}: {last(found, 5)} | and in the end: {last(driver.said(), 1)}")
        return status

    def wait_for(self, driver: Driver, condition: Callable[[], object]) -> bool:
        """Whether it came to be before the driver ended."""
        end = time.monotonic() + END_SECONDS
        while not condition():
            if driver.poll() is not None or time.monotonic() > end:
                return False
            time.sleep(0.02)
        return True

    def stage(self, driver: Driver) -> str:
        """Let the driver come to a stage drawn by chance, and a little further; its name, or nothing where it ended before."""
        stages: dict[str, tuple[Callable[[], object], float]] = {
            "at its start": (lambda: True, 2.5),
            "once a trial had begun": (lambda: processes.members(self.mark, driver.pid, "child"), 1.5),
            "once there was a checkpoint": (lambda: list(self.store.glob("checkpoints/*/checkpoint.json")), 0.7),
            "once a trial was finished": (lambda: " finished: " in driver.said(), 0.7),
        }
        name = self.random.choice(list(stages))
        condition, seconds = stages[name]
        delay = self.random.uniform(0, seconds)
        if not self.wait_for(driver, condition):
            return ""
        time.sleep(delay)
        return name if driver.poll() is None else ""

    def complete(self) -> None:
        """The same command again, for every study and once more: all of it is there, and then nothing is left to do.

        That is asked with ``--dry-run`` as a rule, which writes no report and takes a third of the time.
        """
        left = []
        for study in self.studies:
            driver = self.start(study)
            if status := self.end(driver):
                raise Broken(f"left alone, the command ended with status {status}: {last(driver.said())}")
            if "nothing to train" not in driver.said():
                left.append(study)
        for study in left:
            asked = ["--dry-run"] if self.random.random() < 0.7 else []
            driver = self.start(words=[*self.kind.words(study), *asked])
            if status := self.end(driver):
                raise Broken(f"with nothing to do, the command ended with status {status}: {last(driver.said())}")
            if "nothing to train" not in driver.said() and "a search over" not in driver.said():
                raise Broken(f"it trains again: {last(driver.said(), 5)}")
        self.broken += facts.broken(self.folder, self.expected, others=self.others)


def thrown(text: str) -> str:
    """A traceback among a command's words, from its head on; not one that tells whoever wrote a metric where it went wrong."""
    lines = ["", *text.splitlines()]
    for number, (before, line) in enumerate(pairwise(lines)):
        if line.startswith("Traceback (most recent call last)") and not before.startswith("measurement "):
            inner = itertools.takewhile(lambda each: each.startswith(" "), lines[number + 2 :])
            block = [before, *inner]
            return "\n".join([*block, *lines[number + 1 + len(block) :][:1]])
    return ""


def last(text: str, lines: int = 3) -> str:
    """The last lines, as one."""
    return " | ".join(text.strip().splitlines()[-lines:])


@contextmanager
def laid_out(kind: Kind, folder: Path, store: Path | None) -> Iterator[Path]:
    """A project that is removed at the end."""
    folder.mkdir(parents=True)
    try:
        lay_out(folder, kind, store)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
