"""MNIST: 60,000 and 10,000 handwritten digits, 1x28x28. LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist."""

from __future__ import annotations

from pathlib import Path

import torchvision

from bench.contract import ImageSpec, Split
from bench.datasets import SplitName, fetched, read_idx_split

SPEC = ImageSpec(1, 28, 28, tuple("0123456789"))
PLACE = "MNIST"


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, downloaded once.

    Raises:
        DataError: no network, or the files are damaged.
    """

    def read() -> Split:
        return read_idx_split(data_dir / PLACE / "raw", split)

    return fetched("mnist", data_dir, PLACE, lambda folder: torchvision.datasets.MNIST(folder, download=True), read)
