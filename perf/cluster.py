"""What Ray costs a trial: one of some 30 s on a Ray of this machine's own, beside the same one by the local executor.

    python perf/cluster.py [EPOCHS]

The two have a study each, and do a trial of it in turn, on one core, from handing it out until its last event has come: with
its data set, its pictures, its checkpoints, and what is measured of it. What a study costs once, starting Ray, reading torch in
its processes, making what trials share, is in the first trial of each, which is told apart. Exit status 1 where the median ratio
is over its bar; absolute figures are this machine's, the ratio travels.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench import registry
from bench.executors import Resources
from bench.run.away import Travelling
from bench.run.events import Asked, Finished
from bench.study.catalogue import catalogue
from bench.study.definition import Failure, Trial
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


class Study:
    """Trials that an executor does one at a time, whatever it has room for: one for each call of `seconds`."""

    def __init__(self, executor: str, resources: Resources, store: Path, trials: Sequence[Trial]) -> None:
        self.busy = False
        work = Travelling(Asked(METRICS), store / "data", store, {})
        self.events = registry.load("executors", executor).run(self._handed_out(trials), work, resources)

    def _handed_out(self, trials: Sequence[Trial]) -> Iterator[Trial | None]:
        for trial in trials:
            self.busy = True
            yield trial
            while self.busy:
                yield None

    def seconds(self) -> float:
        """Of the next trial, trained from its beginning."""
        started = time.perf_counter()
        for trial, event in self.events:
            if isinstance(event, Finished):
                self.busy = False
                return time.perf_counter() - started
            if isinstance(event, Failure):
                raise SystemExit(f"{trial.name}: {event.kind}: {event.reason}")
        raise SystemExit("there are no more trials")


def main() -> int:
    """Print the two beside each other; 1 where Ray costs more than it may."""
    epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    one_thread = {"local": Resources(workers=cores), "ray": Resources(workers=1, threads=1)}
    ratios = []
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as folder, ExitStack() as open_studies:
        trials = [trial_of(1), *(replace(trial_of(epochs), seed=seed) for seed in range(ROUNDS))]
        studies = []
        for executor, resources in one_thread.items():
            studies.append(Study(executor, resources, Path(folder) / executor, trials))
            open_studies.enter_context(closing(studies[-1].events))
            print(f"{executor}: {studies[-1].seconds():.1f} s for a first trial of one epoch", flush=True)
        for _ in range(ROUNDS):
            local, ray = (study.seconds() for study in studies)
            ratios.append(ray / local)
            load = os.getloadavg()[0]
            print(
                f"local {local:7.1f} s   Ray {ray:7.1f} s   ratio {ratios[-1]:.3f}   load {load:.1f} on {cores} cores",
                flush=True,
            )
    print(f"median ratio {median(ratios):.3f}, bar {BAR}", flush=True)
    return int(median(ratios) > BAR)


if __name__ == "__main__":
    sys.exit(main())
