"""The UCI handwritten digits that ship inside scikit-learn: 1,797 real 8x8 images, resized to 1x28x28. Offline, and the default.

Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0). They lie
beside this file, since every process would take more than a second to read scikit-learn. Four fifths of every class are for
training, by a fixed seed: 1,433 images, and 364 for testing.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from bench.contract import ImageSpec, Split
from bench.datasets import SplitName

FILE = Path(__file__).with_suffix(".npz")  # images uint8 [1797, 8, 8] in 0..16, labels uint8 [1797]
SPEC = ImageSpec(1, 28, 28, tuple("0123456789"))
TEST_SHARE = 5  # every fifth image of a class, in random order, is for testing


def load(split: SplitName, data_dir: Path) -> Split:
    """One split; ``data_dir`` is not looked at."""
    with np.load(FILE) as digits:
        images, labels = (torch.from_numpy(digits[name]) for name in ("images", "labels"))
    images, labels = images.float().div(16).unsqueeze(1), labels.long()
    images = F.interpolate(images, size=(28, 28), mode="bicubic", align_corners=False).clamp(0, 1)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    place = torch.empty_like(labels)  # of each image among those of its class, in random order
    for label in range(10):
        members = order[labels[order] == label]
        place[members] = torch.arange(len(members))
    testing = place % TEST_SHARE == 0
    chosen = testing if split == "test" else ~testing
    return Split(images.mul(255).round().to(torch.uint8), labels).take(order[chosen[order]])
