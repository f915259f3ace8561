"""Before `bench ui` serves: what MLflow's UI is to show is written where it reads it, for runs of earlier versions too."""

from __future__ import annotations

from bench.errors import Unsupported
from bench.paths import Paths
from bench.registry import RegistryError
from bench.results import present
from bench.study.catalogue import Catalogue
from bench.study.definition import Study, StudyError
from bench.study.file import load
from bench.text import BadName
from bench.tracking.store import Store


def make_ready(paths: Paths, known: Catalogue, store: Store) -> None:
    """Save the views of a tracked study, and say of it what its runs tell."""
    present(written(paths, known, store.study), known, store)


def written(paths: Paths, known: Catalogue, name: str) -> Study | None:
    """A tracked study as its file says it now; None where there is no such file, or none that can be read."""
    stem = name.removesuffix("_smoke")
    try:
        return load(paths.study(stem), known, smoke=stem != name)
    except (StudyError, RegistryError, BadName, Unsupported):
        return None
