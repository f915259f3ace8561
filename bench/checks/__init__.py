"""What every component promises, as checks that run on anybody's: `bench check` on a guest, the test suite on the package's own.

One file per kind (``models.py``, ``metrics.py``, ...). It has ``subject(name)``, which makes what is checked, and functions
``check_<promise>(subject)`` whose first line says the promise. A check returns where the promise is kept, and raises `Broken`
with one line where it is not, or `NotPromised` where the component never made it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

Check = Callable[[Any], None]


class Broken(AssertionError):
    """A promise that is not kept: one line that says which, what was seen, and what was expected."""


class NotPromised(Exception):
    """The component does not claim to do what the check is about; the message says so."""


def expect(kept: object, broken: str) -> None:
    """Raise `Broken` with the line ``broken`` unless ``kept``."""
    if not kept:
        raise Broken(broken)


def of(kind: str) -> tuple[Callable[[str], Any], dict[str, Check]]:
    """How to make a subject of ``kind`` (``models``, ``metrics``, ...), and its checks by name, in the order of the file."""
    module: ModuleType = importlib.import_module(f"bench.checks.{kind}")
    found = {name: check for name, check in vars(module).items() if name.startswith("check_")}
    return module.subject, found
