"""What there is to choose from, read from the folders and from the text of the code that a study sets to work.

Nothing is imported where the text says it plainly, which all of the suite's own does: so it is known without waiting for torch.
"""

from __future__ import annotations

import inspect
import itertools
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from bench import registry
from bench.measure.measurements import measurements
from bench.registry import PACKAGE
from bench.score import Metric
from bench.source import Option, Unread, doc, source
from bench.study.types import flat, merged, plain

if TYPE_CHECKING:
    from bench.study.definition import Trial

OPTIONS = {  # section of settings -> the file and the dataclass that hold them
    "training": ("optimizers.py", "TrainingOptions"),
    "data": ("batches.py", "DataOptions"),
    "evaluation": ("measure/context.py", "EvaluationOptions"),
}


@dataclass(frozen=True)
class Catalogue:
    """What there is to choose from, read from the signatures of the code that a study sets to work.

    Attributes:
        params: hyperparameters by model.
        options: the settings of ``training``, ``data`` and ``evaluation``.
        player_options: the settings of ``training`` that one player may have to itself.
        training_defaults: what a model's own file wants of ``training``, by model.
        datasets: the data sets known by name; any path is a data set too.
        applications: what a trained model can be put to, each with a line on what it makes.
        metrics: the metrics, with their better direction.
        unread: why other metrics cannot be taken, by name or by file.
    """

    params: Mapping[str, Mapping[str, Option]]
    options: Mapping[str, Mapping[str, Option]]
    player_options: frozenset[str]
    training_defaults: Mapping[str, Mapping[str, Any]]
    datasets: Sequence[str]
    applications: Mapping[str, str]
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

    def defaults(self, model: str) -> dict[str, dict[str, Any]]:
        """Every setting of ``model`` by section, as it is where nobody chooses: the code's default, or the model's own wish."""
        options = {"params": self.params[model], **self.options}
        found = {section: {name: each.default for name, each in own.items()} for section, own in options.items()}
        return found | {"training": merged(found["training"], self.training_defaults[model])}

    def chosen(self, trial: Trial) -> dict[str, Any]:
        """The settings of a trial that are not the defaults, and those that its study varies."""
        defaults = flat(plain(self.defaults(trial.model)))
        return {
            name: value
            for name, value in flat(trial.settings).items()
            if name in trial.varied or name not in defaults or value != defaults[name]
        }

    def settings(self, model: str) -> list[str]:
        """Every setting that can be given for ``model``."""
        return sorted({*self.params[model], *itertools.chain.from_iterable(self.options.values())})


def catalogue() -> Catalogue:
    """What there is to choose from, read from the folders and the text of the files in them."""
    options = {section: source(PACKAGE / file).fields(name) for section, (file, name) in OPTIONS.items()}
    del options["training"]["players"]
    models = registry.names("models")
    measured = measurements()
    return Catalogue(
        params=_OnDemand(models, hyperparameters),
        options=options,
        player_options=frozenset(source(PACKAGE / "optimizers.py").fields("PlayerOptions")),
        training_defaults=_OnDemand(models, training_defaults),
        datasets=registry.names("datasets"),
        applications=_OnDemand(registry.names("applications"), partial(_says, "applications")),
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


def _says(kind: str, name: str) -> str:
    """What a component is, in its own words."""
    return registry.first_line(doc(kind, name))


def hyperparameters(model: str) -> dict[str, Option]:
    """The keyword arguments of a model's constructor, which are its hyperparameters.

    Raises:
        RegistryError: there is no such model, or its file cannot be imported where its text does not say it plainly.
    """
    try:
        text = source(registry.file("models", model))
        return text.keywords("__init__", of=text.model())
    except Unread:
        from bench.models import model_class  # which reads torch

        return keywords(model_class(model).__init__)


def training_defaults(model: str) -> Mapping[str, Any]:
    """The training options that a model wants where they differ from the suite's.

    Raises:
        RegistryError: as of `hyperparameters`, or the file says nothing of them.
    """
    try:
        if isinstance(found := source(registry.file("models", model)).constant("TRAINING"), Mapping):
            return found
    except Unread:
        pass
    from bench.models import training_defaults  # which reads torch

    return training_defaults(model)


def keywords(function: Callable[..., Any]) -> dict[str, Option]:
    """The keyword-only arguments of a function, with their types and defaults."""
    hints = typing.get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters.values()
    return {p.name: Option(hints[p.name], p.default) for p in parameters if p.kind is p.KEYWORD_ONLY}
