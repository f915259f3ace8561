"""Imagenette: ten easy classes of ImageNet, 9,469 and 3,925 photographs, here 3x64x64.

Howard, Imagenette, 2019, https://github.com/fastai/imagenette. The shorter side is resized to 64 with antialiasing and the
centre is cut out, once; the result is kept as ``imagenette.npz``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torchvision
from numpy.typing import NDArray
from torchvision.transforms import v2

from bench.contract import ImageSpec, Split
from bench.datasets import SPLITS, SplitName, fetched, from_arrays, write_npz

CLASSES = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)
SPEC = ImageSpec(3, 64, 64, CLASSES)
PLACE = "imagenette2-160"


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, downloaded once, resized once.

    Raises:
        DataError: no network, or the files are damaged.
    """
    cache = data_dir / "imagenette.npz"

    def fetch(folder: Path) -> None:
        torchvision.datasets.Imagenette(folder, size="160px", download=True)

    def read() -> Split:
        if not cache.exists():
            arrays: dict[str, NDArray[Any]] = {"classes": np.array(CLASSES)}
            for part in SPLITS:
                arrays[f"x_{part}"], arrays[f"y_{part}"] = _resized(part, data_dir)
            write_npz(cache, arrays)
        with np.load(cache) as file:
            return from_arrays(file[f"x_{split}"], file[f"y_{split}"])

    return fetched("imagenette", data_dir, PLACE, fetch, read)


def _resized(split: SplitName, data_dir: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images ``[N, 64, 64, 3]`` and labels ``[N]``."""
    resize = v2.Compose([v2.Resize(64, antialias=True), v2.CenterCrop(64)])
    folder = torchvision.datasets.Imagenette(data_dir, split="train" if split == "train" else "val", size="160px")
    pairs = [(np.asarray(resize(image.convert("RGB"))), label) for image, label in folder]
    return np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs])
