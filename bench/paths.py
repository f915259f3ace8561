"""Where studies, reports, stores and data are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Where things are.

    Attributes:
        studies: study files.
        reports: one folder per study.
        store: ``mlruns``: databases, artifacts, checkpoints, caches, locks.
        data: data sets.
        tracking: an MLflow tracking URI; None for the store's own database.
        queue: an Optuna storage URL.
    """

    studies: Path
    reports: Path
    store: Path
    data: Path
    tracking: str | None
    queue: str

    @classmethod
    def find(cls, start: Path, storage: str | None = None, environment: Mapping[str, str] = os.environ) -> Paths:
        """Seen from ``start``: of the nearest folder upwards that holds ``studies/``, else of ``start`` itself."""
        root = next((folder for folder in (start, *start.parents) if (folder / "studies").is_dir()), None)
        home = (root or start).resolve()
        return cls(
            studies=home / "studies" if root else shipped(),
            reports=home / "reports",
            store=home / "mlruns",
            data=Path(environment.get("BENCH_DATA_DIR") or home / "data").resolve(),
            tracking=environment.get("MLFLOW_TRACKING_URI") or None,
            queue=storage or f"sqlite:///{home}/mlruns/optuna.db",
        )

    def study(self, name: str) -> Path:
        """The file of the study ``name``."""
        return self.studies / f"{name}.toml"


def shipped() -> Path:
    """The studies that come with the package, which serve where no folder upwards holds any."""
    beside = Path(__file__).parent.parent
    return beside / "studies" if (beside / "studies").is_dir() else beside / "bench_studies"
