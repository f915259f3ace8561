"""The long run: see `tests.faults`."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from tests.faults.disturbances import DISTURBANCES
from tests.faults.harness import Harness, Result
from tests.faults.warm import Warm


def summary(results: list[Result]) -> str:
    """A table: each disturbance, how often it took place, and what came of it."""
    counts, missed, examples = Counter[str](), Counter[str](), dict[str, int]()
    broken: dict[str, list[int]] = defaultdict(list)
    for result in results:
        for name, words in zip(result.drawn, result.done, strict=False):
            counts[name] += bool(words)
            missed[name] += not words
            if words:
                examples.setdefault(name, result.seed)
        if result.broken:
            for name in result.drawn:
                broken[name].append(result.seed)
    lines = [
        "| disturbance | took place | came too late | promises broken | one of them again |",
        "|---|---|---|---|---|",
    ]
    for name in DISTURBANCES:
        if counts[name] or missed[name]:
            cases = ", ".join(map(str, broken[name])) or "none"
            again = f"`python -m tests.faults --case {examples[name]}`" if name in examples else ""
            lines.append(f"| {name} | {counts[name]} | {missed[name]} | {cases} | {again} |")
    total, bad = sum(counts.values()), sum(bool(result.broken) for result in results)
    lines.append(f"\n{total} disturbances in {len(results)} cases; promises were broken in {bad} cases.")
    return "\n".join(lines)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--count", type=int, default=500, help="disturbances that are to take place")
    parser.add_argument("--seed", type=int, default=0, help="of the first case")
    parser.add_argument("--case", type=int, help="run this case alone")
    parser.add_argument(
        "--only", default="", help="disturbances whose name holds this text; it is part of a case's name"
    )
    parser.add_argument("--jobs", type=int, default=1, help="cases at a time")
    parser.add_argument(
        "--log", type=Path, help="append a line of JSON for each case; cases that it holds are not run again"
    )
    parser.add_argument("--summary", type=Path, help="write the table there")
    given = parser.parse_args()
    results = []
    if given.log and given.log.exists():
        results = [Result(**json.loads(line)) for line in given.log.read_text().splitlines()]
    known = {result.seed for result in results}
    seeds = iter([given.case]) if given.case is not None else (n for n in _from(given.seed) if n not in known)
    lock = threading.Lock()

    def work(harness: Harness) -> None:
        with Warm() as warm:
            while True:
                with lock:
                    enough = sum(bool(words) for each in results for words in each.done) >= given.count
                    seed = None if enough else next(seeds, None)
                if seed is None:
                    return
                result = harness.run(seed, given.only, warm)
                with lock:
                    results.append(result)
                    if given.log:
                        with given.log.open("a") as log:
                            log.write(json.dumps(asdict(result)) + "\n")
                    words = "; ".join(filter(None, result.done)) or "came too late"
                    outcome = "BROKEN: " + "; ".join(result.broken) if result.broken else "kept"
                    print(f"case {seed} [{result.kind}] {words}: {outcome} ({result.seconds:g} s)", flush=True)

    with (
        tempfile.TemporaryDirectory(prefix="bench-faults-") as folder,
        Harness(Path(folder)) as harness,
        ThreadPoolExecutor(given.jobs) as pool,
    ):
        for ended in [pool.submit(work, harness) for _ in range(given.jobs)]:
            ended.result()
    table = summary(results)
    print(table)
    if given.summary:
        given.summary.write_text(table + "\n")
    return int(any(result.broken for result in results))


def _from(first: int) -> Iterator[int]:
    while True:
        yield first
        first += 1


if __name__ == "__main__":
    sys.exit(main())
