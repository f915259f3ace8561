"""The small studies that are disturbed, and the components of their own that can be told to go wrong."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STUDY = """
question = "Does it end as it would undisturbed?"
source = "none"
model = "paced"
datasets = ["{dataset}"]
seeds = 1
metrics = {metrics}
{trials}
[training]
epochs = 5
batch_size = 32
[data]
train_images = 96
test_images = 50
[evaluation]
samples = 100
[vary]
latent_dim = {latent_dim}
{confirm}
"""

# Where a component goes wrong, and how, stands in a file beside it: a run keeps the hash of the component itself.
TROUBLE = '''
import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

import torch

HOME = Path(__file__).parent.parent
seen = {}


def trouble(place):
    """Do what fault.json says for this place, when it has been come to so often."""
    seen[place] = seen.get(place, 0) + 1
    try:
        fault = json.loads((HOME / "fault.json").read_text())
    except (OSError, ValueError):
        return None
    if fault["place"] != place or seen[place] <= fault.get("skip", 0):
        return None
    if fault.get("once"):
        try:
            os.rename(HOME / "fault.json", HOME / "fault.done")
        except FileNotFoundError:
            return None
    else:
        (HOME / "fault.done").touch()
    what = fault["what"]
    if what == "raise":
        raise ValueError("on purpose\\nin two lines")
    if what == "memory":
        raise MemoryError
    if what == "gpu memory":
        raise torch.OutOfMemoryError("out of memory, on purpose")
    if what == "allocate":
        return torch.empty(2**50)
    if what == "recursion":
        return trouble_without_end()
    if what == "exit":
        sys.exit(3)
    if what == "hard exit":
        os._exit(3)
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "crash":
        ctypes.string_at(0)
    return what


def trouble_without_end():
    return trouble_without_end()
'''

MODEL = (
    '"""A linear autoencoder that takes its time, and can be told to go wrong."""\n'
    + TROUBLE
    + '''
from typing import Any, final

from bench import training
from bench.contract import Autoencodes, Generates, Model
from bench.networks.blocks import image_mlp, mlp
from bench.networks.losses import bernoulli_nll

training.train.__kwdefaults__["checkpoint_seconds"] = 0.0  # a checkpoint after every epoch
trouble("import of the model")
_replace, _fsync = Path.replace, os.fsync


def replace(file, place):
    trouble("before a file is moved to its place")
    moved = _replace(file, place)
    trouble("after a file is moved to its place")
    return moved


def fsync(opened):
    trouble("before a file is on the disk")
    _fsync(opened)


if "bench.run.driver" not in sys.modules:  # in a trial's process alone
    Path.replace, os.fsync = replace, fsync


TRAINING: dict[str, Any] = {"learning_rate": 3e-3}


@final
class Paced(Model, Generates, Autoencodes):
    """One linear layer to the code, and one back."""

    def __init__(self, spec, *, latent_dim: int = 2):
        super().__init__()
        trouble("__init__")
        self.latent_dim = latent_dim
        self.encoder = torch.nn.Sequential(torch.nn.Flatten(), *mlp([spec.pixels, latent_dim]))
        self.decoder = image_mlp(spec, [latent_dim])

    def players(self):
        trouble("players")
        return {"autoencoder": self}

    def step(self, batch, update):
        time.sleep(0.02)
        what = trouble("step" if self.training else "step in evaluation")
        loss = bernoulli_nll(self.decoder(self.encoder(batch.images)), batch.images)
        loss = loss * (float("nan") if what == "nan" else 1e38 if what == "explode" else 1.0)
        update("autoencoder", loss)
        return {"loss": loss}

    def codes(self, n):
        trouble("codes")
        return torch.randn(n, self.latent_dim, device=self.device)

    def encode(self, images, condition=None):
        trouble("encode")
        return self.encoder(images)

    def decode(self, z, condition=None):
        trouble("decode")
        return torch.sigmoid(self.decoder(z))
'''
)

METRIC = (
    '"""Mean brightness of what is generated; can be told to go wrong."""\n'
    + TROUBLE
    + """
