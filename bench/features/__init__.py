"""One file per feature extractor: images to the vectors that distributions are compared in.

A file holds ``COSTLY_ON_CPU``, whether it is left alone without a GPU unless it is asked for; ``fetch(data_dir)``, which
downloads what it needs, once and before any trial; and ``load(data, cache, data_dir)``, which gives the `Extractor` for a data
set. The last two raise `bench.contract.Unmeasurable` where it cannot be had. A file may hold ``located(data_dir)`` too: a line on
where that is, or how it is had; and ``files(data_dir)``, what ``load`` reads there, for trials on machines that have no such
folder.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


class Extractor(Protocol):
    """A frozen network whose features distributions are compared in.

    Attributes:
        protocol: what a reader must know to compare the number: network, hash of its weights, resize, grey rule.
    """

    protocol: Mapping[str, str]

    def __call__(self, images: Tensor) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to features ``[B, D]``."""


@runtime_checkable
class Judges(Protocol):
    """An extractor that tells the class of an image from its features."""

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, D]`` to the logits of the classes, ``[B, K]``."""
