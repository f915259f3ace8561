"""Loss terms as pure functions. Nats per image: summed over pixels or latent units, averaged over the batch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bernoulli_nll(logits: Tensor, images: Tensor) -> Tensor:
    """-log p(images | logits) under independent Bernoulli pixels; grey values in [0, 1] count as probabilities.

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix C.1, which documents 002 and 003 write as BCE.

    Args:
        logits: ``[B, ...]``, any real number.
        images: the same shape, in ``[0, 1]``.
    """
    return bernoulli_nll_each(logits, images).mean()


def bernoulli_nll_each(logits: Tensor, images: Tensor) -> Tensor:
    """`bernoulli_nll` of every image by itself, ``[B]``."""
    return F.binary_cross_entropy_with_logits(logits.float(), images, reduction="none").flatten(1).sum(1)


def bernoulli_nll_of(probabilities: Tensor, images: Tensor) -> Tensor:
    """`bernoulli_nll` of every image by itself, ``[B]``, from probabilities; a logarithm counts for -100 at the least."""
    return F.binary_cross_entropy(probabilities.float(), images, reduction="none").flatten(1).sum(1)


def squared_error(predictions: Tensor, images: Tensor) -> Tensor:
    """The squared error of ``[B, ...]``, summed over each image."""
    return squared_error_each(predictions, images).mean()


def squared_error_each(predictions: Tensor, images: Tensor) -> Tensor:
    """`squared_error` of every image by itself, ``[B]``."""
    return (predictions.float() - images.float()).square().flatten(1).sum(1)


def gaussian_kl(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) of ``[B, ...]`` codes with independent units.

    Kingma and Welling 2014, appendix B.
    """
    return gaussian_kl_each(mean, log_variance).mean()


def gaussian_kl_each(mean: Tensor, log_variance: Tensor) -> Tensor:
    """`gaussian_kl` of every code by itself, ``[B]``."""
    mean, log_variance = mean.float(), log_variance.float()
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)


def negative_elbo(logits: Tensor, images: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
    """The negative evidence bound and its two parts, by name (Kingma and Welling 2014, equation 10)."""
    reconstruction, kl = bernoulli_nll(logits, images), gaussian_kl(mean, log_variance)
    return {"loss": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}


def bce_real(logits: Tensor) -> Tensor:
    """-log C(x), averaged over the batch, of a critic's logits ``[B]`` or ``[B, 1]``."""
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def bce_fake(logits: Tensor) -> Tensor:
    """-log(1 - C(x)), averaged over the batch, of a critic's logits ``[B]`` or ``[B, 1]``."""
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))


def cross_entropy_real(logits: Tensor, labels: Tensor) -> Tensor:
    """-log C_y(x), averaged over the batch, of a (k+1)-class critic's logits ``[B, k + 1]`` and labels int64 ``[B]``."""
    return F.cross_entropy(logits.float(), labels)


def cross_entropy_fake(logits: Tensor) -> Tensor:
    """-log C_{k+1}(x), averaged over the batch: the class of generated images (document 004, section 3.2)."""
    return -F.log_softmax(logits.float(), dim=1)[:, -1].mean()
