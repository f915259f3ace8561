"""Where a command was called, and what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.paths import Paths


def here() -> Path:
    """Where the command was called."""
    return Path.cwd()


def surroundings(storage: str | None = None) -> Paths:
    """Where things are, seen from here; a user's own components are known by name from then on."""
    from bench import registry
    from bench.paths import Paths

    paths = Paths.find(here(), storage)
    registry.visit(paths.guests)
    return paths


def near(path: Path) -> str:
    """A path as it is typed from here."""
    return str(path.relative_to(here())) if path.is_relative_to(here()) else str(path)
