"""A prior for what has none: the Gaussian of the codes that an encoder gives to the images that it is trained on.

Ghosh et al., From Variational to Deterministic Autoencoders, 2020, section 4, https://arxiv.org/abs/1903.12436: fitted to the
codes of a plain autoencoder, it draws images no worse than a VAE's. N(0, I) may lie where no code has ever been.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

MOMENTUM = 0.01  # of a batch, once a hundred have been seen


class FittedGaussian(nn.Module):
    """N(mean, covariance) of codes of one shape; N(0, I) until any was seen.

    It is fitted along the way, as batch normalisation's statistics are, since the codes move while the encoder learns: the
    mean of all batches at first, and then one in which the last hundred weigh most.
    """

    mean: Tensor
    covariance: Tensor
    batches: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        units = math.prod(self.shape)
        self.register_buffer("mean", torch.zeros(units))
        self.register_buffer("covariance", torch.eye(units))
        self.register_buffer("batches", torch.tensor(0))

    @torch.no_grad()
    def observe(self, codes: Tensor) -> None:
        """Take in the codes ``[B, *shape]`` of a batch; in eval mode, nothing."""
        if not self.training:
            return
        with torch.autocast(codes.device.type, enabled=False):
            flat = codes.flatten(1).float()
            share = torch.clamp(1 / (self.batches + 1), min=MOMENTUM)
            centre = flat.mean(0)
            around, moved = flat - centre, centre - self.mean
            within = around.T @ around / len(flat)
            self.covariance.lerp_(within, share).add_(share * (1 - share) * torch.outer(moved, moved))
            self.mean.add_(share * moved)
            self.batches.add_(1)

    def draw(self, n: int) -> Tensor:
        """``n`` codes, ``[n, *shape]``."""
        variances, axes = torch.linalg.eigh(self.covariance.double())
        # The symmetric root, which no choice of axes changes. Rounding leaves some variances below zero where batches were few.
        root = (axes * variances.clamp(min=0).sqrt()) @ axes.T
        noise = torch.randn(n, len(self.mean), device=self.mean.device)
        codes: Tensor = self.mean + noise @ root.float()
        return codes.view(n, *self.shape)
