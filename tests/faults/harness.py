"""Draws cases by their seeds and runs them."""

from __future__ import annotations

import random
import shutil
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults import facts
from tests.faults.case import Broken, Case, laid_out
from tests.faults.disturbances import DISTURBANCES
from tests.faults.facts import Reference
from tests.faults.project import KINDS
from tests.faults.servers import Server
from tests.faults.warm import Warm


@dataclass
class Result:
    """What came of a case.

    Attributes:
        did: its disturbances that took place: each by its name, and in words.
        late: the names of those that did not, since the command had ended before.
        broken: the promises that were not kept.
    """

    seed: int
    kind: str
    did: list[tuple[str, str]] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    seconds: float = 0.0


def drawn(seed: int, only: str = "") -> tuple[str, list[str]]:
    """The kind of study of a case, and what is done to it."""
    chance = random.Random(f"case {seed}")
    names = [name for name in DISTURBANCES if only in name]
    first = chance.choices(names, [DISTURBANCES[name][1] for name in names])[0]
    kind = chance.choice(DISTURBANCES[first][2])
    suited = [name for name in names if kind in DISTURBANCES[name][2]]
    more = chance.choices(suited, [DISTURBANCES[name][1] for name in suited], k=chance.choice((2, 3, 3, 4)))
    return kind, [first, *more]


class Harness:
    """Runs cases; a context manager that removes all that it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._references: dict[str, Reference] = {}
        self._lock = threading.Lock()
        self._stack = ExitStack()

    def __enter__(self) -> Harness:
        self.warm = self._stack.enter_context(Warm())
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def run(self, seed: int, only: str = "", warm: Warm | None = None) -> Result:
        """One case."""
        kind, names = drawn(seed, only)
        result, started = Result(seed, kind), time.monotonic()
        warm = warm or self.warm
        expected = self.reference(kind, warm)
        bare = random.Random(f"bare {seed}").random() < 0.1  # makes its databases itself, and forks nothing
        with self.case(kind, self.folder / f"case-{seed}", warm, expected, seed, bare=bare) as case:
            doing = ""
            try:
                for doing in names:
                    if words := DISTURBANCES[doing][0](case):
                        case.did.append((doing, words))
                    else:
                        result.late.append(doing)
                doing = ""
                case.complete()
            except Broken as error:
                case.broken.append(str(error))
            except Exception as error:  # of the harness itself, which goes on with the next case
                case.broken.append(f"the harness: {type(error).__name__}: {error}")
                traceback.print_exc()
            if doing:  # that in which a promise was broken took place too
                case.did.append((doing, "until then"))
            result.did, result.broken = case.did, case.broken
        result.seconds = round(time.monotonic() - started, 1)
        return result

    def reference(self, kind: str, warm: Warm) -> Reference:
        """What an undisturbed project of a kind holds, taken once, by whoever is the first to ask."""
        with self._lock:
            if kind not in self._references:
                empty = Reference({}, {})
                with self.case(kind, self.folder / f"undisturbed {kind}", warm, empty, 0, bare=False) as case:
                    for study in case.studies:
                        driver = case.start(study)
                        status = case.end(driver)
                        assert status == 0, driver.said()
                    self._references[kind] = facts.reference(case.folder, case.studies)
                    if (case.store / "cache").exists():
                        shutil.copytree(case.store / "cache", self._stores() / "cache", dirs_exist_ok=True)
            return self._references[kind]

    @contextmanager
    def case(
        self, kind: str, folder: Path, warm: Warm, expected: Reference, seed: int, *, bare: bool
    ) -> Iterator[Case]:
        with laid_out(KINDS[kind], folder, None if bare else self._stores()), ExitStack() as stack:
            case = Case(seed, kind, KINDS[kind], folder, warm, expected, quick=not bare)
            if KINDS[kind].server:
                case.server = Server(folder / "server")
                case.server.start()
                stack.callback(case.server.kill)
                case.environment["MLFLOW_TRACKING_URI"] = case.server.address
            yield case

    def _stores(self) -> Path:
        """Databases without a run: making them takes seconds, copying them none."""
        store = self.folder / "empty"
        if not store.exists():
            from bench.tracking.store import Store

            Store(store, None, "unused", "", create=False)
        return store
