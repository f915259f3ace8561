"""What a few seeds say, by textbook numbers and by enumeration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from bench.report.significance import above, apart, below, expected_best, holm, interval, lies


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
@pytest.mark.parametrize("n", [2, 3, 5])
def test_the_paired_test_is_scipys(shift: float, n: int) -> None:
    rng = np.random.default_rng(int(10 * shift) + n)
    one = rng.normal(size=n)
    two = one + shift + 0.3 * rng.normal(size=n)
    differences = list(one - two)
    assert apart(differences) == pytest.approx(stats.ttest_rel(one, two).pvalue)
    assert below(differences) == pytest.approx(stats.ttest_rel(one, two, alternative="less").pvalue)
    assert above(differences) == pytest.approx(stats.ttest_rel(one, two, alternative="greater").pvalue)
    for bound in (-1.0, 0.25):
        expected = stats.ttest_1samp(differences, bound, alternative="less").pvalue
        assert below(differences, bound) == pytest.approx(expected)
        assert below(differences, bound) + above(differences, bound) == pytest.approx(1)


def test_pairs_count_where_means_alone_would_not_tell() -> None:
    """Seeds differ by 10 and the two by 1 on each seed: paired, that is settled."""
    assert apart([1.0, 1.01, 0.99]) < 0.05
    assert apart([1.0, -1.2, 0.3]) > 0.05
    assert apart([0.0, 0.0]) == 1
    assert apart([2.0, 2.0]) == 0
    assert below([2.0, 2.0], 2.0) == above([2.0, 2.0], 2.0) == 1  # at the bound, on neither side of it


def test_one_pair_tests_nothing() -> None:
    for p in (apart([1.0]), below([1.0]), above([1.0]), apart([]), *lies([[1.0, 2.0], [1.0]], high=0)):
        assert math.isnan(p)


@pytest.mark.parametrize("seed", range(6))
def test_equivalence_is_two_one_sided_tests_and_the_interval_within_the_margin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    differences = list(rng.normal(0.3, 0.2 + 0.1 * seed, size=4))
    low, high = (
        stats.ttest_1samp(differences, bound, alternative=side).pvalue for bound, side in ((-1, "greater"), (1, "less"))
    )
    holds, fails = lies([differences], -1, 1)
    assert holds == pytest.approx(min(1, 2 * max(low, high)))
    assert fails == pytest.approx(min(1, 2 * (1 - max(low, high))))
    mean, half = np.mean(differences), interval(differences)
    assert (holds <= 0.05) == (abs(mean) + half <= 1)
    outside = lies([[value + 5 for value in differences]], -1, 1)
    assert outside[1] <= 0.05 < outside[0]


def test_where_all_must_hold_the_least_certain_decides_and_where_one_fails_its_chance_is_counted() -> None:
    steps = [[-1.0, -1.1, -0.9], [-0.5, 0.1, -0.3]]
    holds, fails = lies(steps, high=0)
    assert holds == lies(steps[1:], high=0)[0] == pytest.approx(stats.ttest_1samp(steps[1], 0).pvalue)
    assert fails == 1
    steps[1] = [0.5, 0.52, 0.55]
    assert lies(steps, high=0)[1] == pytest.approx(2 * lies(steps[1:], high=0)[1])  # of two


def share(means: Sequence[float], low: float, high: float, n: int = 3, trials: int = 4000) -> tuple[float, float]:
    """How often claims on contrasts with these true means, which share their seeds' noise, are held and refused."""
    rng = np.random.default_rng(1)
    k = len(means)
    noise = rng.normal(size=(trials, n, k + 1))
    contrasts = noise[..., 1:] - noise[..., :-1] + np.array(means)  # steps between neighbours, so correlated
    found = [lies([list(each[:, i]) for i in range(k)], low, high) for each in contrasts]
    return tuple(sum(p[side] <= 0.05 for p in found) / trials for side in (0, 1))  # type: ignore[return-value]


