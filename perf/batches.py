"""How fast batches come: whole splits on the device and index selections, against a DataLoader over the same images.

    python perf/batches.py

Prints images per second of each in one run, and their ratio; absolute figures are this machine's, the ratio travels. Exit status
1 where the stream is less than ``BAR`` times as fast.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from itertools import islice
from statistics import median

import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms.functional import to_tensor

from bench.batches import steps_per_epoch, stream
from bench.contract import Split

IMAGES, BATCH, ROUNDS, BAR = 20_480, 128, 5, 10.0  # whole batches


class Images(Dataset[tuple[torch.Tensor, int]]):
    """What a DataLoader is usually given: one PIL-like image at a time, made a float tensor on the way."""

    def __init__(self, split: Split) -> None:
        self.images = split.images.permute(0, 2, 3, 1).numpy()
        self.labels = split.labels.tolist()

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return to_tensor(self.images[index]), self.labels[index]


def images_per_second(batches: Iterable[object]) -> float:
    """One pass, timed."""
    started = time.perf_counter()
    for _ in batches:
        pass
    return IMAGES / (time.perf_counter() - started)


def main() -> int:
    """Alternate the two, so that a machine whose speed drifts does not favour one; 1 where the bar is missed."""
    torch.set_num_threads(1)  # what a trial has that shares the machine
    pixels = torch.randint(0, 256, (IMAGES, 1, 28, 28), dtype=torch.uint8)
    split = Split(pixels, torch.zeros(IMAGES, dtype=torch.int64))
    loader = DataLoader(Images(split), BATCH, shuffle=True)
    ratios = []
    for _ in range(ROUNDS):
        ours = images_per_second(
            islice(stream(split, BATCH, torch.Generator().manual_seed(0)), steps_per_epoch(IMAGES, BATCH))
        )
        theirs = images_per_second(loader)
        ratios.append(ours / theirs)
        print(f"stream {ours:>12,.0f} images/s   DataLoader {theirs:>10,.0f} images/s   ratio {ratios[-1]:.1f}")
    met = median(ratios) >= BAR
    print(f"median ratio {median(ratios):.1f}, at least {BAR:g}: {'met' if met else 'MISSED'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
