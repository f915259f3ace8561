"""How many latent units say anything of the image: those whose posterior mean varies by more than 0.01 over held-out ones.

Burda et al., Importance Weighted Autoencoders, 2016, section 5.2, https://arxiv.org/abs/1509.00519.
"""

from __future__ import annotations

import torch

from bench.contract import Data, Features, Infers, condition_of, in_order

NEEDS = Infers
BETTER = "neither"
EXTRACTOR = None
VARIANCE = 0.01  # as the paper has it


def measure(model: Infers, real: Data, features: Features) -> float:
    """The number of units; the protocol says of how many."""
    batches = in_order(real.held_out)
    codes = torch.cat([model.posterior(batch.images, condition_of(model, batch))[0].flatten(1) for batch in batches])
    features.state(threshold=VARIANCE)
    return float((codes.double().var(dim=0) > VARIANCE).sum())
