"""What a few seeds say: intervals, ties with the best, and what more trials would bring. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy.special import stdtrit  # scipy.stats takes most of a second to read

LEVEL = 0.05  # of the tests and, with its complement, of the intervals


def interval(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of a mean, by Student's t; NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan
    mean = math.fsum(values) / n
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1))
    return float(stdtrit(n - 1, 1 - LEVEL / 2)) * deviation / math.sqrt(n)


def tied(differences: Sequence[float]) -> bool:
    """Whether paired differences leave it open which of two is better: a two-sided paired t-test at 5 %.

    Fewer than two pairs leave nothing open and nothing settled: not tied, for a mark would claim a test that was not made.
    """
    half = interval(differences)
    if math.isnan(half):
        return False
    return abs(math.fsum(differences) / len(differences)) <= half


def expected_best(values: Sequence[float], k: int) -> float:
    """The expected smallest of ``k`` of these values drawn without putting back.

    Of the n values in order, the i-th is the smallest of k in C(n - i, k - 1) of the C(n, k) draws. Dodge et al., Show Your Work:
    Improved Reporting of Experimental Results, 2019, https://arxiv.org/abs/1909.03004, draw with putting back, which is biased.

    Raises:
        ValueError: there are fewer than ``k`` values, or ``k`` is no count.
    """
    n = len(values)
    if not 1 <= k <= n:
        raise ValueError(f"k = {k}: must be 1 to {n}")
    draws = math.comb(n, k)
    return math.fsum(value * (math.comb(n - i, k - 1) / draws) for i, value in enumerate(sorted(values), start=1))