from bench.contract import Generates
from bench.score import Score

trouble("import of the metric")
VALUES = {"brightness": "lower"}
NEEDS = Generates
EXTRACTOR = None


def measure(model, data, context):
    trouble("measure")
    return {"brightness": Score(float(context.generated.images.float().mean()), protocol={"generated": 100})}
"""
)

DATASET = (
    '"""Noise, 1x8x8; no labels; can be told to go wrong."""\n'
    + TROUBLE
    + """
from bench.contract import HIDDEN, ImageSpec, Split

trouble("import of the data set")
SPEC = ImageSpec(1, 8, 8)


def load(split, data_dir):
    trouble("load")
    n = 96 if split == "train" else 50
    images = torch.randint(0, 256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(n), dtype=torch.uint8)
    return Split(images, torch.full((n,), HIDDEN))
"""
)

FILES = ("import of the model", "import of the metric", "import of the data set")
METHODS = ("__init__", "players", "step", "step in evaluation", "codes", "encode", "decode")
WRITES = (
    "before a file is moved to its place",
    "after a file is moved to its place",
    "before a file is on the disk",
)


@dataclass(frozen=True)
class Kind:
    """One kind of study.

    Attributes:
        studies: their files' text by name.
        workers: trials at a time.
        server: whether its runs are kept by a tracking server.
    """

    studies: dict[str, str]
    workers: int
    server: bool = False

    def words(self, study: str) -> list[str]:
        """The command line that runs one of them."""
        return ["run", "study", study, "--workers", str(self.workers)]


def text(**values: Any) -> str:
    """A study file."""
    defaults = {"dataset": "noise", "trials": "", "confirm": "", "latent_dim": "[2, 3]"}
    metrics = json.dumps(values.pop("metrics", ["test_loss", "reconstruction_mse", "brightness"]))
    return STUDY.format(**{**defaults, **values, "metrics": metrics})


KINDS = {
    "grid": Kind({"one": text()}, workers=2),
    "search": Kind(
        {
            "one": text(
                trials="trials = 3", latent_dim="{ low = 2, high = 40 }", confirm="[confirm]\ntop = 1\nseeds = 1"
            )
        },
        workers=1,
    ),
    "two studies": Kind({"one": text(), "two": text(latent_dim="[3, 4]")}, workers=1),
    "own data": Kind({"one": text(dataset="own.npz", latent_dim="[2]")}, workers=1),
    "server": Kind({"one": text()}, workers=2, server=True),
    "cached": Kind(
        {"one": text(dataset="digits", metrics=["test_loss", "fd_classifier"], latent_dim="[2]")}, workers=1
    ),
}


def lay_out(folder: Path, kind: Kind, store: Path | None = None) -> None:
    """Write a project: its studies and components, and databases without a run, copied from ``store`` where there is one."""
    for name, content in (
        ("models/paced.py", MODEL),
        ("metrics/brightness.py", METRIC),
        ("datasets/noise.py", DATASET),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "studies").mkdir()
    for name, content in kind.studies.items():
        (folder / "studies" / f"{name}.toml").write_text(content)
    random = np.random.default_rng(0)
    images = {f"x_{split}": random.integers(0, 256, (n, 8, 8), np.uint8) for split, n in (("train", 96), ("test", 50))}
    np.savez(folder / "own.npz", **images)  # type: ignore[arg-type]
    (folder / "mlruns").mkdir()
    if store is not None:
        for name in ("mlflow.db", "cache"):
            if (store / name).is_dir():
                shutil.copytree(store / name, folder / "mlruns" / name)
            elif (store / name).exists():
                shutil.copy(store / name, folder / "mlruns" / name)


def tell_to_fail(folder: Path, **fault: Any) -> None:
    """Have a component go wrong: ``place``, ``what``, how often to ``skip`` it in a process, and whether ``once`` in all."""
    (folder / "fault.done").unlink(missing_ok=True)
    (folder / "fault.json").write_text(json.dumps(fault))
