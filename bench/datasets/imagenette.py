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

from bench.contract import DataError, ImageSpec, Split
from bench.datasets import SPLITS, SplitName, fetched, filling, from_arrays, read_image, write_npz

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
            with filling(data_dir, "imagenette"):
                if not cache.exists():  # another process was faster
                    write_npz(cache, _resized(data_dir))
        with cache.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            return from_arrays(file[f"x_{split}"], file[f"y_{split}"])

    return fetched("imagenette", data_dir, PLACE, fetch, read)


def _resized(data_dir: Path) -> dict[str, NDArray[Any]]:
    """What the cache holds: images ``[N, 64, 64, 3]``, labels ``[N]`` and the names of the classes."""
    resize = v2.Compose([v2.Resize(64, antialias=True), v2.CenterCrop(64)])
    arrays: dict[str, NDArray[Any]] = {"classes": np.array(CLASSES)}
    for split, part in zip(SPLITS, ("train", "val"), strict=True):
        folder = torchvision.datasets.Imagenette(
            data_dir, part, size="160px", loader=lambda file: read_image(Path(file))
        )
        # torchvision numbers the folders that it finds: without one of them the others would change their labels.
        if tuple(words[0] for words in folder.classes) != CLASSES:
            raise DataError(
                f"{data_dir / PLACE / part} must hold one folder for each of ten classes, not {len(folder.classes)} folders"
            )
        pairs = [(np.asarray(resize(image.convert("RGB"))), label) for image, label in folder]
        arrays[f"x_{split}"] = np.stack([image for image, _ in pairs])
        arrays[f"y_{split}"] = np.array([label for _, label in pairs])
    return arrays
