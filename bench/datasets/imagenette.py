"""Imagenette: ten easy classes of ImageNet, 9,469 and 3,925 photographs, here 3x64x64.

Howard, Imagenette, 2019, https://github.com/fastai/imagenette. The shorter side is resized to 64 with antialiasing and the
centre is cut out, once; the result is kept as ``imagenette.npz``.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torchvision
from torchvision.transforms import v2

from bench.contract import ImageSpec, Split
from bench.datasets import SPLITS, SplitName, download, from_arrays, one_at_a_time, readable, write_npz

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
    with one_at_a_time(data_dir, PLACE):
        if not (data_dir / PLACE).exists():
            with download("imagenette", data_dir, PLACE) as folder:
                torchvision.datasets.Imagenette(folder, size="160px", download=True)
        cache = data_dir / "imagenette.npz"
        if not cache.exists():
            parts = {
                part: readable(data_dir / PLACE, "Imagenette", partial(_resize, part, data_dir)) for part in SPLITS
            }
            arrays = {f"x_{part}": whole.images.numpy().transpose(0, 2, 3, 1) for part, whole in parts.items()}
            arrays |= {f"y_{part}": whole.labels.numpy() for part, whole in parts.items()}
            write_npz(cache, {**arrays, "classes": np.array(CLASSES)})
            return parts[split]
        with np.load(cache) as file:
            return from_arrays(file[f"x_{split}"], file[f"y_{split}"])


def _resize(split: SplitName, data_dir: Path) -> Split:
    resize = v2.Compose([v2.Resize(64, antialias=True), v2.CenterCrop(64)])
    folder = torchvision.datasets.Imagenette(data_dir, split="train" if split == "train" else "val", size="160px")
    pairs = [(np.asarray(resize(image.convert("RGB"))), label) for image, label in folder]
    return from_arrays(np.stack([image for image, _ in pairs]), np.array([label for _, label in pairs]))
