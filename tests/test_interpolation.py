"""Paths between codes, where the answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp
from torch import Tensor

from bench.measure.interpolation import Path, decoded_paths, slerp

SHARES = torch.linspace(0, 1, 5)


class Shows:
    """Decodes a code as itself, the condition beside it."""

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return (
            z if condition is None else torch.cat((z, condition.view(-1, 1, 1, 1).expand(-1, 1, *z.shape[2:])), dim=1)
        )


def along(first: Tensor, second: Tensor) -> Tensor:
    """``[5, N, D]``, on the great circle."""
    return slerp(first, second, SHARES.view(-1, 1, 1).to(first))


def test_the_great_circle_is_scipys() -> None:
    codes = torch.nn.functional.normalize(
        torch.randn(12, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    found = along(codes[:6], codes[6:])
    for row in range(6):
        expected = geometric_slerp(codes[row].numpy(), codes[6 + row].numpy(), SHARES.double().numpy())
        np.testing.assert_allclose(found[:, row].numpy(), expected, atol=1e-7)


def test_half_way_between_two_axes_is_the_diagonal() -> None:
    axes = torch.eye(2) * 3
    torch.testing.assert_close(along(axes[:1], axes[1:])[2], torch.full((1, 2), 3 / math.sqrt(2)))


def test_the_circle_keeps_the_distance_from_the_origin_and_the_line_does_not() -> None:
    """Of independent draws of N(0, I) in 1000 dimensions: nearly at right angles, so half way of the line is sqrt(1/2) as far."""
    codes = torch.randn(16, 1000, generator=torch.Generator().manual_seed(0))
    first, second = codes[:8], codes[8:]
    far = (first.norm(dim=1) + second.norm(dim=1)) / 2
    torch.testing.assert_close(along(first, second)[2].norm(dim=1) / far, torch.ones(8), atol=0.01, rtol=0)
    line = torch.lerp(first, second, 0.5).norm(dim=1)
    torch.testing.assert_close(line / far, torch.full((8,), math.sqrt(0.5)), atol=0.05, rtol=0)


@pytest.mark.parametrize("second", [[1.0, 2.0], [2.0, 4.0], [-1.0, -2.0], [0.0, 0.0]])
def test_codes_on_one_line_through_the_origin_are_finite_between(second: list[float]) -> None:
    first, other = torch.tensor([[1.0, 2.0]]), torch.tensor([second])
    found = along(first, other)
    assert found.isfinite().all()
    assert torch.equal(found[0], first)
    torch.testing.assert_close(found[-1], other)
    if any(second):
        torch.testing.assert_close(found[2], (first + other) / 2)


@pytest.mark.parametrize("path", ["linear", "spherical"])
def test_every_row_goes_from_its_own_code_to_its_fellow_under_its_own_condition(path: Path) -> None:
    codes = torch.randn(6, 1, 2, 2, generator=torch.Generator().manual_seed(1))
    rows = decoded_paths(Shows(), codes, torch.arange(6.0), 4, path)  # type: ignore[arg-type]
    assert rows.shape == (3, 4, 2, 2, 2)
    torch.testing.assert_close(rows[:, 0, :1], codes[:3])
    torch.testing.assert_close(rows[:, -1, :1], codes[3:])
    assert torch.equal(rows[:, :, 1, 0, 0], torch.arange(3.0).view(-1, 1).expand(-1, 4))
    assert torch.equal(rows, decoded_paths(Shows(), codes, torch.arange(3.0), 4, path))  # type: ignore[arg-type]


def test_the_straight_line_has_equal_steps() -> None:
    codes = torch.tensor([0.0, 3.0]).view(2, 1, 1, 1)
    assert decoded_paths(Shows(), codes, None, 4).flatten().tolist() == pytest.approx([0, 1, 2, 3])  # type: ignore[arg-type]
