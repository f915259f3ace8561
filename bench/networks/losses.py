"""Loss terms as pure functions. Nats per image: summed over pixels or latent units, averaged over the batch."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

Reconstruction = Literal["bce", "mse", "mse_linear"]
"""How an autoencoder's last values become an image, and what that image costs: see `image_of` and `pixel_errors`."""

RECONSTRUCTIONS = get_args(Reconstruction)


def bernoulli_nll(logits: Tensor, images: Tensor) -> Tensor:
    """-log p(images | logits) under independent Bernoulli pixels; grey values in [0, 1] count as probabilities.

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014, appendix C.1, which documents 002 and 003 write as BCE.

    Args:
        logits: ``[B, ...]``, any real number.
        images: the same shape, in ``[0, 1]``.
    """
    return F.binary_cross_entropy_with_logits(logits.float(), images, reduction="sum") / len(logits)


def bernoulli_nll_each(logits: Tensor, images: Tensor) -> Tensor:
    """`bernoulli_nll` of every image by itself, ``[B]``."""
    return F.binary_cross_entropy_with_logits(logits.float(), images, reduction="none").flatten(1).sum(1)


def bernoulli_nll_of(probabilities: Tensor, images: Tensor) -> Tensor:
    """`bernoulli_nll` of every image by itself, ``[B]``, from probabilities; a logarithm counts for -100 at the least.

    As torch's ``binary_cross_entropy``, in a seventh of its time on a processor, where that takes logarithms one by one.
    """
    ones = probabilities.float()
    log_ones, log_zeros = ones.log().clamp(min=-100), ones.neg().log1p().clamp(min=-100)
    return torch.lerp(log_zeros, log_ones, images).flatten(1).sum(1).neg()


def squared_error(predictions: Tensor, images: Tensor) -> Tensor:
    """The squared error of ``[B, ...]``, summed over each image."""
    return squared_error_each(predictions, images).mean()


def squared_error_each(predictions: Tensor, images: Tensor) -> Tensor:
    """`squared_error` of every image by itself, ``[B]``."""
    return (predictions.float() - images.float()).square().flatten(1).sum(1)


def image_of(values: Tensor, reconstruction: Reconstruction) -> Tensor:
    """A decoder's last values as the image that they stand for, in the range of images.

    A sigmoid keeps it in [0, 1]. With ``mse_linear`` the values are the image in [-1, 1], as the ACAI authors' are, and may
    leave it.
    """
    return (values.float() + 1) / 2 if reconstruction == "mse_linear" else values.sigmoid()


def pixel_errors(
    values: Tensor, images: Tensor, reconstruction: Reconstruction, reduction: Literal["none", "mean"] = "none"
) -> Tensor:
    """What every pixel of a decoder's last values costs, in the shape of ``images``, or the mean of it.

    ``bce`` is the Bernoulli negative log-likelihood in nats, ``mse`` the squared error in [0, 1], ``mse_linear`` that in [-1, 1].
    """
    match reconstruction:
        case "bce":
            return F.binary_cross_entropy_with_logits(values.float(), images, reduction=reduction)
        case "mse":
            return F.mse_loss(values.float().sigmoid(), images, reduction=reduction)
        case "mse_linear":
            return F.mse_loss(values.float(), images * 2 - 1, reduction=reduction)


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
