"""A benchmark suite for small image generators: studies of VAEs, GANs and what lies between, tracked and compared.

From Python, each of the functions of `bench.api` is at hand under its own name, read when it is first used::

    import bench

    summary = bench.run("latent_dim", datasets=["mnist"], seeds=3)  # a pandas.DataFrame
    runs = bench.table("latent_dim")
    model = bench.load(runs["run"].iloc[0])
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api import datasets, load, metrics, models, report, run, studies, table

__version__ = "0.1.0"
__all__ = ["datasets", "load", "metrics", "models", "report", "run", "studies", "table"]

_ROOMS = {"datasets", "metrics", "models", "report", "run"}  # folders of the package that have a function's name


class _Room(ModuleType):
    """A folder of the package that can be called: `bench.models()` lists what `bench.models.vae` is one of."""

    def __call__(self, *args: Any, **options: Any) -> Any:
        """The function of this name in `bench.api`."""
        function = getattr(importlib.import_module("bench.api"), self.__name__.rpartition(".")[2])
        return function(*args, **options)


class _Package(ModuleType):
    """Importing `bench.models.vae` lays the folder `bench.models` over the function of that name: so folders take calls."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _ROOMS and type(value) is ModuleType:
            value.__class__ = _Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"bench.{name}")
    if name in __all__:
        return getattr(importlib.import_module("bench.api"), name)
    raise AttributeError(f"module 'bench' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
