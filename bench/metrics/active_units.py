"""How many latent units say anything of the image: those whose posterior mean varies by more than 0.01 over held-out ones.

Burda et al., Importance Weighted Autoencoders, 2016, section 5.2, https://arxiv.org/abs/1509.00519.
"""

from __future__ import annotations

import torch

from bench.contract import Infers, condition_of, in_order
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score

VALUES = {"active_units": "neither"}
UNITS = {"active_units": "units"}
NEEDS = Infers
EXTRACTOR = None
VARIANCE = 0.01  # as the paper has it


def measure(model: Infers, data: Data, context: Context) -> dict[str, Score]:
    """The number of units."""
    batches = in_order(data.held_out)
    codes = torch.cat([model.posterior(batch.images, condition_of(model, batch))[0].flatten(1) for batch in batches])
    active = float((codes.double().var(dim=0) > VARIANCE).sum())
    return {"active_units": Score(active, protocol={"threshold": VARIANCE})}
