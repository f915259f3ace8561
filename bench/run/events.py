"""What a trial's process tells of it and is told, and what it leaves behind: read without waiting for torch."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench.score import Score
from bench.study.definition import Failure

if TYPE_CHECKING:
    from bench.checkpoint import Progress

CHECKPOINTS = "checkpoints"


@dataclass(frozen=True)
class Started:
    """What the trial's process says of itself before it trains."""

    parameters: int
    tags: Mapping[str, str]
    data: Mapping[str, str]


@dataclass(frozen=True)
class Epoch:
    """One epoch's progress, with its pictures where some are due: PNG by name."""

    progress: Progress
    pictures: Mapping[str, bytes]

    def measures(self, held_out: str) -> dict[str, float]:
        """Its numbers under the names they are tracked by; ``held_out`` names the split it is measured on."""
        progress = self.progress
        measures = {f"train/{name}": value for name, value in progress.train.items()}
        measures |= {f"train_eval/{name}": value for name, value in progress.train_eval.items()}
        measures |= {f"{held_out}/{name}": value for name, value in progress.held_out.items()}
        measures |= {"time/epoch_s": progress.seconds, "memory/peak_mb": progress.peak_megabytes}
        measures |= {f"energy/{name}_wh": value for name, value in progress.energy.items()}
        if progress.epoch:
            measures["time/images_per_s"] = progress.images_per_second
        return measures


@dataclass(frozen=True)
class Finished:
    """The end of a trial: a score for every metric asked for, and its files by artifact path.

    Attributes:
        applied: the applications that its model was put to; with the reason of each that made nothing, empty for the others.
    """

    scores: Mapping[str, Score]
    files: Mapping[str, bytes]
    applied: Mapping[str, str] = field(default_factory=dict)


Event = Started | Epoch | Finished | Failure


@dataclass(frozen=True)
class Asked:
    """What is to be had of a trained model: the metrics that are taken of it, the applications that it is put to."""

    metrics: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.metrics or self.applications)


@dataclass(frozen=True)
class Saved:
    """A trial that is trained already, and of which something is asked.

    Attributes:
        weights: where its ``model.safetensors`` lies.
        sha256: of that, as it was written; empty where nobody knows.
    """

    weights: Path
    sha256: str
    asked: Asked


def checkpoints(store: Path) -> list[Path]:
    """Those in a store, each under the key of its trial."""
    folder = store / CHECKPOINTS
    return list(folder.iterdir()) if folder.is_dir() else []


def forget(folder: Path) -> None:
    """Remove a checkpoint that is needed no more."""
    if folder.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
    else:
        folder.unlink(missing_ok=True)
