"""What can go wrong with data, models and measures, for those who only tell it: torch is not read for this."""

from __future__ import annotations


class DataError(Exception):
    """A data set that cannot be had: one line that says what is wrong, where, and what would be right."""


class Unsupported(ValueError):
    """A combination that cannot work (a conditional model on unlabelled images, say), refused before training."""


class Unmeasurable(Exception):
    """A metric that cannot be taken of this model or here; the message becomes the reason beside the blank."""


class Diverged(Exception):
    """A loss term left the finite numbers; the message names the term and the epoch."""
