"""How two sets of feature vectors overlap, each taken for the balls that reach from its vectors to their neighbours."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.contract import Unmeasurable
from bench.measure.distances import ROWS, checked, squared_distances

NEIGHBOURS = 5  # as Naeem et al. and Salvy et al. take them


@dataclass(frozen=True)
class Manifolds:
    """What the balls of two sets say of one another.

    Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing Generative Models, 2019, equations 1 and 2,
    https://arxiv.org/abs/1904.06991; Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models, 2020,
    equations 2 and 3, https://arxiv.org/abs/2002.09797; Salvy et al., Enhanced Generative Model Evaluation with Clipped Density
    and Coverage, 2025, https://arxiv.org/abs/2507.01761, as https://github.com/nicolassalvy/ClippedDensityCoverage has them.

    Attributes:
        precision: the share of generated vectors inside some real ball.
        recall: the share of real vectors inside some generated ball.
        density: in how many real balls a generated vector lies, over the neighbours that a ball reaches to.
        coverage: the share of real balls that hold a generated vector.
        clipped_density: the density, where no ball reaches farther than the median one and no vector counts for more than 1,
            over that of the real vectors themselves; at most 1.
        clipped_coverage: the share of generated vectors which, all others being far away, would fill the real balls as far as
            they are filled, each up to as many as it has neighbours.
    """

    precision: float
    recall: float
    density: float
    coverage: float
    clipped_density: float
    clipped_coverage: float


def manifolds(real: Tensor, generated: Tensor, neighbours: int = NEIGHBOURS) -> Manifolds:
    """Compare features ``[N, D]`` and ``[M, D]``, each ball reaching to the ``neighbours``-th nearest of its own set.

    Raises:
        Unmeasurable: a set has no more vectors than ``neighbours``.
        ValueError: one is not finite.
    """
    if min(len(real), len(generated)) <= neighbours:
        raise Unmeasurable(
            f"needs more than {neighbours} images of each kind, not {len(real)} held out and {len(generated)} generated"
        )
    for features in (real, generated):
        checked(features)
    real, generated = real.double(), generated.double()
    (own, places), (generated_own, _) = (_nearest(features, neighbours) for features in (real, generated))
    reach, generated_reach = own.amax(dim=1), generated_own.amax(dim=1)
    clipped_reach = torch.minimum(reach, _median(reach))
    inside, inside_clipped, recalled = [], [], []
    nearest, filled = torch.full_like(reach, math.inf), torch.zeros_like(reach)
    for part, part_reach in zip(generated.split(ROWS), generated_reach.split(ROWS), strict=True):
        distance = squared_distances(part, real)
        inside.append((distance <= reach).sum(dim=1))
        inside_clipped.append((distance <= clipped_reach).sum(dim=1))
        recalled.append((distance <= part_reach.view(-1, 1)).any(dim=0))
        nearest = torch.minimum(nearest, distance.amin(dim=0))
        filled += (distance < reach).sum(dim=0)
    counts = torch.cat(inside).double()
    real_counts = places[own <= clipped_reach.view(-1, 1)].bincount(minlength=len(real))
    own_density = _share(real_counts, neighbours)
    coverage = _share(filled, neighbours)
    return Manifolds(
        precision=float((counts > 0).double().mean()),
        recall=float(torch.stack(recalled).any(dim=0).double().mean()),
        density=float(counts.mean() / neighbours),
        coverage=float((nearest <= reach).double().mean()),
        clipped_density=min(1.0, _share(torch.cat(inside_clipped), neighbours) / own_density),
        clipped_coverage=calibrated(coverage, expected_coverage(len(real), len(generated), neighbours)),
    )


def expected_coverage(real: int, generated: int, neighbours: int) -> Tensor:
    """How far the balls of ``real`` vectors are filled on average by 0, 1, ... ``generated`` vectors of the same distribution.

    Returns float64 ``[generated + 1]`` in [0, 1]. A ball holds a share of the distribution that is Beta(k, N - k), and so of m
    vectors a number that is beta-binomial. Fewer vectors than neighbours count as none, as in the authors' code.
    """
    k, n = neighbours, real
    m = torch.arange(k, generated + 1, dtype=torch.float64).view(-1, 1)
    held = torch.arange(k, dtype=torch.float64)  # what is not the most that counts
    ways = torch.lgamma(m + 1) - torch.lgamma(held + 1) - torch.lgamma(m - held + 1)
    masses = _log_beta(held + k, n - k + m - held) - _log_beta(*torch.tensor([k, n - k], dtype=torch.float64))
    missing = ((1 - held / k) * (ways + masses).exp()).sum(dim=1)
    return torch.cat((torch.zeros(min(k, generated + 1), dtype=torch.float64), 1 - missing))


def calibrated(coverage: float, expected: Tensor) -> float:
    """The share of vectors from which on ``expected`` is no less than ``coverage``, as the authors' code counts it."""
    return int(torch.searchsorted(expected, coverage)) / len(expected)


def _share(counts: Tensor, most: int) -> float:
    """The mean of ``counts`` over ``most``, none for more than 1."""
    return float(counts.double().div(most).clamp(max=1).mean())


def _log_beta(a: Tensor, b: Tensor) -> Tensor:
    return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)


def _median(squares: Tensor) -> Tensor:
    """The square of the median of their roots.

    Two vectors that are each other's last neighbour have one reach, and it may be the median: rounding must not fall below it,
    or both balls would lose what lies at their edge.
    """
    ordered = squares.sort().values
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return ((low.sqrt() + high.sqrt()) / 2).square().clamp(low, high)


def _nearest(features: Tensor, neighbours: int) -> tuple[Tensor, Tensor]:
    """The squared distances of every vector to its nearest others, and which they are: ``[N, neighbours]`` each."""
    found = []
    for start in range(0, len(features), ROWS):
        distance = squared_distances(features[start : start + ROWS], features)
        distance.diagonal(start).fill_(math.inf)  # the vector itself
        found.append(distance.topk(neighbours, dim=1, largest=False, sorted=False))  # 7 times as fast as kthvalue
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])
