"""Straight lines between the codes of images, decoded: what strips, applications and the ACAI paper's measures look at."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench import registry
from bench.contract import Autoencodes, Batch, condition_of
from bench.measure.distances import nearest_by_cosine

LINES = 10_000  # true ones, among which the nearest is looked for


def interpolations(model: Autoencodes, ends: Batch, steps: int) -> Tensor:
    """From each image of the first half of ``ends`` to its fellow in the second, in equal steps between their codes.

    Returns ``[N / 2, steps, C, H, W]`` in ``[0, 1]``; the first and the last are the reconstructions of the two. A conditional
    model keeps the condition of the first image all the way.
    """
    rows = len(ends) // 2
    condition = condition_of(model, ends)
    codes = model.encode(ends.images, condition)
    share = torch.linspace(0, 1, steps, device=codes.device).view(-1, *[1] * codes.ndim)
    path = torch.lerp(codes[:rows], codes[rows : 2 * rows], share).flatten(0, 1)  # step after step
    if condition is not None:
        condition = condition[:rows].repeat(steps, *[1] * (condition.ndim - 1))
    strips: Tensor = model.decode(path, condition).unflatten(0, (steps, rows)).transpose(0, 1)
    return strips


def nearest_line(images: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of images ``[N, 1, 32, 32]`` in ``[0, 1]`` to the nearest of 10,000 true lines, and that line's angle.

    Returns ``[N]`` each: cosine distances of images taken to ``[-1, 1]``, where black counts as much as white, and radians in
    [0, 2 pi). As ``lib/eval.py`` of the ACAI paper's authors has it, https://github.com/brain-research/acai; on ``[0, 1]`` the
    same images are some ten times as far away.
    """
    angles = torch.arange(LINES) * (2 * math.pi / LINES)
    lines = registry.load("datasets", "lines").draw(angles).to(images.device)
    distance, index = nearest_by_cosine(images.flatten(1) * 2 - 1, lines.flatten(1) * 2 - 1)
    return distance, angles.to(images.device)[index]
