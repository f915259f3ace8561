"""How an invocation ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from bench.study.definition import Failure, Trial


@dataclass
class Outcome:
    """How an invocation ended, filled in as it goes.

    Attributes:
        finished: and stored; what was trained but could not be written is finished by the next invocation.
        broken: why the study was stopped, or not all of it is stored; empty where all went well.
    """

    finished: list[Trial] = field(default_factory=list)
    failed: list[tuple[Trial, Failure]] = field(default_factory=list)
    pruned: list[Trial] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    broken: str = ""


class Stopped(Exception):
    """It is of no use to go on with the study: one line."""
