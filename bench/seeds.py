"""What a trial draws, each thing from a seed of its own: two generators of one seed would give the same numbers."""

from __future__ import annotations

import hashlib
from typing import Literal

Purpose = Literal[
    "weights",  # of the untrained model
    "order",  # of the images
    "augmentation",  # what is done to training images
    "further order",  # of the batches that a critic takes beside its opponent's, and ...
    "further augmentation",  # ... what is done to them
    "noise",  # what the model draws while it trains: codes, dropout
    "labels",  # which of them are kept where others are hidden
    "binarised train",  # the same for every trial, as is ...
    "binarised held-out",
]


def derived(seed: int, purpose: Purpose) -> int:
    """A seed for one purpose: the first 63 bits of SHA-256 over the purpose and the trial's seed."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
