"""Studies, variants and trials: a question written down as data, and the frozen pieces of work it comes apart into."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.errors import StudyError as StudyError
from bench.score import Metric
from bench.study.claims import Claim
from bench.study.naming import initials, nickname, short
from bench.study.types import flat, merged, plain
from bench.text import line

if TYPE_CHECKING:
    from bench.study.catalogue import Catalogue

SECTIONS = ("params", "training", "data", "evaluation")
"""The tables of settings that decide a trial's result; every setting's name is unique over all four."""

SINGLE = "trials"  # the study in which single trials are tracked
FULL = "full"
"""The size of a study as it is written."""

VALIDATION_SHARE = 0.1  # of the training images, held out by a search whose [data] names no share of its own

LONGEST_TRIAL = 8000  # characters of one as JSON, which is a tag in MLflow: a longer one would be cut

Settings = Mapping[str, Mapping[str, Any]]  # section -> setting -> value
Cell = Mapping[str, Any]  # setting -> value, one point of the grid


@dataclass(frozen=True)
class Range:
    """An open range that a search draws from, uniformly or uniformly in the logarithm; whole numbers if both ends are."""

    low: float
    high: float
    log: bool = False

    @property
    def integer(self) -> bool:
        """Whether only whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def __contains__(self, value: Any) -> bool:
        """Whether ``value`` may be drawn."""
        return isinstance(value, int if self.integer else int | float) and self.low <= value <= self.high


