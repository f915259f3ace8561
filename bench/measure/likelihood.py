"""How likely held-out images are under a model that infers: the bounds that its posterior gives, the same for every model.

Pixels are taken for independent Bernoulli variables, a grey value for a probability, whatever the model was trained with, so that
bounds compare. Bounds are on log p(x), or on log p(x | y) for a model that is told y.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.contract import Batch, Infers, Split, condition_of, in_order
from bench.networks.blocks import reparameterised
from bench.networks.losses import bernoulli_nll_of, gaussian_kl_each


def evidence_bounds(model: Infers, split: Split) -> Tensor:
    """The evidence lower bound of every image, with one draw of its code, in nats: ``[N]``.

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014, equation 10.
    """
    found = []
    for batch in in_order(split):
        condition = condition_of(model, batch)
        mean, log_variance = model.posterior(batch.images, condition)
        decoded = model.decode(reparameterised(mean, log_variance), condition)
        found.append(-bernoulli_nll_of(decoded, batch.images) - gaussian_kl_each(mean, log_variance))
    return torch.cat(found)


def importance_weighted_bounds(model: Infers, split: Split, draws: int) -> Tensor:
    """The importance-weighted bound of every image, with so many draws of its code, in nats: float64 ``[N]``.

    Burda et al., Importance Weighted Autoencoders, 2016, equation 8. Images are taken 500 at a time and draws one after another:
    5,000 of 10,000 images take no more memory than of 500, 20 MB.
    """
    weights = (log_weights(model, batch, draws) for batch in in_order(split))
    return torch.cat([each.logsumexp(dim=0) - math.log(draws) for each in weights])


def log_weights(model: Infers, batch: Batch, draws: int) -> Tensor:
    """log p(x | z) + log p(z) - log q(z | x) of every image, for so many draws of z from q, in nats: float64 ``[draws, B]``."""
    condition = condition_of(model, batch)
    mean, log_variance = model.posterior(batch.images, condition)
    # Filled in place: rows kept one by one would lie between the large buffers of every draw, so that none of them is used again.
    weights = torch.empty(draws, len(mean), dtype=torch.float64, device=mean.device)
    for row in weights:
        z = reparameterised(mean, log_variance)
        likelihood = -bernoulli_nll_of(model.decode(z, condition), batch.images).double()
        prior = _log_normal(z, torch.zeros_like(mean), torch.zeros_like(log_variance))
        row.copy_(likelihood + prior - _log_normal(z, mean, log_variance))
    return weights


def pixels_in_words(images: Tensor) -> str:
    """What uint8 images are to a Bernoulli likelihood, which compares with other people's where they are black and white."""
    binary = bool(((images == 0) | (images == 255)).all())
    return "black and white" if binary else "grey, as probabilities"


def _log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """log N(z; mean, exp(log_variance)) of every code, ``[B]``."""
    z, mean, log_variance = z.double(), mean.double(), log_variance.double()
    squares = (z - mean).square() / log_variance.exp()
    return -0.5 * (squares + log_variance + math.log(2 * math.pi)).flatten(1).sum(1)
