"""What a first study takes beside its training alone: the README's, from the command to its report, in a place without a store.

    python perf/study.py

Its training alone is that of the same trials by `bench.training.train`, one after another in as many processes with as many
threads, which have read torch before the clock starts. What is left is all else: starting, the classifier that trials are
measured by, measures (all but FID and KID, which a processor leaves blank), pictures, tracking, the report. Once each, for it
takes minutes. No GPU is used. Exit status 1 where the bar is missed. Run it where nothing else runs.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from bench.optimizers import TrainingOptions
from bench.run.resources import cores, share_out
from bench.run.worker import build, load_data
from bench.study.catalogue import catalogue
from bench.study.definition import Trial
from bench.study.file import load
from bench.training import train

BAR = 1.4
STUDIES = Path(__file__).parents[1] / "studies"
COMMAND = [sys.executable, "-m", "bench", "run", "study", "latent_dim", "--dataset", "digits", "--gpus", ""]


def alone(trial: Trial, threads: int) -> None:
    """Train it, and nothing else."""
    torch.set_num_threads(threads)
    data = load_data(trial, Path())
    options = TrainingOptions.from_settings(trial.settings["training"])
    for _ in train(build(trial, data.spec), data, options, seed=trial.seed):
        pass


def main() -> int:
    """Print both; 1 where the bar is missed."""
    known = catalogue()
    study = load(STUDIES / "latent_dim.toml", known, datasets=("digits",))
    trials, workers = list(study.grid(known, {})), share_out(gpus=()).workers
    threads = max(1, cores() // workers)
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as name:
        (Path(name) / "studies").symlink_to(STUDIES)
        started = time.perf_counter()
        subprocess.run(COMMAND, cwd=name, check=True, stdout=subprocess.DEVNULL)
        whole = time.perf_counter() - started
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        pool.map(time.sleep, [1.0] * workers, chunksize=1)  # until each has read this file
        started = time.perf_counter()
        pool.map(partial(alone, threads=threads), trials, chunksize=1)
        trained = time.perf_counter() - started
    met = whole / trained <= BAR
    print(f"{len(trials)} trials on {workers} workers: {whole:.0f} s, their training alone {trained:.0f} s")
    print(f"ratio: {whole / trained:.2f}, at most {BAR}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
