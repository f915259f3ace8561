"""Balls around feature vectors, by hand, by loops and by what they are made for."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.spatial
import scipy.stats
import torch
from torch import Tensor

from bench.contract import Unmeasurable
from bench.measure.manifolds import calibrated, expected_coverage, manifolds


def test_manifolds_of_points_on_a_line() -> None:
    """Real at 0, 1, 2, 10 with balls to the nearest other; generated at 0.5, 3, 30, with theirs.

    0.5 lies in the balls of 0 and of 1, which reach 1 far, and 3 in those of 2 and of 10, which reaches 8; 30 lies in none.
    The balls of 0.5 and of 3 reach 2.5, and hold 0, 1 and 2; that of 30 reaches 27, and holds 10.
    """
    real, generated = torch.tensor([[0.0], [1.0], [2.0], [10.0]]), torch.tensor([[0.5], [3.0], [30.0]])
    found = manifolds(real, generated, neighbours=1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == 1
    assert found.density == pytest.approx((2 + 2 + 0) / 3)
    assert found.coverage == 1


def test_manifolds_are_those_of_a_second_implementation() -> None:
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(1200, 4)), rng.normal(0.5, 0.7, size=(1100, 4))

    def reach(points: np.ndarray) -> np.ndarray:
        return np.sort(scipy.spatial.distance.cdist(points, points), axis=1)[:, 5]

    between = scipy.spatial.distance.cdist(real, generated)
    inside, recalled = between <= reach(real)[:, None], between <= reach(generated)
    found = manifolds(torch.from_numpy(real), torch.from_numpy(generated), neighbours=5)
    assert found.precision == pytest.approx(inside.any(axis=0).mean())
    assert found.recall == pytest.approx(recalled.any(axis=1).mean())
    assert found.density == pytest.approx(inside.sum() / (5 * 1100))
    assert found.coverage == pytest.approx(inside.any(axis=1).mean())


def test_clipped_density_of_points_on_a_line() -> None:
    """Real at 0, 1, 2.5, 10, whose balls reach 1, 1, 1.5, 7.5; clipped at the median, 1.25, they hold 1, 0, none and none.

    So two of four real points lie in a ball. Of the generated, 0.5 lies in two and counts once, 3 lies in one, 5 in that of the
    outlier alone, which no longer reaches it, 30 and -3 in none: two of five.
    """
    real, generated = torch.tensor([[0.0], [1.0], [2.5], [10.0]]), torch.tensor([[0.5], [3.0], [5.0], [30.0], [-3.0]])
    found = manifolds(real, generated, neighbours=1)
    assert found.clipped_density == pytest.approx((2 / 5) / (2 / 4))
    assert found.density == pytest.approx((2 + 2 + 1) / 5)  # 3 and 5 lie in the ball of the outlier


def test_clipped_measures_are_those_of_a_second_implementation() -> None:
    """Their authors' steps, by SciPy's distances and its beta-binomial distribution."""
    rng = np.random.default_rng(0)
    real, generated, k = rng.normal(size=(400, 4)), rng.normal(0.6, 1.2, size=(350, 4)), 5
    own, between = scipy.spatial.distance.cdist(real, real), scipy.spatial.distance.cdist(real, generated)
    np.fill_diagonal(own, np.inf)
    reach = np.sort(own, axis=1)[:, k - 1]
    clipped = np.minimum(reach, np.median(reach))
    density, real_density = (
        np.minimum((each <= clipped[:, None]).sum(axis=0) / k, 1).mean() for each in (between, own)
    )
    filled = np.minimum((between < reach[:, None]).sum(axis=1), k).mean() / k
    expected = []
    for m in range(351):
        held = np.arange(m + 1)
        mean = (np.minimum(held, k) * scipy.stats.betabinom.pmf(held, m, k, 400 - k)).sum() / k
        expected.append(mean if m >= k else 0)
    found = manifolds(torch.from_numpy(real), torch.from_numpy(generated), k)
    assert found.clipped_density == pytest.approx(density / real_density)
    assert found.clipped_coverage == pytest.approx(np.searchsorted(expected, filled) / 351)
    np.testing.assert_allclose(expected_coverage(400, 350, k), expected, rtol=1e-8)
    assert 0.3 < found.clipped_coverage < 1 > found.clipped_density > 0.3


@pytest.mark.parametrize("side", [0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
def test_no_rounding_takes_its_edge_from_a_ball_of_the_median_reach(side: float) -> None:
    """Two vectors reach to each other; of some distances the root's square is less."""
    pair = torch.tensor([[0, 0], [1, side]], dtype=torch.float64)
    assert manifolds(pair, pair, neighbours=1).clipped_density == 1


def test_the_expected_coverage_with_one_neighbour_has_a_closed_form() -> None:
    """A ball of 1/N of the mass on average, as Beta(1, N - 1), holds none of m with probability (N - 1) / (N - 1 + m)."""
    m = torch.arange(10_001, dtype=torch.float64)
    torch.testing.assert_close(expected_coverage(10_000, 10_000, 1), m / (9_999 + m))
    assert calibrated(0.0, expected_coverage(50, 50, 1)) == 0
    assert calibrated(1.0, expected_coverage(50, 50, 1)) == 1


def mixed(share: float, rng: np.random.Generator) -> Tensor:
    """1000 vectors of the distribution, all but ``share`` of them thrown far away."""
    vectors = rng.normal(size=(1000, 4))
    vectors[int(1000 * share) :] += 1000
    return torch.from_numpy(vectors)


def test_clipped_measures_are_the_share_of_good_vectors() -> None:
    rng = np.random.default_rng(1)
    real = torch.from_numpy(rng.normal(size=(1000, 4)))
    for share in (0.2, 0.5, 0.8):
        found = manifolds(real, mixed(share, rng))
        assert found.clipped_density == pytest.approx(share, abs=0.05)
        assert found.clipped_coverage == pytest.approx(share, abs=0.05)
        assert found.coverage > share + 0.1  # a few good ones cover much: it is not linear


def test_outliers_among_the_real_do_not_raise_the_clipped_density() -> None:
    """Ten far apart, whose balls hold nearly everything: they make all vectors precise, and denser."""
    rng = np.random.default_rng(2)
    real, generated = torch.from_numpy(rng.normal(size=(500, 4))), mixed(0.5, rng)
    outliers = torch.from_numpy(rng.normal(size=(10, 4))) * 1e6
    before, after = manifolds(real, generated), manifolds(torch.cat((real, outliers)), generated)
    assert before.clipped_density == pytest.approx(0.5, abs=0.05)
    assert after.clipped_density == pytest.approx(before.clipped_density, abs=0.02)
    assert before.precision < 0.5 < 0.9 < after.precision
    assert after.density > before.density + 0.1


def test_sets_too_small_for_their_neighbours_are_refused() -> None:
    for real, generated in ((9, 5), (5, 9), (1, 0)):
        line = f"^needs more than 5 images of each kind, not {real} held out and {generated} generated$"
        with pytest.raises(Unmeasurable, match=line):
            manifolds(torch.zeros(real, 2), torch.zeros(generated, 2), neighbours=5)
    manifolds(torch.arange(12.0).view(6, 2), torch.arange(12.0).view(6, 2), neighbours=5)
