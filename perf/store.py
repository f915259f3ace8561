"""What the suite itself costs: trials through the real driver, with an executor that trains nothing, and reports of many runs.

    python perf/store.py [--quick]

Every trial has fifty epochs of ten metrics. A trial's time is the driver's from the first event to the last, over their number;
beside it stands what of that the process computed, which other processes do not touch. Stores of all sizes are filled in turn,
and reports written in turn by fresh processes. Exit status 1 where one is over its bar. ``--quick`` leaves the largest out. Run
it where nothing else runs.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from bench import databases
from bench.checkpoint import Progress
from bench.executors import Resources, local
from bench.paths import Paths
from bench.run.driver import Driver
from bench.run.events import Epoch, Finished, Started
from bench.score import Score
from bench.study.catalogue import catalogue
from bench.study.definition import Trial
from bench.study.file import load
from bench.tracking.database import TABLES, check_database
from bench.tracking.names import DATABASE

EPOCHS, VARIANTS, ROUNDS = 50, 10, 5
TRIALS = (30, 300, 3000)
STUDY = f"""
question = "What does the suite itself cost?"
source = "none"
model = "vae"
datasets = ["digits"]
metrics = ["test_loss", "reconstruction_mse", "psnr"]
[training]
epochs = {EPOCHS}
[vary]
latent_dim = [2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
"""


def play(
    trials: Iterator[Trial | None], work: Any, resources: Resources
) -> Generator[tuple[Trial, Any], bool | None, None]:
    """An executor that trains nothing: every trial has all of its events at once."""
    for trial in trials:
        assert trial is not None
        yield trial, Started(1000, {"threads": "1", "device": "CPU", "versions": "{}"}, {"sha256": "0" * 64})
        for epoch in range(EPOCHS + 1):
            losses = dict.fromkeys(("loss", "reconstruction", "kl"), (trial.seed + 1) / (epoch + 1))
            yield trial, Epoch(Progress(epoch, losses, {"loss": losses["loss"]}, losses, 1.0, 1.0, 1.0), {})
        yield (
            trial,
            Finished({name: Score(float(trial.seed)) for name in work.asked.metrics}, {"trial.toml": b"x = 1\n"}),
        )


def fill(folder: Path, trials: int) -> tuple[float, float]:
    """Seconds for each trial of a study of so many, waited for and computed."""
    (folder / "studies").mkdir(parents=True)
    (folder / "studies" / "many.toml").write_text(STUDY)
    paths, known = Paths.find(folder, environment={}), catalogue()
    study = load(paths.study("many"), known, seeds=trials // VARIANTS)
    with Driver(study, known, paths, "bench run study many") as driver:
        began = None
        for _ in driver.run(driver.plan(), "local", Resources()):
            now = time.perf_counter(), time.process_time()
            began = began or now
    assert began is not None
    assert len(driver.outcome.finished) == trials
    return (now[0] - began[0]) / trials, (now[1] - began[1]) / trials


def report(folder: Path) -> float:
    """Seconds of one report, in a fresh process."""
    started = time.perf_counter()
    words = [sys.executable, "-m", "bench", "report", "many"]
    subprocess.run(words, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def opening(folder: Path) -> tuple[float, float]:
    """Seconds that the store's database is looked through in, and those of opening it when it is known to be sound."""
    started = time.perf_counter()
    assert not databases.damage(folder / "mlruns" / DATABASE, TABLES)
    between = time.perf_counter()
    check_database(folder / "mlruns")
    return between - started, time.perf_counter() - between


def told(what: str, values: list[float], unit: str, least: float | None = None) -> float:
    """Print a row, with the bar that the median must keep to; the median."""
    middle = median(values)
    bar = "" if least is None else f"at most {least:g}: {'met' if middle <= least else 'MISSED'}"
    print(f"{what:<46} {middle:>8.3g} {unit:<3} ({min(values):.3g}-{max(values):.3g})  {bar}", flush=True)
    return max(0.0, middle - least) if least is not None else 0.0


def main() -> int:
    """Print the table; 1 where a bar is missed."""
    local.run = play
    sizes = TRIALS[:2] if "--quick" in sys.argv else TRIALS
    missed = 0.0
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as name:
        place = Path(name)
        fill(place / "warm", VARIANTS)  # what is imported late, and made once
        spent: dict[int, list[tuple[float, float]]] = {size: [] for size in sizes}
        for turn in range(ROUNDS):
            for size in sizes[: 1 if turn else None] + (sizes[1:2] if turn in (1, 2) else ()):
                spent[size].append(fill(place / f"{size}-{turn}", size))
        for size, times in spent.items():
            missed += told(f"driver, a trial of {size}", [1000 * each[0] for each in times], "ms", 100.0)
            told(f"  of that computed, of {size}", [1000 * each[1] for each in times], "ms")
        few, many = (median([each[0] for each in spent[size]]) for size in (sizes[0], sizes[-1]))
        missed += told(f"driver, a trial of {sizes[-1]} / of {sizes[0]}", [many / few], "", 1.1)
        stores = {size: place / f"{size}-0" for size in sizes[1:]}
        if sizes is TRIALS:
            fill(place / "1000-0", 1000)
            stores[1000] = place / "1000-0"
        seconds: dict[int, list[float]] = {size: [] for size in sorted(stores)}
        for _ in range(ROUNDS):
            for size, taken in seconds.items():
                taken.append(report(stores[size]))
        for size, taken in seconds.items():
            missed += told(f"report of {size} runs", taken, "s", 5.0 if size == 1000 else None)
        if 3000 in seconds:
            missed += told("report of 3000 / of 300", [median(seconds[3000]) / median(seconds[300])], "", 10.0)
        for size, folder in stores.items():
            through, known = zip(*(opening(folder) for _ in range(ROUNDS)), strict=True)
            told(f"looking through the store of {size} runs", list(through), "s")
            told(f"opening the store of {size} runs, known sound", list(known), "s")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
