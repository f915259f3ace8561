"""`python -m tests.fuzz`: see `tests.fuzz`."""

from __future__ import annotations

import argparse
import itertools
import logging
import math
import random
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from types import FrameType

from tests.fuzz.data import Idx, Images, Kept, Npz, Published
from tests.fuzz.guard import Guard, bounded
from tests.fuzz.models import Checkpoints, Trials, Weights
from tests.fuzz.target import Target
from tests.fuzz.texts import Archives, Commands, Studies
from tests.reliability import surroundings, write_section

TARGETS: Mapping[str, type[Target]] = {
    "npz": Npz,
    "idx": Idx,
    "published": Published,
    "images": Images,
    "kept": Kept,
    "trials": Trials,
    "weights": Weights,
    "checkpoints": Checkpoints,
    "studies": Studies,
    "archives": Archives,
    "commands": Commands,
}
PAIRS = [(kind, mutation) for kind, target in TARGETS.items() for mutation in target.MUTATIONS]
SHARES = {"checkpoints": 0.4, "archives": 0.4}  # of what others have: they train, and write to a database
SECONDS = 30  # of a core, for one input
WAITING = 300  # seconds for it, on a machine that has other work
TITLE = "Bad input"
PROMISE = """\
Each input is a sound one that was mutated, handed to what reads it. It is read, or refused in one line of at most 2,200
characters that names the place. It is broken where anything else is raised or shown, where it takes more than 30 seconds of a
core or more than two gibibytes, where a process, a shell or a connection is begun or a pickle looks a name up, or where anything
is written outside its own folder."""
WORDS = {"refused": "refused in a line", "read": "read", "broken": "broken"}


class Late(BaseException):
    """An input that took too long; nothing in between catches it."""


@dataclass
class Found:
    """What came of the inputs of one reader under one mutation.

    Attributes:
        broken: a line for each that was neither read nor refused as it should be, with the command that repeats it.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    slowest: float = 0.0


def opened(kind: str, folder: Path) -> Target:
    """A reader, with a folder of its own in the empty one that it is given; beside its own nothing may be written."""
    place = folder.resolve() / "outside" / "inside"
    place.parent.mkdir()
    return TARGETS[kind](place)


def fuzz(target: Target, mutation: str, numbers: range, seed: int, guard: Guard) -> Found:
    """Hand inputs to their reader. An input is the same whenever its reader, its mutation, its number and the seed are."""

    def late(number: int, frame: FrameType | None) -> None:
        raise Late(f"more than {SECONDS} s of a core" if number == signal.SIGPROF else f"more than {WAITING} s")

    inside, found = target.folder, Found()
    kind = next(name for name, each in TARGETS.items() if each is type(target))
    before = {number: signal.signal(number, late) for number in (signal.SIGPROF, signal.SIGALRM)}
    try:
        for number in numbers:
            draw = random.Random(f"{seed} {kind} {mutation} {number}")
            target.make(mutation, draw)
            again = f"python -m tests.fuzz {kind}:{mutation} --seed {seed} --start {number} --count 1"
            began = time.perf_counter()
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.alarm(WAITING)
            try:
                with guard.watching(inside), bounded(), warnings.catch_warnings():
                    warnings.simplefilter("error")  # it would be shown, over several lines
                    warnings.filterwarnings(
                        "ignore", "The ``noload`` loader strategy"
                    )  # MLflow's, as in pyproject.toml
                    outcome = target.outcome()
            except (Exception, Late) as error:
                outcome = "broken"
                where = traceback.extract_tb(error.__traceback__)[-1]
                what = " ".join(str(error).split())[:300]
                found.broken.append(
                    f"{again}   {type(error).__name__} in {Path(where.filename).name}:{where.lineno}: {what}"
                )
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
                signal.alarm(0)
            if guard.seen:
                outcome = "broken"
                found.broken.append(f"{again}   {guard.seen[0]}")
            if strange := [path.name for path in inside.parent.iterdir() if path != inside]:
                outcome = "broken"
                found.broken.append(f"{again}   written outside: {strange[:5]}")
            found.outcomes[outcome] += 1
            found.slowest = max(found.slowest, time.perf_counter() - began)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    return found


def chosen(words: list[str]) -> list[tuple[str, str]]:
    """The readers and mutations that ``npz`` and ``idx:headers`` name; all where none are named.

    Raises:
        SystemExit: there is no such reader or mutation.
    """
    found = [pair for word in words for pair in PAIRS if word in (pair[0], ":".join(pair))]
    if unknown := [word for word in words if not any(word in (pair[0], ":".join(pair)) for pair in PAIRS)]:
        sys.exit(f"no reader {unknown[0]!r}; there are: {', '.join(map(':'.join, PAIRS))}")
    return found or PAIRS


def shares(pairs: list[tuple[str, str]], count: int) -> dict[tuple[str, str], int]:
    """``count`` inputs, or a few more, divided among readers and mutations."""
    whole = sum(SHARES.get(kind, 1.0) for kind, _ in pairs)
    return {pair: math.ceil(count * SHARES.get(pair[0], 1.0) / whole) for pair in pairs}


def main() -> int:
    """Fuzz, and print a table; exit status 1 where anything broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("readers", nargs="*", help="as in npz or npz:headers; default: all of them")
    parser.add_argument("--count", type=int, default=2000, help="inputs in all; default: %(default)s")
    parser.add_argument("--start", type=int, default=0, help="the number of the first; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; default: %(default)s")
    parser.add_argument("--out", type=Path, help=f"write the table there too, as the section {TITLE} of a page")
    given = parser.parse_args()
    logging.disable()
    began, guard, rows, total, broken = time.perf_counter(), Guard(), list[str](), Counter[str](), list[str]()
    counts = shares(chosen(given.readers), given.count)
    for kind, pairs in itertools.groupby(counts, key=lambda pair: pair[0]):
        with tempfile.TemporaryDirectory(prefix="bench-fuzz-") as folder:
            target = opened(kind, Path(folder))
            for _, mutation in pairs:
                count = counts[kind, mutation]
                found = fuzz(target, mutation, range(given.start, given.start + count), given.seed, guard)
                again = f"python -m tests.fuzz {kind}:{mutation} --seed {given.seed} --count {count}"
                words = ", ".join(f"{found.outcomes[word]:,} {said}" for word, said in WORDS.items())
                rows.append(f"| {kind} | {target.MUTATIONS[mutation]} | {count:,} | {words} | `{again}` |")
                print(f"{kind}:{mutation} {count}: {words}; the slowest {found.slowest:.1f} s", flush=True)
                print("".join(f"    {each}\n" for each in found.broken), end="", flush=True)
                total += found.outcomes
                broken += found.broken
    summary = f"{total.total():,} inputs: {', '.join(f'{total[word]:,} {said}' for word, said in WORDS.items())}."
    print(summary)
    if given.out:
        took = timedelta(seconds=round(time.perf_counter() - began))
        words = f"`python -m tests.fuzz {' '.join(sys.argv[1:])}`, {date.today()}: {took}; {surroundings()}."
        head = ["| reader | mutation | count | outcome | the same again |", "|---|---|---|---|---|"]
        lines = [words, "", PROMISE, "", summary, "", *head, *rows, *(f"\n    {each}" for each in broken)]
        write_section(given.out, TITLE, "\n".join(lines))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
