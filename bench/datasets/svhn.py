"""SVHN: 73,257 and 26,032 house-number digits cropped from photographs, 3x32x32.

Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning, 2011, http://ufldl.stanford.edu/housenumbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torchvision

from bench.contract import ImageSpec, Split
from bench.datasets import SPLITS, SplitName, fetched, from_arrays

SPEC = ImageSpec(3, 32, 32, tuple("0123456789"))
PLACE = "SVHN"


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, downloaded once.

    Raises:
        DataError: no network, or the files are damaged.
    """

    def read() -> Split:
        images = torchvision.datasets.SVHN(data_dir / PLACE, split=split)
        return from_arrays(images.data.transpose(0, 2, 3, 1), np.array(images.labels))

    def fetch(folder: Path) -> None:
        for part in SPLITS:
            torchvision.datasets.SVHN(folder / PLACE, split=part, download=True)

    return fetched("svhn", data_dir, PLACE, fetch, read)
