"""Adjectives as numbers: waves and steps whose answer is known, and the order of damages that anybody would see."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_sample_images
from torch import Tensor

from bench.contract import Unmeasurable
from bench.data import Data
from bench.measure.appearance import (
    block_excess,
    block_of,
    grid_excess,
    high_share,
    period_of,
    power,
    root_mean_square_contrast,
)


def wave(down: int, across: int, height: int = 32, width: int = 32) -> Tensor:
    """One image of a wave with so many periods along each axis: ``[1, 1, H, W]`` in [-1, 1]."""
    phase = down * torch.arange(height).view(-1, 1) / height + across * torch.arange(width) / width
    return (2 * math.pi * phase).cos().view(1, 1, height, width)


def pieces(side: int) -> Tensor:
    """400 pieces of two photographs, whose pixels are averages of 4x4: float32 ``[400, 3, side, side]`` in ``[0, 1]``."""
    found = []
    for photograph in load_sample_images().images:
        whole = F.avg_pool2d(torch.tensor(photograph).permute(2, 0, 1).float().div(255), 4)
        _, height, width = whole.shape
        rng = np.random.default_rng(0)
        places = [(rng.integers(height - side), rng.integers(width - side)) for _ in range(200)]
        found += [whole[:, top : top + side, left : left + side] for top, left in places]
    return torch.stack(found)


@pytest.fixture(scope="module", params=["digits", "photographs"])
def real(request: pytest.FixtureRequest, digits: Data) -> Tensor:
    """Real images in ``[0, 1]``, grey of 28x28 and coloured of 32x32."""
    return digits.train.images.float() / 255 if request.param == "digits" else pieces(32)


def test_a_power_is_numpys() -> None:
    images = torch.rand(700, 2, 12, 10, generator=torch.Generator().manual_seed(0))  # two chunks
    window = np.outer(np.hanning(13)[:-1], np.hanning(11)[:-1])
    centred = images.double().numpy() - images.double().numpy().mean(axis=(2, 3), keepdims=True)
    expected = (np.abs(np.fft.fft2(centred * window)) ** 2).sum(axis=(0, 1))
    np.testing.assert_allclose(power(images), expected, rtol=1e-4)


@pytest.mark.parametrize(("slow", "fast"), [((0, 3), (0, 12)), ((2, 2), (9, 9)), ((6, 0), (10, 3))])
def test_the_share_of_two_waves_is_that_of_their_squares(slow: tuple[int, int], fast: tuple[int, int]) -> None:
    """Of 32 pixels, from 8 periods on; (6, 6) would be 8.5 far along its own direction."""
    images = 3 * wave(*slow) + 2 * wave(*fast)
    assert high_share(power(images)) == pytest.approx(4 / (9 + 4), rel=1e-5)
    assert high_share(power(images * 7 + 5)) == pytest.approx(4 / 13, rel=1e-5)  # in any unit
    assert high_share(power(wave(*slow))) == pytest.approx(0, abs=1e-6)
    assert high_share(power(wave(*fast))) == pytest.approx(1)


def test_a_checkerboard_in_noise_stands_out_by_its_energy() -> None:
    """White noise has its variance times the sum of the squared window, 9/64 of all pixels, in every bin; a checkerboard has its
    square times that of the summed window, 1/4 of them squared, in one bin of the 63 that repeat every 8 pixels."""
    noise = torch.randn(4000, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    assert grid_excess(power(noise)) == pytest.approx(1, abs=0.01)
    amplitude = 0.3
    peak = 1 + amplitude**2 * (32 * 32 / 4) ** 2 / (9 / 64 * 32 * 32)
    found = grid_excess(power(noise + amplitude * wave(16, 16)))
    assert found == pytest.approx((62 + peak) / 63, rel=0.01)
    assert grid_excess(power(noise + amplitude * wave(14, 14))) < 1  # in the surroundings of one that would be


def test_the_grid_is_the_longest_that_fits() -> None:
    assert [period_of(side, side) for side in (64, 32, 28, 16, 8)] == [8, 8, 4, 4, 2]
    assert [block_of(side, side) for side in (64, 28, 8)] == [8, 4, 4]
    with pytest.raises(Unmeasurable, match="no grid of 2, 4, 8 pixels shows in 27x28"):
        period_of(27, 28)
    with pytest.raises(Unmeasurable, match="no blocks of 4 or 8 pixels fill 30x30"):
        block_of(30, 30)


def test_contrast_is_the_deviation_of_each_channel() -> None:
    image = torch.zeros(2, 2, 4, 4)
    image[0, 0, :2] = 1  # half 0 and half 1: 0.5; the other channel of it and the other image are even
    image[1] = 9
    assert root_mean_square_contrast(image) == pytest.approx(0.5 / 4)


def test_steps_across_borders_are_counted_against_those_elsewhere() -> None:
    """A slope of 1 to the pixel and 3 across the borders of blocks of 8, in both directions."""
    line = torch.ones(31)
    line[7::8] = 3
    slope = torch.cat((torch.zeros(1), line.cumsum(0)))
    image = (slope.view(-1, 1) + slope).view(1, 1, 32, 32)
    assert block_excess(image) == pytest.approx(3)
    assert block_excess(image[..., :28, :28]) == pytest.approx(2)  # of 4: every other border of theirs is one of 8


def ascending(numbers: list[float]) -> bool:
    return all(earlier < later for earlier, later in pairwise(numbers))


def test_sharpness_orders_blur_and_noise(real: Tensor) -> None:
    blurred = [F.avg_pool2d(real, size, 1, size // 2) for size in (5, 3)]
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    noised = [(real + amount * noise).clamp(0, 1) for amount in (0.03, 0.1)]
    assert ascending([high_share(power(images)) for images in (*blurred, real, *noised)])


def test_a_checkerboard_orders_by_its_strength_and_comes_of_uneven_strides(real: Tensor) -> None:
    """Odena et al., 2016: a transposed convolution whose kernel its stride does not divide overlaps itself unevenly."""
    grids = [
        real,
        *((real + amount * wave(real.shape[2] // 2, real.shape[3] // 2, *real.shape[2:])) for amount in (0.01, 0.03)),
    ]
    assert ascending([grid_excess(power(images)) for images in grids])
    channels, half = real.shape[1], F.avg_pool2d(real, 2)
    uneven, line = torch.ones(channels, 1, 3, 3) / 2.25, torch.tensor([1.0, 3, 3, 1]) / 4
    even = torch.outer(line, line).expand(channels, 1, 4, 4)
    checkered = F.conv_transpose2d(half, uneven, stride=2, padding=1, output_padding=1, groups=channels)
    smooth = F.conv_transpose2d(half, even, stride=2, padding=1, groups=channels)
    assert grid_excess(power(smooth)) < grid_excess(power(real)) < 0.2 * grid_excess(power(checkered))


def test_blockiness_orders_blocks_and_ignores_blur(real: Tensor) -> None:
    block = block_of(*real.shape[2:])
    blocks = F.interpolate(F.avg_pool2d(real, block), scale_factor=block)
    series = [block_excess(torch.lerp(real, blocks, share)) for share in (0.0, 0.3, 0.6, 0.9)]
    assert ascending(series)
    assert block_excess(F.avg_pool2d(real, 3, 1, 1)) < 1.05 * series[0]


def test_contrast_scales_with_the_image(real: Tensor) -> None:
    half = root_mean_square_contrast(0.5 * real + 0.2) / root_mean_square_contrast(real)
    assert half == pytest.approx(0.5)
