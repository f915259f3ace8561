"""Distances between sets of feature vectors, as pure functions, in float64 unless they say otherwise."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.contract import Unmeasurable

TOLERANCE = 1e-6  # of negative eigenvalues, relative to the largest: rounding, not a wrong covariance
SUBSET = 1000  # images of each kind that a kernel distance takes at a time
SIZES = 15  # of subsets that an extrapolation rests on, as Chong and Forsyth take them
PERCENTILE = 0.01  # of held-out images are nearer to a training image than what counts as a copy
ROUNDING = 1e-3  # of a distance: what is nearer than that is the same image
REFERENCES = 1000  # vectors that the nearest is looked for among at a time
ROWS = 100  # of a matrix of distances that are held at a time: what stays in the caches


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[D]`` and unbiased covariance ``[D, D]`` of features ``[N, D]``, in float64.

    Raises:
        ValueError: fewer than two vectors, or one that is not finite.
    """
    features = checked(features).double()
    mean = features.mean(dim=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(features1: Tensor, features2: Tensor) -> float:
    """|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½) of Gaussians fitted to features ``[N, D]`` and ``[M, D]``, in float64.

    The squared 2-Wasserstein distance: Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982;
    Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017, equation 6. Where a set has no more vectors than dimensions
    its covariance is not formed: with S1 = AᵀA and S2 = BᵀB of centred features, the trace of the root is the sum of the singular
    values of ABᵀ.

    Raises:
        ValueError: fewer than two vectors, or one that is not finite.
    """
    if min(len(features1), len(features2)) > features1.shape[1]:
        return gaussian_distance(*moments(features1), *moments(features2))
    (mean1, root1), (mean2, root2) = (_mean_and_root(features) for features in (features1, features2))
    product = torch.linalg.svdvals(root1.T @ root2)
    traces = root1.square().sum() + root2.square().sum()
    return max(0.0, float((mean1 - mean2).square().sum() + traces - 2 * product.sum()))


def gaussian_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """`frechet_distance` of the Gaussians themselves.

    The trace of the root is the sum of the roots of the eigenvalues of LᵀS2L with S1 = LLᵀ, so no matrix root is taken; where S1
    is singular L is its symmetric root.

    Args:
        mean1: float64 ``[D]``, as the others from `moments`.
        covariance1: float64 ``[D, D]``.
        mean2: as ``mean1``.
        covariance2: as ``covariance1``.

    Raises:
        ValueError: a covariance has an eigenvalue that is negative beyond rounding.
    """
    root = _root(covariance1)
    product = _roots(torch.linalg.eigvalsh(root.T @ covariance2 @ root))
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * product.sum()
    return max(0.0, float(distance))


def frechet_at_infinity(features1: Tensor, features2: Tensor, least: int) -> float:
    """What `frechet_distance` of features ``[N, D]`` and ``[M, D]`` would come to with infinitely many of the second.

    Where the line meets 0 that fits the distances of random subsets of the second against one over their size: 15 sizes at even
    distances from ``least`` to all, the same subsets at every call. What the first set being finite adds remains. Chong and
    Forsyth, Effectively Unbiased FID and Inception Score and Where to Find Them, 2020, https://arxiv.org/abs/1911.07023.

    Raises:
        ValueError: fewer vectors than ``least``, or one that is not finite.
    """
    if not 2 <= least < len(features2):
        raise ValueError(f"needs more than {least} feature vectors to extrapolate from, not {len(features2)}")
    generator = torch.Generator().manual_seed(0)
    sizes = torch.linspace(least, len(features2), SIZES).long()
    orders = [torch.randperm(len(features2), generator=generator).to(features2.device) for _ in sizes]
    subsets = (features2[order[:size]] for order, size in zip(orders, sizes.tolist(), strict=True))
    distances = torch.tensor([frechet_distance(features1, subset) for subset in subsets], dtype=torch.float64)
    line = torch.stack((1 / sizes.double(), torch.ones(SIZES, dtype=torch.float64)), dim=1)
    return float(torch.linalg.lstsq(line, distances.unsqueeze(1)).solution[1])


def kernel_distances(features1: Tensor, features2: Tensor, *, subsets: int = 100, size: int = SUBSET) -> Tensor:
    """The unbiased squared maximum mean discrepancy of features ``[N, D]`` and ``[M, D]`` in random subsets: ``[subsets]``.

    With the kernel (x·y / D + 1)³: Bińkowski et al., Demystifying MMD GANs, 2018, section 4, https://arxiv.org/abs/1801.01401,
    whose KID is the mean. A subset has ``size`` vectors of each set, or all of the smaller; it is the same at every call.

    Raises:
        ValueError: fewer than two vectors, or one that is not finite.
    """
    for features in (features1, features2):
        checked(features)
    size = min(size, len(features1), len(features2))
    generator = torch.Generator().manual_seed(0)
    found = []
    for _ in range(subsets):
        x, y = (
            features[torch.randperm(len(features), generator=generator)[:size].to(features.device)].double()
            for features in (features1, features2)
        )
        within = _kernel(x, x), _kernel(y, y)
        pairs = sum((kernel.sum() - kernel.diagonal().sum()) / (size * (size - 1)) for kernel in within)
        found.append(pairs - 2 * _kernel(x, y).mean())
    return torch.stack(found)


def nearest_distance(queries: Tensor, references: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """The distance of each query ``[Q, D]`` to the nearest of ``references [R, D]``: ``[Q]``, computed in ``dtype``.

    References are taken a part at a time: they may be all pixels of a training split.
    """
    queries = queries.to(dtype)
    nearest = torch.full((len(queries),), math.inf, dtype=dtype, device=queries.device)
    for part in references.split(REFERENCES):
        nearest = torch.minimum(nearest, squared_distances(queries, part.to(dtype)).amin(dim=1))
    return nearest.sqrt()


def share_of_copies(generated: Tensor, held_out: Tensor) -> float:
    """The share of distances to the nearest training image, ``[M]``, below the first percentile of held-out images' own, ``[N]``.

    About 0.01 where generated images are to training images what new ones are.

    Raises:
        Unmeasurable: held-out images are copies themselves, as many as that.
    """
    threshold = held_out.quantile(PERCENTILE)
    if threshold <= ROUNDING * held_out.median():
        raise Unmeasurable("one in a hundred held-out images is among the training images: no distance tells a copy")
    return float((generated < threshold).double().mean())


def nearest_by_cosine(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine distance of each query ``[Q, D]`` to the nearest of ``references [R, D]``, and which it is: ``[Q]`` each."""
    unit = torch.nn.functional.normalize
    similarity, index = (unit(queries.double(), dim=1) @ unit(references.double(), dim=1).T).max(dim=1)
    return 1 - similarity, index


def unevenness(angles: Tensor) -> Tensor:
    """How far the largest step of each path of angles ``[P, T]`` exceeds an equal one, as a share of the whole way: ``[P]``.

    0 where all steps are equal. Steps are taken the short way round, and the way is what they add up to, from the first angle to
    the last; a path that ends where it began, to 1e-4, gives NaN. Berthelot et al., Understanding and Improving Interpolation in
    Autoencoders via an Adversarial Regularizer, 2018, section 4.1: "smoothness".
    """
    steps = torch.remainder(angles.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    way = steps.sum(dim=1).abs()
    score = steps.abs().amax(dim=1) / way - 1 / steps.shape[1]
    return torch.where(way < 1e-4, torch.nan, score)


def checked(features: Tensor) -> Tensor:
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"needs at least two feature vectors [N, D], not {list(features.shape)}")
    if not features.isfinite().all():
        raise ValueError("features must be finite")
    return features


def _mean_and_root(features: Tensor) -> tuple[Tensor, Tensor]:
    """The mean, and a root ``[D, K]`` of the covariance with as few columns as it takes: RRᵀ = S."""
    features = checked(features).double()
    if len(features) > features.shape[1]:
        mean, covariance = moments(features)
        return mean, _root(covariance)
    mean = features.mean(dim=0)
    return mean, (features - mean).T / math.sqrt(len(features) - 1)


def _root(covariance: Tensor) -> Tensor:
    """R with RRᵀ = S."""
    root: Tensor
    root, failed = torch.linalg.cholesky_ex(covariance)
    if int(failed):
        values, vectors = torch.linalg.eigh(covariance)
        root = vectors * _roots(values)
    return root


def _roots(eigenvalues: Tensor) -> Tensor:
    if eigenvalues.min() < -TOLERANCE * eigenvalues.abs().max():
        raise ValueError(f"a covariance has the negative eigenvalue {float(eigenvalues.min()):.3g}")
    return eigenvalues.clamp(min=0).sqrt()


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    kernel: Tensor = (x @ y.T / x.shape[1] + 1) ** 3
    return kernel


def squared_distances(queries: Tensor, references: Tensor) -> Tensor:
    """float64 ``[Q, R]``; a copy may be some 1e-13 of its squared length away from itself."""
    lengths = queries.square().sum(dim=1, keepdim=True) + references.square().sum(dim=1)
    squared: Tensor = torch.addmm(lengths, queries, references.T, alpha=-2)
    return squared.clamp_(min=0)
