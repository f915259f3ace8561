"""Fashion-MNIST: 60,000 and 10,000 pictures of clothes, 1x28x28. Xiao, Rasul and Vollgraf, 2017, https://arxiv.org/abs/1708.07747."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import torchvision

from bench.contract import ImageSpec, Split
from bench.datasets import SplitName, fetched, read_idx_split

SPEC = ImageSpec(
    1,
    28,
    28,
    ("T-shirt", "trousers", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
)
PLACE = "FashionMNIST"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # where the package dataset-fashion-mnist puts it: no download


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, downloaded once, or taken from Debian's package.

    Raises:
        DataError: neither package nor network, or the files are damaged.
    """
    return fetched("fashion_mnist", data_dir, PLACE, _fetch, lambda: read_idx_split(data_dir / PLACE / "raw", split))


def _fetch(folder: Path) -> None:
    packed = sorted(DEBIAN.glob("*-ubyte.gz"))
    if not packed:
        torchvision.datasets.FashionMNIST(folder, download=True)
        return
    raw = folder / PLACE / "raw"
    raw.mkdir(parents=True)
    for file in packed:
        with gzip.open(file) as source, (raw / file.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
