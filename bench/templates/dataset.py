"""Checkerboards of random phase and contrast, 1x16x16; no labels."""

from __future__ import annotations

from pathlib import Path

import torch

from bench.contract import HIDDEN, ImageSpec, Split
from bench.datasets import SplitName

SPEC = ImageSpec(1, 16, 16)


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, drawn from its own seed; ``data_dir`` is not looked at."""
    generator = torch.Generator().manual_seed(0 if split == "train" else 1)
    n = 2000 if split == "train" else 500
    phase = torch.randint(0, 2, (n, 1, 1, 1), generator=generator)
    contrast = torch.randint(100, 256, (n, 1, 1, 1), generator=generator)
    board = torch.arange(16).view(-1, 1) // 4 + torch.arange(16) // 4
    images = ((board + phase) % 2 * contrast).to(torch.uint8)
    return Split(images, torch.full((n,), HIDDEN))
