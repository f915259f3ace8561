"""CIFAR-10: 50,000 and 10,000 small photographs of ten classes, 3x32x32.

Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009, https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torchvision

from bench.contract import ImageSpec, Split
from bench.datasets import SplitName, fetched, from_arrays

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SPEC = ImageSpec(3, 32, 32, CLASSES)
PLACE = "cifar-10-batches-py"


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, downloaded once.

    Raises:
        DataError: no network, or the files are damaged.
    """

    def read() -> Split:
        images = torchvision.datasets.CIFAR10(data_dir, train=split == "train")
        return from_arrays(images.data, np.array(images.targets))

    return fetched("cifar10", data_dir, PLACE, lambda folder: torchvision.datasets.CIFAR10(folder, download=True), read)
