"""What a few seeds say: intervals, tests, corrections for many, what more trials would bring. Pure functions of numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

LEVEL = 0.05  # of the tests and, with its complement, of the intervals


def interval(values: Sequence[float]) -> float:
    """Half the width of the 95 % interval of a mean, by Student's t; NaN for fewer than two values."""
    n = len(values)
    if n < 2:
        return math.nan
    from scipy.special import stdtrit  # a third of a second to read, and scipy.stats most of one

    return float(stdtrit(n - 1, 1 - LEVEL / 2)) * _deviation(values) / math.sqrt(n)


def below(values: Sequence[float], bound: float = 0.0) -> float:
    """The p-value of a one-sided t-test that a mean lies below ``bound``: how often one that lies there would look so low.

    Of paired differences it is the paired t-test. Values that are all the same leave nothing to chance: 0 or 1. NaN for fewer
    than two, which test nothing.
    """
    n = len(values)
    if n < 2:
        return math.nan
    distance, error = math.fsum(values) / n - bound, _deviation(values) / math.sqrt(n)
    if error == 0:
        return 0.0 if distance < 0 else 1.0
    from scipy.special import stdtr

    return float(stdtr(n - 1, distance / error))


def above(values: Sequence[float], bound: float = 0.0) -> float:
    """The p-value of a one-sided t-test that a mean lies above ``bound``, as `below`."""
    return below([-value for value in values], -bound)


def apart(values: Sequence[float], bound: float = 0.0) -> float:
    """The p-value of a two-sided t-test that a mean is another than ``bound``, as `below`."""
    return min(1.0, 2 * min(below(values, bound), above(values, bound))) if len(values) > 1 else math.nan


def lies(contrasts: Sequence[Sequence[float]], low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """The p-values that the means of all ``contrasts`` lie between ``low`` and ``high``, and that some mean does not.

    Each contrast is as many differences as there are seeds. The first p-value is at most 5 % where the 95 % interval of every
    mean lies between the two; for one contrast, the second where its interval lies outside. So both are twice those of one-sided
    tests: of a finite ``low`` and ``high`` the first is the two one-sided tests of equivalence (Schuirmann, A Comparison of the
    Two One-Sided Tests Procedure and the Power Approach, 1987, https://doi.org/10.1007/BF01068419).

    That all of several hold needs no correction: the least certain decides (Berger, Multiparameter Hypothesis Testing and
    Acceptance Sampling, 1982, https://doi.org/10.2307/1267823, an intersection-union test). That some do not, is Bonferroni's.

    Returns:
        Both in [0, 1], or NaN where a contrast has fewer than two differences.
    """
    if any(len(values) < 2 for values in contrasts):
        return math.nan, math.nan
    inside, outside = [0.0], [1.0]
    for values in contrasts:
        if math.isfinite(low):
            inside.append(above(values, low))
            outside.append(below(values, low))
        if math.isfinite(high):
            inside.append(below(values, high))
            outside.append(above(values, high))
    return min(1.0, 2 * max(inside)), min(1.0, 2 * len(contrasts) * min(outside))


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values corrected for their number, so that all that is below 5 % is right with a probability of 95 %.

    Holm, A Simple Sequentially Rejective Multiple Test Procedure, 1979, https://www.jstor.org/stable/4615733. A NaN stands for a
    test that was not made: it stays, and does not count.
    """
    made = sorted((p, index) for index, p in enumerate(p_values) if not math.isnan(p))
    corrected = list(p_values)
    least = 0.0
    for rank, (p, index) in enumerate(made):
        least = max(least, min(1.0, p * (len(made) - rank)))
        corrected[index] = least
    return corrected


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


def _deviation(values: Sequence[float]) -> float:
    """The standard deviation of a sample."""
    mean = math.fsum(values) / len(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))
