"""The contract checks of `bench.checks` as pytest runs them, over every file of a folder."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bench import checks, registry

# The systems of the source documents, whatever else there is.
SYSTEMS = [
    "acai",
    "adversarial_vae",
    "ae",
    "conv_vae",
    "cvae",
    "cvae_gan",
    "dcgan",
    "draw",
    "draw_gan",
    "gan",
    "ssl_vae",
    "ssl_vae_gan",
    "vae",
    "vae_gan",
    "wgan",
]


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
