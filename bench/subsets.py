"""Which images a subset of a data set holds."""

from __future__ import annotations

import torch
from torch import Tensor

SPLIT_SEED = 0  # one division of the data for every trial, so that trials differ in their own seed alone


def balanced(labels: Tensor, n: int, seed: int = SPLIT_SEED) -> Tensor:
    """The places of ``n`` images in random order, the classes taken in turn while they last."""
    order, turn, _ = _turns(labels, seed)
    return order[turn.argsort(stable=True)[:n]]


def stratified(labels: Tensor, n: int) -> Tensor:
    """The places of ``n`` images, the same share of every class: one that is rare in what is given is rare in both parts."""
    order, turn, sizes = _turns(labels, SPLIT_SEED)
    return order[((turn + 0.5) / sizes).argsort(stable=True)[:n]]


def spaced(total: int, n: int) -> Tensor:
    """int64 ``[n]``: places in rising order out of ``total``, one from each of ``n`` parts of one length; some recur of a few.

    The split may be sorted by class, which calls for all parts of it; and the classes may take turns in it, as `balanced` leaves
    them, with which places at even distances would keep step. So each is drawn within its part, always the same one.
    """
    ends = torch.arange(n + 1) * total // max(n, 1)
    drawn = torch.rand(n, generator=torch.Generator().manual_seed(SPLIT_SEED), dtype=torch.float64)
    return ends[:-1] + (drawn * ends.diff()).long()


def _turns(labels: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """A random order, and for each place in it the image's number among those of its class, and their count.

    The order hangs on the seed alone, so that no option of a study changes what another one draws.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = labels[order]
    turn, sizes = torch.empty_like(shuffled), torch.empty_like(shuffled)
    for label in shuffled.unique():
        members = (shuffled == label).nonzero().flatten()
        turn[members] = torch.arange(len(members))
        sizes[members] = len(members)
    return order, turn, sizes
