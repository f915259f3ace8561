"""What numbers a setting can be, written beside its type where it is declared: ``Annotated[float, Within(above=0)]``."""

from __future__ import annotations

import math
from dataclasses import dataclass

LARGEST = 2**63 - 1  # of a whole number: what tensors and databases hold
MOST_ITEMS = 200  # of a list
LARGEST_SIDE = 1024  # pixels along a side that images may be resized to


@dataclass(frozen=True)
class Within:
    """A range of numbers, of which each end is one of it (``least``, ``most``) or not (``above``, ``below``)."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a number is one of the range; no range holds nan or an infinity."""
        return (
            is_sound(value)
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """As it goes on from ``a number``."""
        match self:
            case Within(least=least, most=most) if least is not None and most is not None:
                return f"from {least:,} to {most:,}"
            case _:
                ends = {"of at least": self.least, "above": self.above, "of at most": self.most, "below": self.below}
                return " and ".join(f"{word} {end:,}" for word, end in ends.items() if end is not None)


def is_sound(value: float) -> bool:
    """Whether a number is one to compute with: finite, and no whole number that is too large for a tensor."""
    return abs(value) <= LARGEST if isinstance(value, int) else math.isfinite(value)
