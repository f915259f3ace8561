"""The Fréchet distance against closed forms and two other implementations."""

from __future__ import annotations

import inspect
import math
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from bench.datasets import lines
from bench.distances import frechet_distance, line_angles, moments, nearest_by_cosine, unevenness


def gaussian(dimensions: int, seed: int) -> tuple[Tensor, Tensor]:
    """A mean and a covariance of full rank."""
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(dimensions, dimensions, generator=generator, dtype=torch.float64)
    return torch.randn(dimensions, generator=generator, dtype=torch.float64), root @ root.T / dimensions


def test_moments_are_numpys() -> None:
    features = torch.randn(50, 7, generator=torch.Generator().manual_seed(0))
    mean, covariance = moments(features)
    np.testing.assert_allclose(mean, features.double().numpy().mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(covariance, np.cov(features.double().numpy(), rowvar=False), rtol=1e-10)


def test_equal_covariances_leave_the_squared_distance_of_the_means() -> None:
    mean, covariance = gaussian(16, 0)
    other, _ = gaussian(16, 1)
    expected = float((mean - other).square().sum())
    assert frechet_distance(mean, covariance, other, covariance) == pytest.approx(expected, rel=1e-9)


def test_commuting_covariances_leave_the_squared_distance_of_the_deviations() -> None:
    first, second = torch.arange(1.0, 9, dtype=torch.float64), torch.arange(8.0, 0, -1, dtype=torch.float64)
    zero = torch.zeros(8, dtype=torch.float64)
    distance = frechet_distance(zero, first.square().diag(), zero, second.square().diag())
    assert distance == pytest.approx(float((first - second).square().sum()), rel=1e-12)


def test_it_is_zero_for_one_set_and_symmetric_for_two() -> None:
    one, two = gaussian(12, 2), gaussian(12, 3)
    assert frechet_distance(*one, *one) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(*one, *two) == pytest.approx(frechet_distance(*two, *one), rel=1e-10)


def test_it_is_that_of_scipys_matrix_root() -> None:
    (mean1, cov1), (mean2, cov2) = gaussian(64, 4), gaussian(64, 5)
    root = scipy.linalg.sqrtm((cov1 @ cov2).numpy()).real
    expected = float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace()) - 2 * np.trace(root)
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-8)


@pytest.mark.skipif(
    "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters, reason="this SciPy's sqrtm is not pytorch-fid's"
)
@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
def test_it_is_pytorch_fids() -> None:
    from pytorch_fid.fid_score import calculate_frechet_distance

    (mean1, cov1), (mean2, cov2) = gaussian(64, 6), gaussian(64, 7)
    expected = calculate_frechet_distance(mean1.numpy(), cov1.numpy(), mean2.numpy(), cov2.numpy())
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-6)


def test_fewer_vectors_than_dimensions_make_singular_covariances_that_it_takes() -> None:
    generator = torch.Generator().manual_seed(8)
    one, two = torch.randn(10, 32, generator=generator), torch.randn(10, 32, generator=generator) + 1
    (mean1, cov1), (mean2, cov2) = moments(one), moments(two)
    values, vectors = torch.linalg.eigh(cov1)
    root = vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T
    product = torch.linalg.eigvalsh(root @ cov2 @ root).clamp(min=0).sqrt().sum()
    expected = float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * product)
    assert frechet_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(mean1, cov1, mean1, cov1) == pytest.approx(0, abs=1e-6)


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two feature vectors"):
        moments(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="must be finite"):
        moments(torch.tensor([[0.0], [float("nan")]]))
    zero, wrong = torch.zeros(2, dtype=torch.float64), -torch.eye(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="negative eigenvalue -1"):
        frechet_distance(zero, wrong, zero, wrong)


def test_the_nearest_by_cosine_ignores_length() -> None:
    references = torch.tensor([[1.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    queries = torch.tensor([[10.0, 0.0], [1.0, 1.0], [0.0, 0.1], [1.0, math.sqrt(3)]])
    distance, index = nearest_by_cosine(queries, references)
    assert index.tolist() == [0, 2, 1, 2]
    expected = [0, 0, 0, 1 - math.cos(math.radians(60 - 45))]
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=0)


def test_the_angle_of_a_line_is_where_its_pixels_lie() -> None:
    """Half-lines from the centre of 32x32 pixels to the right, up, left and down."""
    images = torch.zeros(4, 1, 32, 32)
    images[0, 0, 15:17, 16:] = images[1, 0, :16, 15:17] = images[2, 0, 15:17, :16] = images[3, 0, 16:, 15:17] = 1
    angles = line_angles(images).abs()
    torch.testing.assert_close(angles, torch.tensor([0, 0.5, 1, 0.5], dtype=torch.float64) * math.pi)
    assert line_angles(images)[1] > 0 > line_angles(images)[3]


def test_lines_are_read_at_the_angles_they_are_drawn_at() -> None:
    images = lines.load("test", Path()).images
    angles = line_angles(images)
    assert images.float().mean() > 0
    quarters = torch.histogram(angles.float(), 4, range=(-math.pi, math.pi)).hist / len(angles)
    torch.testing.assert_close(quarters, torch.full((4,), 0.25), atol=0.03, rtol=0)  # 3 % is over 3 standard errors


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ([0.0, 0.1, 0.2, 0.3], 0),  # equal steps
        ([0.0, 0.0, 0.0, 0.9], 1 - 1 / 3),  # all in one
        ([0.0, 0.2, 0.3, 0.4], 0.5 - 1 / 3),
        ([3.1, -3.1, -3.0, -2.9], 0.1 / (2 * math.pi - 6.0) - 1 / 3),  # the short way round
    ],
)
def test_unevenness_is_the_share_of_the_largest_step_above_an_equal_one(path: list[float], expected: float) -> None:
    assert unevenness(torch.tensor([path], dtype=torch.float64)).item() == pytest.approx(expected)


def test_a_path_that_goes_nowhere_has_no_unevenness() -> None:
    assert unevenness(torch.zeros(1, 4)).isnan().all()
