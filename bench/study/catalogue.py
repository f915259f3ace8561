"""What there is to choose from, read from the folders and from the signatures of the code that a study sets to work."""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Any

from bench import registry
from bench.batches import DataOptions
from bench.contract import Model
from bench.measure.context import EvaluationOptions
from bench.measure.measurements import measurements
from bench.models import model_class, training_defaults
from bench.optimizers import PlayerOptions, TrainingOptions
from bench.score import Metric


@dataclass(frozen=True)
class Option:
    """One setting: its type as annotated where it is defined, and its default there."""

    type: Any
    default: Any


@dataclass(frozen=True)
class Catalogue:
    """What there is to choose from, read from the signatures of the code that a study sets to work.

    Attributes:
        params: hyperparameters by model.
        options: the settings of ``training``, ``data`` and ``evaluation``.
        player_options: the settings of ``training`` that one player may have to itself.
        training_defaults: what a model's own file wants of ``training``, by model.
        datasets: the data sets known by name; any path is a data set too.
        metrics: the metrics, with their better direction.
        unread: why other metrics cannot be taken, by name or by file.
    """

    params: Mapping[str, Mapping[str, Option]]
    options: Mapping[str, Mapping[str, Option]]
    player_options: frozenset[str]
    training_defaults: Mapping[str, Mapping[str, Any]]
    datasets: Sequence[str]
    metrics: Mapping[str, Metric]
    unread: Mapping[str, str]

    def section(self, model: str, name: str) -> str | None:
        """The section in which ``model`` has a setting ``name``, or None."""
        if name in self.params[model]:
            return "params"
        return next((section for section, options in self.options.items() if name in options), None)

    def option(self, model: str, name: str) -> Option:
        """The setting ``name`` of ``model``."""
        section = self.section(model, name)
        return self.params[model][name] if section == "params" else self.options[str(section)][name]

    def settings(self, model: str) -> list[str]:
        """Every setting that can be given for ``model``."""
        return sorted({*self.params[model], *itertools.chain.from_iterable(self.options.values())})


def catalogue() -> Catalogue:
    """What there is to choose from, read from the folders and the signatures in them."""
    options = {
        "training": _fields(TrainingOptions),
        "data": _fields(DataOptions),
        "evaluation": _fields(EvaluationOptions),
    }
    del options["training"]["players"]
    models = registry.names("models")
    measured = measurements()
    return Catalogue(
        params=_OnDemand(models, lambda name: hyperparameters(model_class(name))),
        options=options,
        player_options=frozenset(_fields(PlayerOptions)),
        training_defaults=_OnDemand(models, training_defaults),
        datasets=registry.names("datasets"),
        metrics=measured.metrics,
        unread=measured.unread,
    )


class _OnDemand(Mapping[str, Any]):
    """A table of which only what is asked for is read, so that one component costs and harms nobody who does without it."""

    def __init__(self, names: Sequence[str], read: Callable[[str], Any]) -> None:
        self._names = dict.fromkeys(names)
        self._read = cache(read)

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def hyperparameters(model: type[Model]) -> dict[str, Option]:
    """The keyword arguments of a model's constructor, which are its hyperparameters."""
    return keywords(model.__init__)


def keywords(function: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only arguments of a function, with their types and defaults."""
    hints = typing.get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: Option(hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}


def _fields(options: type) -> dict[str, Option]:
    hints = typing.get_type_hints(options)
    found = {}
    for field in fields(options):
        default = field.default if field.default_factory is MISSING else field.default_factory()
        found[field.name] = Option(hints[field.name], default)
    return found
