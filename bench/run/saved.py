"""A trained model on disk: a run's ``trial.toml`` and ``model.safetensors``, which load without any of the stores."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from bench import __version__
from bench.contract import ImageSpec, Model
from bench.models import model_class
from bench.study.catalogue import catalogue
from bench.study.definition import Trial


def describe(trial: Trial, spec: ImageSpec) -> dict[str, Any]:
    """A trial and the images it was made for, for ``trial.toml``; what is None is left out, TOML having no word for it."""
    image = {"channels": spec.channels, "height": spec.height, "width": spec.width, "classes": list(spec.classes)}
    tables: dict[str, Any] = _without_none({**trial.as_dict(), "key": trial.key, "image": image, "bench": __version__})
    return tables


def load_trained(folder: Path | str) -> Model:
    """The trained model in a folder that holds a run's ``trial.toml`` and ``model.safetensors``, in eval mode.

    Raises:
        FileNotFoundError: one of the two is not there.
    """
    tables = tomllib.loads((Path(folder) / "trial.toml").read_text(encoding="utf-8"))
    image = tables["image"]
    spec = ImageSpec(image["channels"], image["height"], image["width"], tuple(image["classes"]))
    model = model_class(tables["model"])(spec, **tables["settings"]["params"])
    model.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return model.eval()


def read_trial(folder: Path | str) -> Trial:
    """The trial that a run's ``trial.toml`` describes.

    Raises:
        FileNotFoundError: it is not there.
    """
    tables = tomllib.loads((Path(folder) / "trial.toml").read_text(encoding="utf-8"))
    known = catalogue()
    for section, options in {**known.options, "params": known.params[tables["model"]]}.items():
        for name, option in options.items():
            if option.default is None:  # which TOML has no word for
                tables["settings"][section].setdefault(name, None)
    return Trial.from_dict({field.name: tables[field.name] for field in fields(Trial) if field.name in tables})


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return value
