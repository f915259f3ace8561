"""What a person waits for before anything happens: each command's time beside that of the imports it cannot do without.

    python perf/imports.py

Commands are timed in turn with their floor, in fresh processes, medians of ``ROUNDS`` with their spread; ratios travel between
machines. Beside them stands what of them the processes computed, which others on the machine touch less. Files are compiled
already, as an installed package's are. Exit status 1 where one is over its bar. Run it where nothing else runs.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

ROUNDS = 7
HEAVY = ("torch", "mlflow", "optuna", "pandas", "numpy", "scipy", "matplotlib", "rich")
CLICK, TABLES, STORES = "import click", "import pandas, matplotlib.figure", "import mlflow, optuna"
SMOKE = ("run", "study", "latent_dim", "--smoke")
BARS: Sequence[tuple[tuple[str, ...], str, float]] = (
    (("--help",), CLICK, 3.0),
    (("list",), CLICK, 3.0),
    (("show", "study", "latent_dim"), CLICK, 3.0),
    (("run", "study", "latent_dim", "--seeds", "0"), CLICK, 3.0),
    (("report", "latent_dim", "--smoke"), TABLES, 2.5),
    (SMOKE, STORES, 2.0),  # with nothing to train
)


def timed(code: str, folder: str) -> tuple[float, float]:
    """Seconds of one fresh process, waited for and computed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, env=environment)
    waited, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return waited, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def calling(words: Sequence[str]) -> str:
    """The code that gives a command, as the script `bench` does."""
    return f"import sys\nfrom bench.cli import program\nsys.argv = {['bench', *words]}\nif __name__ == '__main__':\n    program()"


def heavy(words: Sequence[str], folder: str) -> str:
    """Which of the heavy packages a command imports."""
    code = f"import atexit\natexit.register(lambda: print(*sys.modules, file=sys.stderr))\n{calling(words)}"
    output = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True).stderr
    found = {name.split(".")[0] for name in output.split()}
    return ", ".join(name for name in HEAVY if name in found) or "none"


def main() -> int:
    """Print the table; how many commands are over their bars."""
    over = 0
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as folder:
        os.symlink(Path(__file__).parents[1] / "studies", Path(folder) / "studies")
        subprocess.run([sys.executable, "-m", "bench", *SMOKE], cwd=folder, check=True, capture_output=True)
        print(
            f"{'command':<40} {'s':>6} {'spread':>12} {'floor':>6} {'ratio':>6} {'computed':>8} {'bar':>5}  heavy imports"
        )
        for words, floor, bar in BARS:
            timed(calling(words), folder)
            own, least = [], []
            for _ in range(ROUNDS):  # in turn, so that a machine whose speed drifts does not favour one
                own.append(timed(calling(words), folder))
                least.append(timed(floor, folder))
            (waited, computed), (floor_waited, floor_computed) = (
                map(median, zip(*each, strict=True)) for each in (own, least)
            )
            ratio = waited / floor_waited
            over += ratio > bar
            spread = f"{min(own)[0]:.2f}-{max(own)[0]:.2f}"
            print(
                f"{' '.join(words):<40} {waited:>6.2f} {spread:>12} {floor_waited:>6.2f} {ratio:>6.2f} "
                f"{computed / floor_computed:>8.2f} {bar:>5.1f}  {heavy(words, folder)}",
                flush=True,
            )
    return over


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
