"""Straight lines between the codes of images, decoded: what strips, applications and the ACAI paper's measures look at."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.contract import Autoencodes, Batch, Data, Unmeasurable, condition_of
from bench.measure.distances import line_angles, nearest_by_cosine

PAIRS = 256  # of held-out lines
STEPS = 16  # of each interpolation, both ends included, as in the ACAI paper
LINES = 10_000  # training images among which the nearest line is looked for


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


def nearest_line(model: Autoencodes, data: Data) -> tuple[Tensor, Tensor]:
    """Each step of interpolations between held-out lines: its distance to the nearest training line, and that line's angle.

    Returns ``[PAIRS, STEPS]`` each: cosine distances, and radians.

    Raises:
        Unmeasurable: the data set is not ``lines``.
    """
    if data.name != "lines":
        raise Unmeasurable(f"is measured on the data set lines alone, not on {data.name}")
    ends = data.held_out.images[: 2 * PAIRS].float().div(255)
    paths = interpolations(model, Batch(ends, data.held_out.labels[: len(ends)]), STEPS)
    lines = data.train.images[:LINES]
    distance, index = nearest_by_cosine(paths.flatten(0, 1).flatten(1), lines.flatten(1).float())
    return distance.view(-1, STEPS), line_angles(lines)[index].view(-1, STEPS)
