"""What is asked of a tracking store, whatever it is: experiments, runs, histories; a few questions for any number of runs.

`sql` answers from a SQLite file, which costs no reading of MLflow; `client` answers from wherever MLflow can.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple, Protocol

from bench.study.definition import Trial


@dataclass(frozen=True)
class Experiment:
    """One study's, or another program's.

    Attributes:
        active: not deleted; a deleted one can be restored.
    """

    experiment_id: str
    name: str
    active: bool
    tags: Mapping[str, str]


@dataclass(frozen=True)
class DataNote:
    """What a run says of the data that it was trained on; ``source`` is JSON, its ``tags`` as the run wrote them."""

    name: str
    digest: str
    source: str


@dataclass(frozen=True)
class Run:
    """One run as it stands in the store, less its histories and files.

    Attributes:
        status: as MLflow has it: ``RUNNING``, ``FINISHED``, ``FAILED``, ``KILLED`` or ``SCHEDULED``.
        started, ended: milliseconds since 1970; ``ended`` is None while it runs.
        artifacts: the address of its files.
        metrics: the last value of each, by name.
        data: None where it ended before it had any.
    """

    run_id: str
    experiment_id: str
    name: str
    status: str
    started: int
    ended: int | None
    artifacts: str
    tags: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    data: DataNote | None = None

    @cached_property
    def trial(self) -> Trial:
        """What was trained.

        Raises:
            KeyError, TypeError, ValueError: it does not say, or not so that it can be read.
        """
        return Trial.from_dict(json.loads(self.tags["trial"]))

    @cached_property
    def readable(self) -> bool:
        """Whether what it says of its trial can be read, and is what its key is of."""
        try:
            return self.trial.key == self.tags["key"]
        except (AttributeError, KeyError, TypeError, ValueError):
            return False


class Point(NamedTuple):
    """One value of a run's metric; ``moment`` is when it was taken, in milliseconds since 1970."""

    run_id: str
    name: str
    step: int
    value: float
    moment: int


class Reader(Protocol):
    """A tracking store that is read. Deleted runs are none; a store that is not there has nothing."""

    def experiments(self) -> list[Experiment]:
        """All of them, deleted ones too."""

    def runs(self, experiments: Collection[str]) -> list[Run]:
        """Those of experiments by their IDs, the newest first."""

    def finished(self, experiments: Collection[str], keys: Collection[str] | None = None) -> list[Run]:
        """Those that say of themselves that they are finished, of these trials or of all, the newest first."""

    def named(self, run_ids: Collection[str]) -> dict[str, Run]:
        """Those of these IDs that there are."""

    def histories(self, run_ids: Collection[str], names: Collection[str]) -> Iterator[Point]:
        """All values of these metrics, in the order of run IDs, names, steps, moments and values.

        Args:
            names: of metrics; one that ends in ``/`` stands for all that begin so.
        """
