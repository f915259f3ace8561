"""The folder is the registry: what `bench` knows by name is a file in one of its folders."""

from __future__ import annotations

import importlib
import pkgutil
from difflib import get_close_matches
from types import ModuleType

KINDS = {
    "models": "model",
    "datasets": "data set",
    "features": "feature extractor",
    "metrics": "metric",
    "executors": "executor",
    "applications": "application",
}


class UnknownName(LookupError):
    """No file of that name; the message lists those there are."""


def names(package: str) -> list[str]:
    """The names in ``bench/<package>/``, sorted; nothing is imported but the package itself."""
    folder = importlib.import_module(f"bench.{package}")
    return sorted(entry.name for entry in pkgutil.iter_modules(folder.__path__))


def load(package: str, name: str) -> ModuleType:
    """The module ``bench/<package>/<name>.py``.

    Raises:
        UnknownName: there is no such file.
    """
    known = names(package)
    if name not in known:
        raise UnknownName(unknown(KINDS[package], name, known))
    return importlib.import_module(f"bench.{package}.{name}")


def unknown(kind: str, name: str, known: list[str]) -> str:
    """The one line for a name that does not exist: the wrong one, the nearest, and all the right ones."""
    near = get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"no {kind} {name!r}{hint}; there are: {', '.join(known)}"
