"""The long run: see `tests.faults`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date
from itertools import count
from pathlib import Path

from tests.faults.disturbances import DISTURBANCES
from tests.faults.harness import Harness, Result
from tests.faults.warm import Warm
from tests.reliability import surroundings, write_section

FACTS = """
Each case is a small study in a project of its own, disturbed a few times, whereupon the same command runs again. Then all that
stands there is read without the suite and compared with a study that was left alone: every trial is finished once; statuses and
tags agree; nothing is running; no process, partial file or checkpoint is left; every metric has its steps, each once; every
picture is there; values and files are equal bit for bit; and nothing is left to train. No command may throw a traceback at its
user.

Not held to this: a digit that changes within a value of `mlflow.db`, which SQLite cannot tell from another, so that bits are
flipped at the heads of its pages; the pictures of epochs of a run that is finished, which nothing could draw again; what an
MLflow server that is killed was taking in at that moment, which lies in its own folder under a name of its own; and a trial's
process that is stopped before its first instruction, which cannot yet ask to be ended with its driver.
"""


def summary(results: list[Result]) -> str:
    """A table: each fault, how often it took place, what came of it, and the command that repeats one of them."""
    counts, missed, examples = Counter[str](), Counter[str](), dict[str, int]()
    broken: dict[str, list[int]] = defaultdict(list)
    for result in sorted(results, key=lambda result: len(result.did)):
        for name in {name for name, _ in result.did}:
            examples.setdefault(name, result.seed)
            if result.broken:
                broken[name].append(result.seed)
        counts.update(name for name, _ in result.did)
        missed.update(result.late)
    lines = ["| fault | count | outcome | command that repeats one |", "|---|---:|---|---|"]
    for name in DISTURBANCES:
        if counts[name]:
            seeds = ", ".join(map(str, sorted(broken[name])))
            outcome = f"broken in case {seeds}" if seeds else "every promise kept"
            lines.append(f"| {name} | {counts[name]} | {outcome} | `python -m tests.faults --case {examples[name]}` |")
    total, bad = sum(counts.values()), sum(bool(result.broken) for result in results)
    lines.append(
        f"\n{total} faults in {len(results)} cases; promises were broken in {bad} cases. {sum(missed.values())} more came too "
        "late, when the command had ended, and are not counted."
    )
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--count", type=int, default=500, help="faults that are to take place; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--case", type=int, help="run this case alone")
    parser.add_argument("--only", default="", help="faults whose name holds this text; a case is another one with it")
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument(
        "--log", type=Path, help="append a line of JSON for each case; cases that it holds are not run again"
    )
    parser.add_argument("--out", type=Path, help="write the table there too, as the section Faults of a page")
    given = parser.parse_args()
    results = []
    if given.log and given.log.exists():
        results = [_result(line) for line in given.log.read_text().splitlines()]
    known = {result.seed for result in results}
    seeds = iter([given.case]) if given.case is not None else (n for n in count(given.seed) if n not in known)
    lock, ended = threading.Lock(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())  # after the cases that run, which clear up and do not count

    def work(harness: Harness, warm: Warm) -> None:
        while True:
            with lock:
                enough = sum(len(each.did) for each in results) >= given.count
                seed = None if enough or ended.is_set() else next(seeds, None)
            if seed is None:
                return
            result = harness.run(seed, given.only, warm)
            if ended.is_set():  # a signal to the group ended what the case ran, too
                return
            with lock:
                results.append(result)
                if given.log:
                    with given.log.open("a") as log:
                        log.write(json.dumps(asdict(result)) + "\n")
                words = "; ".join(f"{name}: {words}" for name, words in result.did) or "came too late"
                outcome = "BROKEN: " + "; ".join(result.broken) if result.broken else "kept"
                print(f"case {seed} [{result.kind}] {words}: {outcome} ({result.seconds:g} s)", flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="bench-faults-") as folder,
        Harness(Path(folder)) as harness,
        ExitStack() as stack,
        ThreadPoolExecutor(given.jobs) as pool,
    ):
        warm = [harness.warm, *(stack.enter_context(Warm()) for _ in range(given.jobs - 1))]
        for each in [pool.submit(work, harness, each) for each in warm]:
            each.result()
    table = summary(results)
    print(table)
    if given.out:
        hours = sum(result.seconds for result in results) / 3600
        took = f"{date.today()}, {hours:.1f} hours of cases, {given.jobs} at a time"
        text = f"`python -m tests.faults {' '.join(sys.argv[1:])}`: {took}; {surroundings()}.\n{FACTS}\n{table}"
        write_section(given.out, "Faults", text)
    return int(any(result.broken for result in results))


def _result(line: str) -> Result:
    told = json.loads(line)
    return Result(**{**told, "did": [(name, words) for name, words in told["did"]]})


if __name__ == "__main__":
    sys.exit(main())
