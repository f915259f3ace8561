"""What the checks of several kinds are tried on: one system of every kind there is, digits, and a folder for what is kept."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench.batches import DataOptions, prepare
from bench.contract import Model
from bench.data import Data
from bench.datasets import open_dataset
from bench.models import model_class

TRAIN, HELD_OUT = 500, 64  # digits that measurements are tried on
MODELS: dict[str, dict[str, Any]] = {  # and how each is told what to draw
    "vae": {"hidden_dims": [8]},
    "dcgan": {},
    "cvae": {},
    "cvae left_half": {"condition": "left_half"},
    "ssl_vae": {},
    "draw": {},
}


def built(name: str, data: Data) -> Model:
    """The untrained model of `MODELS` for the images of ``data``, the same at every call."""
    torch.manual_seed(0)
    build: Callable[..., Model] = model_class(name.partition(" ")[0])
    return build(data.spec, **MODELS[name])


@cache
def digits() -> Data:
    """Digits, a few hundred."""
    source = open_dataset("digits", Path())
    few = DataOptions(train_images=TRAIN, test_images=HELD_OUT)
    return prepare("digits", source.spec, source.train, source.test, few)


@cache
def scratch() -> Path:
    """A folder of this process, removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
