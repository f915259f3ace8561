"""What a few seeds say, by textbook numbers and by enumeration."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from bench.report.significance import expected_best, interval, tied


def test_the_interval_is_students() -> None:
    """Of 1, 2, 3 the mean's standard error is 1/sqrt(3), and t at 97.5 % with two degrees of freedom 4.302653."""
    assert interval([1, 2, 3]) == pytest.approx(4.302653 / math.sqrt(3), rel=1e-6)
    assert math.isnan(interval([1.0]))
    assert interval([2.0, 2.0]) == 0


def test_the_interval_holds_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    samples = rng.normal(5, 2, size=(2000, 3))
    held = sum(abs(sample.mean() - 5) <= interval(list(sample)) for sample in samples) / 2000
    assert held == pytest.approx(0.95, abs=0.02)  # 4 standard errors


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_a_tie_is_what_scipys_paired_test_does_not_reject(shift: float) -> None:
    rng = np.random.default_rng(int(10 * shift))
    one = rng.normal(size=5)
    two = one + shift + 0.3 * rng.normal(size=5)
    assert tied(list(one - two)) == (stats.ttest_rel(one, two).pvalue >= 0.05)


def test_pairs_count_where_means_alone_would_not_tell() -> None:
    """Seeds differ by 10 and the two by 1 on each seed: paired, that is settled."""
    assert not tied([1.0, 1.01, 0.99])
    assert tied([1.0, -1.2, 0.3])
    assert tied([0.0, 0.0])
    assert not tied([1.0])  # one pair tests nothing


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_expected_best_is_the_mean_over_all_draws(k: int) -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    assert expected_best(values, k) == pytest.approx(np.mean([min(draw) for draw in combinations(values, k)]))


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="k = 3: must be 1 to 2"):
        expected_best([1.0, 2.0], 3)