@dataclass(frozen=True)
class Trial:
    """One training: frozen, complete, and found again by its key in every store.

    Attributes:
        variant: the name of the configuration being compared.
        varied: the settings in which the study's variants differ, for the run's name.
        settings: every setting by section, defaults written out.
        fingerprint: of the data set's content where the data set is a path; empty otherwise.
    """

    variant: str
    model: str
    dataset: str
    seed: int
    settings: Settings
    varied: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: str = ""

    @property
    def key(self) -> str:
        """Hash of all that decides the result, and of nothing else: names and the order of settings do not matter."""
        import hashlib

        decisive = {
            "model": self.model,
            "dataset": self.fingerprint or self.dataset,
            "seed": self.seed,
            "settings": {section: dict(self.settings[section]) for section in SECTIONS},
        }
        return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def configuration(self) -> str:
        """Hash of all that decides the result but the seed: trials that share it are replicates."""
        return replace(self, seed=-1).key

    @property
    def held_out(self) -> str:
        """The split it is measured on."""
        return "validation" if self.settings["data"].get("validation") else "test"

    @property
    def name(self) -> str:
        """A short name, zero-padded so that names sort (``ld=010 s2 mnist``); a reader is told `bench.tracking.words.title`."""
        own = self.variant.split("=")[0].rpartition(" ")[0] if self.varied else self.variant
        values = [f"{initials(name)}={short(value)}" for name, value in self.varied.items()]
        return " ".join(filter(None, (own, *values, f"s{self.seed}", nickname(self.dataset))))

    def as_dict(self) -> dict[str, Any]:
        """The whole trial in plain types, for a tag or a file; `from_dict` reads it back."""
        return {
            "variant": self.variant,
            "model": self.model,
            "dataset": self.dataset,
            "seed": self.seed,
            "settings": {section: dict(values) for section, values in self.settings.items()},
            "varied": dict(self.varied),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Trial:
        """The trial that `as_dict` wrote down."""
        return cls(**values)


@dataclass(frozen=True)
class Failure:
    """Why a trial ended without its scores.

    Attributes:
        kind: the class: ``diverged``, ``out of memory``, ``killed``, ``timed out``, ``bad configuration``, ``data``,
            ``disk full`` or ``error``.
        reason: one line.
        details: the traceback, where there is one.
    """

    kind: str
    reason: str
    details: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reason", line(self.reason))

    @property
    def retriable(self) -> bool:
        """Whether the same trial can end otherwise a second time: what the machine did to it, not what it did itself."""
        return self.kind in ("killed", "out of memory")


@dataclass(frozen=True)
class Variant:
    """One named configuration being compared: a row that the study names itself, before its grid is laid over it.

    Attributes:
        datasets: those it is meant for; empty for all.
    """

    name: str
    model: str
    datasets: tuple[str, ...]
    settings: Settings


@dataclass(frozen=True)
class Size:
    """A study at another size than its source's, by the machine that is there.

    Attributes:
        reason: why it is that large.
        seeds: in place of the study's; None for as many.
        on: settings on single data sets; they win over a variant's. Data sets that are not among them stay as they are.
        vary: values in place of the study's own.
    """

    reason: str
    seeds: int | None
    on: Mapping[str, Settings]
    vary: Mapping[str, tuple[Any, ...] | Range]


@dataclass(frozen=True)
class Confirm:
    """How a search's proposals are confirmed on the test split: the best ``top``, each over ``seeds`` seeds."""

    top: int
    seeds: int


@dataclass(frozen=True)
class Study:
    """A question, with the models, data sets, varied settings, seeds and metrics that answer it.

    Attributes:
        source: where the question comes from and what was reported there.
        meant_for: the data sets that it was written for, in its order.
        datasets: those that are meant now: the first of them, or what was asked for.
        metrics: what is measured, each with its better direction; the first is the objective.
        on: settings that hold on one data set only.
        vary: lists make a grid; a `Range` anywhere makes a search, in which lists are choices. One player's own option is called
            ``critic.learning_rate``.
        claims: what the source says, in a form that the report judges; they decide nothing of a trial.
        trials: how many configurations a search tries in all; 0 for a grid.
        overrides: settings given for this invocation (a smoke run, ``--set``); they win over everything.
        pictures: epochs after which pictures are drawn too, beside those after which every run draws some; rising. They are no
            settings: what a trial comes to does not hang on when it was looked at, so they decide nothing of its key.
        applications: what every trained model is put to, for the report to show, each with a line on what it makes; no settings
            either.
        sizes: other sizes than its source's that it can be run at, by name.
        size: the one that is meant now; `FULL` for the study as it is written.
    """

    name: str
    question: str
    source: str
    meant_for: tuple[str, ...]
    datasets: tuple[str, ...]
    seeds: int
    metrics: tuple[Metric, ...]
    variants: tuple[Variant, ...]
    settings: Settings
    on: Mapping[str, Settings]
    vary: Mapping[str, tuple[Any, ...] | Range]
    overrides: Settings
    trials: int = 0
    prune: bool = True
    confirm: Confirm | None = None
    claims: tuple[Claim, ...] = ()
    pictures: tuple[int, ...] = ()
    applications: Mapping[str, str] = field(default_factory=dict)
    sizes: Mapping[str, Size] = field(default_factory=dict)
    size: str = FULL

    @property
    def objective(self) -> Metric:
        """What a search looks for the best of, and what a table leads with."""
        return self.metrics[0]

    @property
    def is_search(self) -> bool:
        """Whether configurations are proposed by a sampler rather than enumerated."""
        return any(isinstance(values, Range) for values in self.vary.values())

    @property
    def count(self) -> int:
        """How many trials it comes to at the most, counted without making them."""
        each = math.prod(len(values) for values in self.vary.values() if not isinstance(values, Range)) * self.seeds
        if self.is_search:
            each = self.trials + (self.confirm.top * self.confirm.seeds if self.confirm else 0)
        return each * sum(len(self.variants_on(dataset)) for dataset in self.datasets)

    @property
    def resized(self) -> Mapping[str, Settings]:
        """What the size that is meant changes, by data set."""
        return {} if self.size == FULL else self.sizes[self.size].on

    def is_resized_on(self, dataset: str) -> bool:
        """Whether its trials on a data set are others at the size that is meant than as it is written."""
        return self.size != FULL and bool(self.sizes[self.size].vary or dataset in self.resized)

    def at(self, size: str, *, seeds: bool = True) -> Study:
        """The study at one of its `sizes`, or as it is written; with its own number of seeds still where ``seeds`` is false."""
        if size == FULL:
            return self
        other = self.sizes[size]
        vary = {name: other.vary.get(name, values) for name, values in self.vary.items()}
        count = other.seeds if seeds and other.seeds else self.seeds
        return replace(self, size=size, vary=vary, seeds=count)

    def cells(self) -> list[Cell]:
        """The points of the grid, the last setting varying fastest; one empty cell where nothing is varied."""
        axes = [values for values in self.vary.values() if not isinstance(values, Range)]
        return [dict(zip(self.vary, point, strict=True)) for point in itertools.product(*axes)]

    def labels(self, dataset: str | None = None) -> list[str]:
        """The names compared, on ``dataset`` or at all, in the study's own order; none for a search, which finds them."""
        variants = self.variants if dataset is None else self.variants_on(dataset)
        return [] if self.is_search else [label(v, cell) for v in variants for cell in self.cells()]

    def grid(self, catalogue: Catalogue, fingerprints: Mapping[str, str]) -> Iterator[Trial]:
        """Every trial of a grid, seed by seed, so that an interrupted study has compared what it has done."""
        for dataset, seed in itertools.product(self.datasets, range(self.seeds)):
            for variant, cell in itertools.product(self.variants_on(dataset), self.cells()):
                yield self.trial(catalogue, variant, dataset, seed, cell, fingerprints.get(dataset, ""))

    def tries(self, catalogue: Catalogue, dataset: str, seed: int, cell: Cell, fingerprint: str = "") -> set[str]:
        """The keys of what a search tries at a point, to propose or to confirm it; none where its space has no such point."""
        drawn = cell.keys() - flat(self.overrides).keys()  # and the rest, given for this invocation, may lie anywhere
        if cell.keys() != self.vary.keys() or not all(cell[name] in self.vary[name] for name in drawn):
            return set()
        return {
            self.trial(catalogue, variant, dataset, seed, cell, fingerprint, proposal=proposal).key
            for variant in self.variants_on(dataset)
            for proposal in (True, False)
        }

    def variants_on(self, dataset: str) -> list[Variant]:
        """The variants meant for ``dataset``; all of them for one that no variant names."""
        return [v for v in self.variants if not v.datasets or dataset in v.datasets] or list(self.variants)

    def trial(
        self,
        catalogue: Catalogue,
        variant: Variant,
        dataset: str,
        seed: int,
        cell: Cell,
        fingerprint: str = "",
        proposal: bool = False,
    ) -> Trial:
        """One trial with every setting written out.

        From weakest to strongest: the code's defaults, the model's own training defaults, the study, the study on this
        data set, the variant, the size, the grid's cell, what was given for this invocation. A ``proposal`` of a search is
        measured on a validation split.
        """
        defaults = catalogue.defaults(variant.model)
        placed: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
        for name, value in cell.items():
            player, dot, own = name.partition(".")
            if dot:
                placed["training"].setdefault(player, {})[own] = value
            else:
                placed[str(catalogue.section(variant.model, name))][name] = value
        layers: list[Settings] = [
            self.settings,
            self.on.get(dataset, {}),
            variant.settings,
            self.resized.get(dataset, {}),
            placed,
            self.overrides,
        ]
        settings = {
            section: plain(merged(defaults[section], *(layer.get(section, {}) for layer in layers)))
            for section in SECTIONS
        }
        if proposal and not settings["data"]["validation"]:
            settings["data"]["validation"] = VALIDATION_SHARE
        return Trial(
            variant=label(variant, cell),
            model=variant.model,
            dataset=dataset,
            seed=seed,
            settings=settings,
            varied=plain(dict(cell)),
            fingerprint=fingerprint,
        )


def label(variant: Variant, cell: Cell) -> str:
    """The name under which a variant at one point of the grid is compared."""
    values = " ".join(f"{name}={short(value, pad=False)}" for name, value in cell.items())
    return " ".join(filter(None, (variant.name, values))) or variant.model
