"""The synthetic lines of the ACAI paper: one line from the centre, 15 pixels long, at a random angle, 1x32x32; no labels.

Berthelot et al., Understanding and Improving Autoencoder Interpolation via Adversarial Regularizer, 2018, section 4,
https://arxiv.org/abs/1807.07543. The paper says 16 pixels; its code, of which its numbers are, draws 15 beside the centre's own:
https://github.com/brain-research/acai. Every angle is as likely as any other; edges are antialiased.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor

from bench.contract import HIDDEN, ImageSpec, Split
from bench.datasets import SplitName

SPEC = ImageSpec(1, 32, 32)
RADIUS = 15.0
SEEDS = {"train": 0, "test": 1}
SIZES = {"train": 50_000, "test": 10_000}


def load(split: SplitName, data_dir: Path) -> Split:
    """One split, drawn anew from its own seed; ``data_dir`` is not looked at."""
    generator = torch.Generator().manual_seed(SEEDS[split])
    angles = torch.rand(SIZES[split], generator=generator) * 2 * math.pi
    images = torch.cat([draw(part) for part in angles.split(1000)])
    return Split(images.mul(255).round().to(torch.uint8), torch.full((len(images),), HIDDEN))


def draw(angles: Tensor) -> Tensor:
    """Lines at ``angles`` ``[N]``, in radians from the right anticlockwise: float32 ``[N, 1, 32, 32]`` in ``[0, 1]``.

    A pixel's value falls from 1 to 0 as its centre goes from half to one and a half pixels away from the line.
    """
    across = torch.arange(SPEC.width) - (SPEC.width - 1) / 2
    up = -across.view(-1, 1)
    direction = torch.stack((angles.cos(), angles.sin())).view(2, -1, 1, 1)
    along = (across * direction[0] + up * direction[1]).clamp(0, RADIUS)
    distance = torch.hypot(across - along * direction[0], up - along * direction[1])
    return (1.5 - distance).clamp(0, 1).unsqueeze(1)
