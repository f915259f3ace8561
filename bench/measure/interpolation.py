"""Paths between codes, decoded: what strips, applications and the ACAI paper's measures look at."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from bench import registry
from bench.contract import Autoencodes, Batch, Decodes, Generates, Split, as_floats, condition_of
from bench.measure.distances import nearest_by_cosine

LINES = 10_000  # true ones, among which the nearest is looked for

Path = Literal["linear", "spherical"]


def interpolations(
    model: Autoencodes, ends: Batch, steps: int, path: Path = "linear", *, bounded: bool = True
) -> Tensor:
    """From each image of the first half of ``ends`` to its fellow in the second, in equal steps between their codes.

    Returns ``[N / 2, steps, C, H, W]`` in ``[0, 1]``, or as `Decodes.unbounded` leaves them; the first and the last are the
    reconstructions of the two. A conditional model keeps the condition of the first image all the way.
    """
    condition = condition_of(model, ends)
    return decoded_paths(model, model.encode(ends.images, condition), condition, steps, path, bounded=bounded)


def noise_interpolations(model: Generates, told: Split, steps: int, path: Path = "linear") -> Tensor:
    """From one draw of the prior to another, as many times as ``told`` has images: what a conditional model is told all the way.

    Returns ``[len(told), steps, C, H, W]`` in ``[0, 1]``; the first and the last are samples of the model.
    """
    condition = condition_of(model, Batch(as_floats(told.images), told.labels))
    return decoded_paths(model, model.codes(2 * len(told)), condition, steps, path)


def decoded_paths(
    model: Decodes,
    codes: Tensor,
    condition: Tensor | None,
    steps: int,
    path: Path = "linear",
    *,
    bounded: bool = True,
) -> Tensor:
    """From each of the first half of ``codes`` to its fellow in the second, ``[N / 2, steps, C, H, W]`` in ``[0, 1]``.

    Where they are not ``bounded`` they may leave it. The condition is that of the first half; what it holds beyond is not
    looked at.
    """
    rows = len(codes) // 2
    first, second = codes[:rows], codes[rows : 2 * rows]
    share = torch.linspace(0, 1, steps, device=codes.device).view(-1, *[1] * codes.ndim)
    between = torch.lerp(first, second, share) if path == "linear" else slerp(first, second, share)
    if condition is not None:
        condition = condition[:rows].repeat(steps, *[1] * (condition.ndim - 1))
    decode = model.decode if bounded else model.unbounded
    strips: Tensor = decode(between.flatten(0, 1), condition).unflatten(0, (steps, rows))  # step after step
    return strips.transpose(0, 1)


def slerp(first: Tensor, second: Tensor, share: Tensor) -> Tensor:
    """Along the great circle from ``first`` to ``second``, ``[N, ...]`` each, by the ``share`` of the way, which broadcasts.

    Draws of N(0, I) in many dimensions lie near a sphere, which a straight line leaves: half way it is nearer to the origin than
    almost any draw. White, Sampling Generative Networks, 2016, https://arxiv.org/abs/1609.04468. Codes of one direction, or of
    opposite ones, between which there is no such circle or more than one, are joined by the straight line.
    """
    flat = first.flatten(1), second.flatten(1)
    cosine = torch.nn.functional.cosine_similarity(*flat).clamp(-1, 1).view(-1, *[1] * (first.ndim - 1))
    angle = cosine.acos()
    sine = angle.sin()
    one_line = sine < 1e-4
    sine = sine.where(~one_line, 1)
    circle = ((1 - share) * angle).sin() / sine * first + (share * angle).sin() / sine * second
    return torch.lerp(first, second, share).where(one_line, circle)


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
