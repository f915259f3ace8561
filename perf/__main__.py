"""All bars in one run, one script after another: the table of perf/README.md.

    python -m perf [SCRIPT...]

Prints the machine, the commit, and what each script prints with the minutes that it took. Exit status 1 where one missed a bar.
Run it where nothing else runs: it takes about forty minutes.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

ALL = ("imports", "start", "study", "training --compile", "store", "batches", "fid", "frechet")
ROOT = Path(__file__).parents[1]


def processor() -> str:
    """What this machine's processor calls itself."""
    told = Path("/proc/cpuinfo")
    lines = told.read_text().splitlines() if told.exists() else []
    facts = dict(line.split("\t: ", 1) for line in (each.replace("\t\t", "\t") for each in lines) if "\t: " in line)
    family = f" family {facts['cpu family']}, model {facts['model']}" if {"cpu family", "model"} <= set(facts) else ""
    return facts.get("model name", platform.processor()) + family


def main(scripts: list[str]) -> int:
    """Run them; 1 where one missed a bar."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {processor()}, {os.cpu_count()} cores, commit {commit}", flush=True)
    missed = []
    for script in scripts or ALL:
        name, *options = script.split()
        print(f"\n== perf/{name}.py {' '.join(options)}".rstrip(), flush=True)
        started, load = time.perf_counter(), os.getloadavg()[0]
        ended = subprocess.run([sys.executable, "-W", "ignore", "-m", f"perf.{name}", *options], cwd=ROOT)
        missed += [name] if ended.returncode else []
        print(f"== {(time.perf_counter() - started) / 60:.1f} min; load before it {load:.1f}", flush=True)
    print(f"\nbars missed by: {', '.join(missed)}" if missed else "\nevery bar that was tried is met")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