# 4000 draws of a share of 2.5 % have a standard error of 0.25 %, and of 5 % of 0.35 %.
@pytest.mark.parametrize(
    ("means", "low", "high", "side", "largest", "about"),
    [
        ([0.0], -math.inf, 0.0, 0, 0.035, 0.025),  # "falls", and nothing does
        ([0.0], -math.inf, 0.0, 1, 0.035, 0.025),  # and the opposite of it
        (
            [-50.0, 0.0],
            -math.inf,
            0.0,
            0,
            0.035,
            0.025,
        ),  # one step falls and the other does not: where an order errs most
        ([0.0, 0.0], -math.inf, 0.0, 0, 0.01, None),  # no step does
        ([0.0, 0.0], -math.inf, 0.0, 1, 0.05, None),  # by Bonferroni over the steps
        ([-50.0, 10.0], -math.inf, 0.0, 0, 0.001, 0.0),  # a V is no order
        ([1.0], -1.0, 1.0, 0, 0.035, None),  # equal within 1, and the truth is at the margin
        ([1.0], -1.0, 1.0, 1, 0.05, 0.025),
        ([-1.0], -math.inf, -1.0, 0, 0.035, 0.025),  # less by more than 1, and the truth is 1
    ],
)
def test_errors_are_as_rare_as_said(
    means: list[float], low: float, high: float, side: int, largest: float, about: float | None
) -> None:
    found = share(means, low, high)[side]
    assert found <= largest
    if about is not None:
        assert found == pytest.approx(about, abs=0.01)


def test_a_trend_that_turns_is_a_trend_to_a_slope_and_no_order() -> None:
    """Of 10, 0 and 5 the slope falls; the second step does not, and more seeds say so the more surely."""
    rng = np.random.default_rng(0)
    values = np.array([10.0, 0.0, 5.0]) + rng.normal(size=(10, 3))
    slopes = [stats.linregress([1, 2, 3], each).slope for each in values]
    assert stats.ttest_1samp(slopes, 0, alternative="less").pvalue < 1e-4
    steps = np.diff(values)
    holds, fails = lies([list(steps[:, 0]), list(steps[:, 1])], high=0)
    assert holds > 0.99
    assert fails < 1e-4


def test_three_seeds_on_three_levels_can_tell_an_order_beyond_any_correction() -> None:
    """Page's exact test of ranks cannot fall below 1 / 3!^3 = 0.0046 there, which twelve claims would correct to 0.056."""
    steps = [[-10.0, -10.1, -9.9], [-5.0, -5.1, -4.9]]
    assert 12 * lies(steps, high=0)[0] < 0.05


def test_holms_correction_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.01, math.nan, 0.04])[::2] == pytest.approx([0.02, 0.04])
    assert math.isnan(holm([math.nan])[0])
    assert holm([0.7, 0.6]) == [1, 1]
    assert holm([]) == []


def test_holms_correction_rejects_as_his_steps_do() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        p_values = list(rng.uniform(0, 0.1, size=5))
        rejected: set[int] = set()
        for rank, index in enumerate(np.argsort(p_values)):
            if p_values[index] > 0.05 / (5 - rank):
                break
            rejected.add(int(index))
        assert {index for index, p in enumerate(holm(p_values)) if p <= 0.05} == rejected


def test_of_six_claims_about_nothing_one_in_twenty_studies_tells_any() -> None:
    rng = np.random.default_rng(0)
    studies = 2000
    told = 0
    for _ in range(studies):
        p_values = [min(lies([list(each)], high=0)) for each in rng.normal(size=(6, 3))]
        told += min(holm(p_values)) <= 0.05
    assert told / studies == pytest.approx(0.05, abs=0.015)  # 3 standard errors; 1 - (1 - 0.05 / 6)^6 is 0.049


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_expected_best_is_the_mean_over_all_draws(k: int) -> None:
    values = [3.0, 1.0, 4.0, 1.5, 9.0]
    assert expected_best(values, k) == pytest.approx(np.mean([min(draw) for draw in combinations(values, k)]))


def test_more_than_there_are_is_refused() -> None:
    with pytest.raises(ValueError, match="k = 3: must be 1 to 2"):
        expected_best([1.0, 2.0], 3)
