"""The Fréchet distance against closed forms and two other implementations."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
import scipy.linalg
import scipy.spatial
import torch
from torch import Tensor

from bench.datasets import lines
from bench.measure import distances
from bench.measure.distances import (
    frechet_at_infinity,
    frechet_distance,
    gaussian_distance,
    kernel_distances,
    moments,
    nearest_by_cosine,
    nearest_distance,
    share_of_copies,
    unevenness,
)
from bench.measure.interpolation import nearest_line


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
    assert gaussian_distance(mean, covariance, other, covariance) == pytest.approx(expected, rel=1e-9)


def test_commuting_covariances_leave_the_squared_distance_of_the_deviations() -> None:
    first, second = torch.arange(1.0, 9, dtype=torch.float64), torch.arange(8.0, 0, -1, dtype=torch.float64)
    zero = torch.zeros(8, dtype=torch.float64)
    distance = gaussian_distance(zero, first.square().diag(), zero, second.square().diag())
    assert distance == pytest.approx(float((first - second).square().sum()), rel=1e-12)


def test_it_is_zero_for_one_set_and_symmetric_for_two() -> None:
    one, two = gaussian(12, 2), gaussian(12, 3)
    assert gaussian_distance(*one, *one) == pytest.approx(0, abs=1e-10)
    assert gaussian_distance(*one, *two) == pytest.approx(gaussian_distance(*two, *one), rel=1e-10)


def test_it_is_that_of_scipys_matrix_root() -> None:
    (mean1, cov1), (mean2, cov2) = gaussian(64, 4), gaussian(64, 5)
    root = scipy.linalg.sqrtm((cov1 @ cov2).numpy()).real
    expected = float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace()) - 2 * np.trace(root)
    assert gaussian_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-8)


@pytest.mark.skipif(
    "disp" not in inspect.signature(scipy.linalg.sqrtm).parameters, reason="this SciPy's sqrtm is not pytorch-fid's"
)
@pytest.mark.filterwarnings("ignore:The `disp` argument is deprecated:DeprecationWarning")
def test_it_is_pytorch_fids() -> None:
    from pytorch_fid.fid_score import calculate_frechet_distance

    (mean1, cov1), (mean2, cov2) = gaussian(64, 6), gaussian(64, 7)
    expected = calculate_frechet_distance(mean1.numpy(), cov1.numpy(), mean2.numpy(), cov2.numpy())
    assert gaussian_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-6)


def test_fewer_vectors_than_dimensions_make_singular_covariances_that_it_takes() -> None:
    generator = torch.Generator().manual_seed(8)
    one, two = torch.randn(10, 32, generator=generator), torch.randn(10, 32, generator=generator) + 1
    (mean1, cov1), (mean2, cov2) = moments(one), moments(two)
    values, vectors = torch.linalg.eigh(cov1)
    root = vectors @ values.clamp(min=0).sqrt().diag() @ vectors.T
    product = torch.linalg.eigvalsh(root @ cov2 @ root).clamp(min=0).sqrt().sum()
    expected = float((mean1 - mean2).square().sum() + cov1.trace() + cov2.trace() - 2 * product)
    assert gaussian_distance(mean1, cov1, mean2, cov2) == pytest.approx(expected, rel=1e-6)
    assert gaussian_distance(mean1, cov1, mean1, cov1) == pytest.approx(0, abs=1e-6)


def test_what_is_no_distribution_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two feature vectors"):
        moments(torch.zeros(1, 4))
    with pytest.raises(ValueError, match="must be finite"):
        moments(torch.tensor([[0.0], [float("nan")]]))
    zero, wrong = torch.zeros(2, dtype=torch.float64), -torch.eye(2, dtype=torch.float64)
    with pytest.raises(ValueError, match="negative eigenvalue -1"):
        gaussian_distance(zero, wrong, zero, wrong)


@pytest.mark.parametrize(("n", "m"), [(200, 150), (20, 150), (150, 20), (20, 25), (32, 33)])
def test_few_vectors_take_another_way_to_the_same_distance(n: int, m: int) -> None:
    """Through the features where a covariance is singular, through the covariances where none is."""
    generator = torch.Generator().manual_seed(n)
    one = torch.randn(n, 32, generator=generator)
    two = 1 + torch.randn(m, 32, generator=generator) @ torch.randn(32, 32, generator=generator)
    expected = gaussian_distance(*moments(one), *moments(two))
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-9)


def exactly(n: int, dimensions: int) -> Tensor:
    """Vectors whose own mean and covariance are a standard Gaussian's: what infinitely many would have."""
    drawn = torch.randn(n, dimensions, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    own_mean, own_covariance = moments(drawn)
    root: Tensor = torch.linalg.cholesky(own_covariance)
    white: Tensor = torch.linalg.solve_triangular(root, (drawn - own_mean).T, upper=False)
    return white.T


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (0.0, 1.5), (0.5, 1.0)])
def test_extrapolated_the_frechet_distance_of_gaussians_is_the_known_one(mean: float, deviation: float) -> None:
    """16 (m² + (s - 1)²) of 16 units, on average over draws of 400; as it stands, few vectors bias it upwards by many errors."""
    known = 16 * (mean**2 + (deviation - 1) ** 2)
    reference, generator = exactly(500, 16), torch.Generator().manual_seed(0)
    draws = [mean + deviation * torch.randn(400, 16, generator=generator) for _ in range(20)]
    plain = torch.tensor([frechet_distance(reference, draw) for draw in draws])
    found = torch.tensor([frechet_at_infinity(reference, draw, 200) for draw in draws])
    error, plain_error = (float(each.std()) / math.sqrt(len(draws)) for each in (found, plain))
    assert float(found.mean()) == pytest.approx(known, abs=3 * error)
    assert float(plain.mean()) > known + 3 * plain_error


