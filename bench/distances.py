"""Distances between sets of feature vectors, as pure functions in float64."""

from __future__ import annotations

import math

import torch
from torch import Tensor

TOLERANCE = 1e-6  # of negative eigenvalues, relative to the largest: rounding, not a wrong covariance


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Mean ``[D]`` and unbiased covariance ``[D, D]`` of features ``[N, D]``, in float64.

    Raises:
        ValueError: fewer than two vectors, or one that is not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"needs at least two feature vectors [N, D], not {list(features.shape)}")
    features = features.double()
    if not features.isfinite().all():
        raise ValueError("features must be finite")
    mean = features.mean(dim=0)
    centred = features - mean
    return mean, centred.T @ centred / (len(features) - 1)


def frechet_distance(mean1: Tensor, covariance1: Tensor, mean2: Tensor, covariance2: Tensor) -> float:
    """|m1 - m2|² + tr(S1 + S2 - 2 (S1 S2)^½), the squared 2-Wasserstein distance of two Gaussians.

    Dowson and Landau, The Fréchet distance between multivariate normal distributions, 1982; Heusel et al., GANs Trained by a
    Two Time-Scale Update Rule, 2017, equation 6. The trace of the root is the sum of the roots of the eigenvalues of LᵀS2L
    with S1 = LLᵀ, so no matrix root is taken; where S1 is singular L is its symmetric root.

    Args:
        mean1: float64 ``[D]``, as the others from `moments`.
        covariance1: float64 ``[D, D]``.
        mean2: as ``mean1``.
        covariance2: as ``covariance1``.

    Raises:
        ValueError: a covariance has an eigenvalue that is negative beyond rounding.
    """
    root, failed = torch.linalg.cholesky_ex(covariance1)
    if int(failed):
        values, vectors = torch.linalg.eigh(covariance1)
        root = vectors * _roots(values)
    product = _roots(torch.linalg.eigvalsh(root.T @ covariance2 @ root))
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * product.sum()
    return max(0.0, float(distance))


def _roots(eigenvalues: Tensor) -> Tensor:
    if eigenvalues.min() < -TOLERANCE * eigenvalues.abs().max():
        raise ValueError(f"a covariance has the negative eigenvalue {float(eigenvalues.min()):.3g}")
    return eigenvalues.clamp(min=0).sqrt()


def nearest_by_cosine(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """The cosine distance of each query ``[Q, D]`` to the nearest of ``references [R, D]``, and which it is: ``[Q]`` each."""
    unit = torch.nn.functional.normalize
    similarity, index = (unit(queries.double(), dim=1) @ unit(references.double(), dim=1).T).max(dim=1)
    return 1 - similarity, index


def line_angles(images: Tensor) -> Tensor:
    """The angles of lines from the centre of images ``[N, 1, H, W]``, in (-pi, pi]: the directions of their centres of mass."""
    height, width = images.shape[2:]
    mass = images.double().squeeze(1)
    down = (mass * (torch.arange(height, device=mass.device).view(-1, 1) - (height - 1) / 2)).sum(dim=(1, 2))
    across = (mass * (torch.arange(width, device=mass.device) - (width - 1) / 2)).sum(dim=(1, 2))
    return torch.atan2(-down, across)


def unevenness(angles: Tensor) -> Tensor:
    """How far the largest step of each path of angles ``[P, T]`` exceeds an equal one, as a share of the whole way: ``[P]``.

    0 where all steps are equal. Steps are taken the short way round; a path that ends where it began gives NaN. Berthelot et al.,
    Understanding and Improving Interpolation in Autoencoders via an Adversarial Regularizer, 2018, section 4.1: "smoothness".
    """
    steps = torch.remainder(angles.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    way = steps.sum(dim=1).abs()
    score = steps.abs().amax(dim=1) / way - 1 / steps.shape[1]
    return torch.where(way < 1e-4, torch.nan, score)
