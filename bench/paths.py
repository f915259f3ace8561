"""Where studies, reports, stores and data are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.text import named


@dataclass(frozen=True)
class Paths:
    """Where things are.

    Attributes:
        studies: the user's own study files, or those that come with the package where there are none.
        guests: the folder beside whose ``studies/`` a user's own models, data sets and the rest lie; None where there is none.
        reports: one folder per study.
        store: ``mlruns``: databases, artifacts, checkpoints, caches, locks.
        data: data sets.
        tracking: an MLflow tracking URI; None for the store's own database.
        queue: an Optuna storage URL.
    """

    studies: Path
    guests: Path | None
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
            guests=home if root else None,
            reports=home / "reports",
            store=home / "mlruns",
            data=Path(environment.get("BENCH_DATA_DIR") or home / "data").resolve(),
            tracking=environment.get("MLFLOW_TRACKING_URI") or None,
            queue=storage or f"sqlite:///{home}/mlruns/optuna.db",
        )

    def study(self, name: str) -> Path:
        """The file of the study ``name``: the user's own, else the one that comes with the package, else where it would be.

        Raises:
            BadName: no study can have that name.
        """
        return self.study_files().get(named("study", name), self.studies / f"{name}.toml")

    def study_files(self) -> dict[str, Path]:
        """Every study by name, sorted; a user's own takes the place of the package's. Hidden files are none."""
        files = [*shipped().glob("[!.]*.toml"), *self.studies.glob("[!.]*.toml")]
        return dict(sorted({file.stem: file for file in files}.items()))


def shipped() -> Path:
    """The studies that come with the package, which serve where no folder upwards holds any."""
    beside = Path(__file__).parent.parent
    return beside / "studies" if (beside / "studies").is_dir() else beside / "bench_studies"
