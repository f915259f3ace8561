"""The contract checks of `bench.checks` as pytest runs them, over every file of a folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench import checks, registry


def promises(kind: str) -> list[tuple[str, str]]:
    """Every component that comes with the suite, with every promise of its kind."""
    if kind == "studies":
        names = sorted(file.stem for file in (Path(__file__).parent.parent / "studies").glob("*.toml"))
    else:
        names = registry.names(kind)
    return [(name, promise) for name in names for promise in checks.of(kind)[1]]


@cache
def subject(kind: str, name: str) -> Any:
    """What is checked, made once for all promises."""
    return checks.of(kind)[0](name)


def try_promise(kind: str, name: str, promise: str) -> None:
    """Fail where it is broken; skip where it was never made."""
    try:
        checks.of(kind)[1][promise](subject(kind, name))
    except checks.NotPromised as reason:
        pytest.skip(str(reason))
