"""One file per generative system; the file name is the system's name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from bench import registry
from bench.contract import Model


def model_class(name: str) -> type[Model]:
    """The class of the model ``name``: the one `Model` that its file defines.

    Raises:
        RegistryError: there is no such model, its file cannot be imported, or it defines none or several.
    """
    module = registry.load("models", name)
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Model) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        words = f"{len(found)} models, {' and '.join(each.__name__ for each in found)}" if found else "no model"
        raise registry.RegistryError(
            f"{_file(name)}: defines {words}; it must define one class, as class VAE(Model, ...)"
        )
    return found[0]


def training_defaults(name: str) -> Mapping[str, Any]:
    """The training options that the model ``name`` wants where they differ from those of `TrainingOptions`.

    Raises:
        RegistryError: there is no such model, its file cannot be imported, or it says nothing of them.
    """
    module = vars(registry.load("models", name))
    if not isinstance(module.get("TRAINING"), Mapping):
        raise registry.RegistryError(f"{_file(name)}: defines no TRAINING; it must, as TRAINING: dict[str, Any] = {{}}")
    defaults: Mapping[str, Any] = module["TRAINING"]
    return defaults


def _file(name: str) -> str:
    """The file of a model, or the package that it comes with, in words."""
    component = registry.find("models", name)
    return component.origin if component.is_guest else f"bench/models/{name}.py"
