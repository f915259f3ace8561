"""A prior for what has none: the Gaussian of the codes that an encoder gives to the images that it is trained on.

Ghosh et al., From Variational to Deterministic Autoencoders, 2020, section 4, https://arxiv.org/abs/1903.12436: fitted to the
codes of a plain autoencoder, it draws images no worse than a VAE's. N(0, I) may lie where no code has ever been.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

MOST = 1024  # units that are taken together; of more, whose covariance has millions of numbers, each by itself


class FittedGaussian(nn.Module):
    """N(mean, covariance) of codes of one shape; N(0, I) until it is fitted.

    Attributes:
        mean: of every unit, ``[Z]``.
        root: the symmetric root of the covariance, ``[Z, Z]``; of more than `MOST` units their standard deviations, ``[Z]``.
    """

    mean: Tensor
    root: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        units = math.prod(self.shape)
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("root", torch.eye(units) if units <= MOST else torch.ones(units))

    @torch.no_grad()
    def fit(self, codes: Iterable[Tensor]) -> None:
        """Take the moments of all codes, ``[B, *shape]`` each."""
        together = self.root.ndim == 2
        count, first, second = 0, self.mean.double().zero_(), self.root.double().zero_()
        for each in codes:
            flat = each.flatten(1).double()
            count += len(flat)
            first += flat.sum(0)
            second += flat.T @ flat if together else flat.square().sum(0)
        mean = first / count
        if together:
            variances, axes = torch.linalg.eigh(second / count - torch.outer(mean, mean))
            # The symmetric root, which no choice of axes changes. Rounding leaves some variances below zero.
            root = (axes * variances.clamp(min=0).sqrt()) @ axes.T
        else:
            root = (second / count - mean.square()).clamp(min=0).sqrt()
        self.mean.copy_(mean)
        self.root.copy_(root)

    def draw(self, n: int) -> Tensor:
        """``n`` codes, ``[n, *shape]``."""
        noise = torch.randn(n, len(self.mean), device=self.mean.device)
        codes = self.mean + (noise @ self.root if self.root.ndim == 2 else noise * self.root)
        return codes.view(n, *self.shape)
