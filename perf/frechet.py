"""How fast the Fréchet distance of two Gaussians is without a matrix root, against SciPy's ``sqrtm``, in 2048 dimensions.

    python perf/frechet.py

Prints seconds of each, alternating in one run, their ratio, and how far the two values are apart. Exit status 1 where ours is
less than ``BAR`` times as fast.
"""

from __future__ import annotations

import sys
import time
from statistics import median

import numpy as np
import scipy.linalg
import torch
from torch import Tensor

from bench.measure.distances import frechet_distance, gaussian_distance, moments

DIMENSIONS, SAMPLES, ROUNDS, BAR = 2048, 10_000, 5, 5.0


def by_root(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """As pytorch-fid computes it."""
    root = scipy.linalg.sqrtm((covariance1 @ covariance2).numpy())
    traces = covariance1.trace() + covariance2.trace()
    return float((mean1 - mean2).square().sum() + traces - 2 * np.trace(root).real)


def main() -> int:
    """Features that are correlated, as a network's are; then so few that their covariance is singular. 1 if the bar is missed."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(DIMENSIONS, DIMENSIONS, generator=generator) / DIMENSIONS**0.5
    one = torch.randn(SAMPLES, DIMENSIONS, generator=generator) @ mixing
    two = 1.1 * torch.randn(SAMPLES, DIMENSIONS, generator=generator) @ mixing + 0.1
    both = *moments(one), *moments(two)
    ratios = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        ours = gaussian_distance(*both)
        middle = time.perf_counter()
        theirs = by_root(*both)
        ended = time.perf_counter()
        ratios.append((ended - middle) / (middle - started))
        print(f"eigenvalues {middle - started:.2f} s   sqrtm {ended - middle:.1f} s", flush=True)
    met = median(ratios) >= BAR
    print(f"median ratio {median(ratios):.1f}, at least {BAR:g}: {'met' if met else 'MISSED'}")
    print(f"{ours:.9g} and {theirs:.9g}: {abs(ours - theirs) / theirs:.1e} apart, relatively")
    few = one[:500], two[:500]
    started = time.perf_counter()
    low_rank = frechet_distance(*few)
    middle = time.perf_counter()
    full = gaussian_distance(*moments(few[0]), *moments(few[1]))
    ended = time.perf_counter()
    print(f"500 vectors: features {middle - started:.2f} s   covariances {ended - middle:.1f} s")
    print(f"{low_rank:.9g} and {full:.9g}: {abs(low_rank - full) / full:.1e} apart, relatively")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
