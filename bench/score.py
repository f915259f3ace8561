"""One measured value, as it goes from a trial's process to the tracker and on to the table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

LARGEST = 1e300  # a tracking store keeps an infinity as the largest float; what is larger than this was one

Better = Literal["lower", "higher", "neither"]

Facts = Mapping[str, str | int | float]
"""What two values must share to stand in one column: split, counts, extractor and the hash of its weights, ..."""

TRAINED = ("precision", "binarise", "threads", "weights_in")
"""The facts among them that tell how a model was trained and kept: a reader sees them, and rows may differ in them."""


@dataclass(frozen=True)
class Score:
    """One metric of one model: its value, or the reason why there is none.

    Attributes:
        value: None where it could not be measured, never 0 for that.
        reason: why not; empty where there is a value.
        protocol: what the value rests on; empty where there is none.
    """

    value: float | None
    reason: str = ""
    protocol: Facts = field(default_factory=dict)


@dataclass(frozen=True)
class Metric:
    """A value that is measured, and which way it is better.

    Attributes:
        unit: in a reader's words; empty for a number without one. A ``share`` is of 1, and may be told in percent.

    Raises:
        ValueError: ``better`` is no direction.
    """

    name: str
    better: Better
    unit: str = ""

    def __post_init__(self) -> None:
        if self.better not in get_args(Better):
            raise ValueError(f"{self.name} = {self.better!r}: must be one of {', '.join(map(repr, get_args(Better)))}")

    @property
    def directed(self) -> bool:
        """Whether more or less of it is better at all, so that there is a best one."""
        return self.better != "neither"

    @property
    def sign(self) -> int:
        """1, or -1 where higher is better: times its sign, the least value is the best."""
        return -1 if self.better == "higher" else 1

    @property
    def arrow(self) -> str:
        """The better direction in a table's heading."""
        return {"lower": "↓", "higher": "↑", "neither": ""}[self.better]
