"""MNIST: 60,000 and 10,000 handwritten digits, 1x28x28. LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist."""

from __future__ import annotations

from pathlib import Path

import torchvision

from bench.contract import ImageSpec, Split
from bench.datasets import SplitName, fetched, from_arrays, read_idx

SPEC = ImageSpec(1, 28, 28, tuple("0123456789"))
PLACE = "MNIST"


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, downloaded once.

    Raises:
        DataError: no network, or the files are damaged.
    """

    def read() -> Split:
        start = data_dir / PLACE / "raw" / ("train" if split == "train" else "t10k")
        images = read_idx(start.with_name(f"{start.name}-images-idx3-ubyte"), 3)
        return from_arrays(images, read_idx(start.with_name(f"{start.name}-labels-idx1-ubyte"), 1))

    return fetched("mnist", data_dir, PLACE, lambda folder: torchvision.datasets.MNIST(folder, download=True), read)
