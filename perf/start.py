"""How soon a study begins: from the command to its first training step, beside the import of torch, in a place without a store.

    python perf/start.py

Both in turn in fresh processes, medians of ``ROUNDS`` with their spread. Exit status 1 where the bar is missed. Run it where
nothing else runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROUNDS, BAR = 5, 2.5
COMMAND = [sys.executable, "-m", "bench", "run", "study", "latent_dim", "--smoke"]
FIRST = " epoch 0/"  # a line of the first trial, which it is looked at before its first step for


def until_first_step(folder: Path) -> float:
    """Seconds from a command to the first step of its first trial; the rest of the study is not waited for."""
    (folder / "studies").symlink_to(Path(__file__).parents[1] / "studies")
    started = time.perf_counter()
    with subprocess.Popen(COMMAND, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if FIRST in line:
                seconds = time.perf_counter() - started
                process.kill()
                process.communicate()
                return seconds
    raise SystemExit(f"no trial began in {folder}")


def torch_alone() -> float:
    """Seconds of a process that imports torch."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    return time.perf_counter() - started


def main() -> int:
    """Print both; 1 where the bar is missed."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package's files are compiled
    ours, floor = [], []
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as name:
        for turn in range(ROUNDS + 1):
            folder = Path(name) / str(turn)
            folder.mkdir()
            both = until_first_step(folder), torch_alone()
            if turn:  # the first compiles what is not compiled yet
                ours.append(both[0])
                floor.append(both[1])
    ratios = [a / b for a, b in zip(ours, floor, strict=True)]
    met = median(ratios) <= BAR
    print(f"command to first step: {median(ours):.2f} s ({min(ours):.2f}-{max(ours):.2f})")
    print(f"import torch:          {median(floor):.2f} s ({min(floor):.2f}-{max(floor):.2f})")
    print(
        f"ratio: {median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}), at most {BAR}: {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
