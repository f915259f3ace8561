"""What Ray costs a trial: one of some 30 s on a Ray of this machine's own, beside the same one by the local executor.

    python perf/cluster.py [EPOCHS]

The two are run in turn, a process at a time on one core, from handing the trial out until its last event has come: with its
data set, its pictures, its checkpoints, and what is measured of it. Starting Ray, once for a study, is told apart. Exit status 1
where the median ratio is over its bar; absolute figures are this machine's, the ratio travels.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench import registry
from bench.executors import Resources
from bench.run.away import Travelling
from bench.run.worker import Finished
from bench.study.catalogue import catalogue
from bench.study.definition import Trial
from bench.study.file import build

ROUNDS = 3
BAR = 1.1
METRICS = ("test_loss", "fd_classifier")


def trial_of(epochs: int) -> Trial:
    """A VAE on the digits that come with the package."""
    tables = {
        "question": "What does Ray cost?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": list(METRICS),
        "training": {"epochs": epochs},
        "evaluation": {"samples": 1000},
    }
    known = catalogue()
    return next(build(tables, Path("perf.toml"), known).grid(known, {}))


def seconds(executor: str, trial: Trial, store: Path, resources: Resources) -> float:
    """Of one trial, trained from its beginning."""
    work = Travelling(METRICS, store / "data", store, {})
    started = time.perf_counter()
    *_, (_, last) = registry.load("executors", executor).run(iter([trial]), work, resources)
    if not isinstance(last, Finished):
        raise SystemExit(f"{executor}: {last}")
    return time.perf_counter() - started


def main() -> int:
    """Print the two beside each other; 1 where Ray costs more than it may."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    one_thread = {"local": Resources(workers=cores), "ray": Resources(workers=1, threads=1)}
    short = trial_of(1)
    ratios = []
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as folder:
        for executor in one_thread:  # once for a study: servers of processes, workers' imports, what trials share
            took = seconds(executor, short, Path(folder) / executor, one_thread[executor])
            print(f"{executor}: {took:.1f} s for a first trial of one epoch", flush=True)
        for number in range(ROUNDS):
            trial = replace(trial_of(epochs), seed=number)
            local, ray = (
                seconds(executor, trial, Path(folder) / executor, one_thread[executor]) for executor in one_thread
            )
            ratios.append(ray / local)
            load = os.getloadavg()[0]
            print(
                f"local {local:7.1f} s   Ray {ray:7.1f} s   ratio {ratios[-1]:.3f}   load {load:.1f} on {cores} cores"
            )
    print(f"median ratio {median(ratios):.3f}, bar {BAR}", flush=True)
    return int(median(ratios) > BAR)


if __name__ == "__main__":
    sys.exit(main())