def test_the_extrapolation_is_a_line_against_one_over_the_number(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []

    def known(features1: Tensor, features2: Tensor) -> float:
        sizes.append(len(features2))
        return 3 + 7 / len(features2)

    monkeypatch.setattr(distances, "frechet_distance", known)
    assert frechet_at_infinity(torch.zeros(9, 2), torch.zeros(750, 2), 50) == pytest.approx(3)
    assert sizes == list(range(50, 751, 50))
    with pytest.raises(ValueError, match="more than 50 feature vectors to extrapolate from, not 50"):
        frechet_at_infinity(torch.zeros(9, 2), torch.zeros(50, 2), 50)


def test_the_kernel_distance_is_the_papers_by_loops() -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(7, 3, generator=generator).double(), torch.randn(7, 3, generator=generator).double() + 1

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within = [sum(kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j) / (7 * 6) for a in (x, y)]
    between = sum(kernel(a, b) for a in x for b in y) / 49
    (found,) = kernel_distances(x, y, subsets=1, size=100)
    assert float(found) == pytest.approx(sum(within) - 2 * between, rel=1e-12)


def test_the_kernel_distance_of_samples_of_one_distribution_is_0_on_average_however_few() -> None:
    """It is unbiased; the Fréchet distance of the same samples is far above 0, and the more so the fewer they are."""
    generator = torch.Generator().manual_seed(1)
    one, two = torch.randn(4000, 16, generator=generator), torch.randn(4000, 16, generator=generator)
    found = kernel_distances(one, two, subsets=200, size=50)
    error = float(found.std()) / math.sqrt(80)  # 200 overlapping subsets hold about 80 independent ones
    assert abs(float(found.mean())) < 4 * error
    few, many = frechet_distance(one[:50], two[:50]), frechet_distance(one, two)
    assert few > 50 * many > 0
    assert torch.equal(found, kernel_distances(one, two, subsets=200, size=50))


def test_nearest_distances_are_those_of_a_second_implementation() -> None:
    rng = np.random.default_rng(1)
    queries, references = rng.normal(size=(90, 3)), rng.normal(size=(2500, 3))
    queries[7] = references[11]
    found = nearest_distance(torch.from_numpy(queries), torch.from_numpy(references))
    expected = scipy.spatial.distance.cdist(queries, references).min(axis=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-7)


def test_the_share_of_copies_is_what_was_copied() -> None:
    """Of 3000 vectors 40 % are training vectors; of the rest, which are new, one in a hundred is as near as that by chance."""
    rng = np.random.default_rng(2)
    train, held_out, new = (torch.from_numpy(rng.normal(size=(3000, 6))) for _ in range(3))
    to_train = nearest_distance(held_out, train)
    copied = torch.cat((train[:1200], new[1200:]))
    assert share_of_copies(nearest_distance(new, train), to_train) == pytest.approx(
        0.01, abs=0.008
    )  # three errors of each
    assert share_of_copies(nearest_distance(copied, train), to_train) == pytest.approx(0.4 + 0.6 * 0.01, abs=0.006)
    assert share_of_copies(nearest_distance(new + 100, train), to_train) == 0


def test_the_nearest_by_cosine_ignores_length() -> None:
    references = torch.tensor([[1.0, 0.0], [0.0, 5.0], [3.0, 3.0]])
    queries = torch.tensor([[10.0, 0.0], [1.0, 1.0], [0.0, 0.1], [1.0, math.sqrt(3)]])
    distance, index = nearest_by_cosine(queries, references)
    assert index.tolist() == [0, 2, 1, 2]
    expected = [0, 0, 0, 1 - math.cos(math.radians(60 - 45))]
    torch.testing.assert_close(distance, torch.tensor(expected, dtype=torch.float64), atol=1e-7, rtol=0)


def test_the_distance_to_the_nearest_line_is_the_authors() -> None:
    """SciPy's cosine distance of images in [-1, 1] to 10,000 lines at even angles: true lines, blends of two, and noise."""
    angles = torch.tensor([0.3, 1.7, 4.0, 6.2, 2.5, 5.5])
    true = lines.draw(angles)
    share = torch.linspace(0, 1, 5).view(-1, 1, 1, 1, 1)
    blends = torch.lerp(true[:3], true[3:], share).flatten(0, 1)
    noise = torch.rand(4, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    images = torch.cat((true, blends, noise))
    distance, angle = nearest_line(images)

    even = np.linspace(0, 2 * np.pi - 2 * np.pi / 10_000, 10_000)
    all_lines = 2 * lines.draw(torch.from_numpy(even).float()).flatten(1).double().numpy() - 1
    expected = scipy.spatial.distance.cdist(2 * images.flatten(1).double().numpy() - 1, all_lines, "cosine")
    np.testing.assert_allclose(distance, expected.min(axis=1), atol=1e-6)
    np.testing.assert_allclose(distance[:6], np.zeros(6), atol=1e-6)
    np.testing.assert_allclose(angle[:6], angles, atol=math.pi / 10_000 + 1e-6)  # half of a step between two lines
    middle = distance[12:15]  # two faint lines: as far from the one as from the other, and from any line
    assert (middle > 5e-3).all()
    assert (middle < 3e-2).all()


def test_black_is_as_far_from_a_line_as_the_line_is_large() -> None:
    """Of 1024 pixels at -1 or 1, a line of 32 differs in 32: the cosine is (1024 - 2 * 32) / 1024 by hand."""
    line = torch.zeros(1, 1, 32, 32)
    line[0, 0, 15:17, 16:] = 1
    black = torch.zeros(1, 1, 32, 32)
    distance, _ = nearest_by_cosine(black.flatten(1) * 2 - 1, line.flatten(1) * 2 - 1)
    assert distance.item() == pytest.approx(2 * 32 / 1024)
    white = 1 - black
    distance, _ = nearest_by_cosine(white.flatten(1) * 2 - 1, line.flatten(1) * 2 - 1)
    assert distance.item() == pytest.approx(1 + (1024 - 2 * 32) / 1024)


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
    assert unevenness(torch.tensor([[1.0, 2.0, 1.5, 1.0]])).isnan().all()  # its end points coincide


def test_unevenness_is_the_authors() -> None:
    """Steps of unwrapped angles over the way between the end points, the largest less an even one, by NumPy."""
    angles = np.random.default_rng(0).uniform(0, 2 * np.pi, (200, 16))
    unwrapped = np.unwrap(angles)
    steps = np.abs(np.diff(unwrapped)) / np.abs(unwrapped[:, :1] - unwrapped[:, -1:])
    np.testing.assert_allclose(unevenness(torch.from_numpy(angles)), steps.max(axis=1) - 1 / 15, rtol=1e-9)
