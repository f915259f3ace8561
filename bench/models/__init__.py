"""One file per generative system; the file name is the system's name."""

from __future__ import annotations

import inspect
from types import ModuleType

from bench.contract import Model


def only_class(module: ModuleType) -> type[Model]:
    """The one ``Model`` that a file of ``models/`` defines.

    Raises:
        TypeError: the file defines none, or several.
    """
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Model) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise TypeError(f"{module.__name__} must define exactly one Model, not {len(found)}")
    return found[0]
