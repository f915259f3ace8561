"""What the checks of models are tried on: a model fresh from its constructor, and images that it takes."""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from bench import registry
from bench.checks import Broken, NotPromised, expect
from bench.checks.fixtures import digits
from bench.contract import (
    Autoencodes,
    Batch,
    BrokenModel,
    Condition,
    Conditional,
    Diverged,
    Generates,
    ImageSpec,
    Model,
    Split,
    Unsupported,
    Update,
    as_promised,
    condition_of,
    conditioned_on,
)
from bench.data import Data
from bench.optimizers import Optimizers, TrainingOptions
from bench.source import Option
from bench.study.catalogue import keywords

SPECS = ImageSpec(1, 28, 28, tuple("0123456789")), ImageSpec(3, 32, 32, tuple("0123456789"))
BATCH = 8


@dataclass(frozen=True)
class Case:
    """A model fresh from its constructor, and images of noise with a label each; ``where`` says in words what is tried."""

    model: Model
    batch: Batch
    spec: ImageSpec
    where: str

    @property
    def condition(self) -> Tensor | None:
        """What the model is told of the images."""
        return condition_of(self.model, self.batch)

    def codes(self) -> dict[str, Tensor]:
        """Codes of the prior and of the images, by the method that gives them, where the model has it."""
        found = {}
        if isinstance(self.model, Generates):
            found["codes"] = self.model.codes(BATCH)
        if isinstance(self.model, Autoencodes):
            found["encode"] = self.model.encode(self.batch.images, self.condition)
        return found


@dataclass(frozen=True)
class Subject:
    """A model by its class, its file's docstring, and the training options it wants."""

    kind: type[Model]
    source: str
    training: Mapping[str, Any]

    @property
    def options(self) -> dict[str, Option]:
        """Its hyperparameters."""
        return keywords(self.kind.__init__)

    def build(self, spec: ImageSpec, **settings: Any) -> Model:
        """The model, the same at every call."""
        make: Callable[..., Model] = self.kind
        torch.manual_seed(0)
        return make(spec, **settings)

    def cases(self, capability: type | None = None) -> list[Case]:
        """The model on its defaults, for grey and for colour images, as far as it takes them.

        Raises:
            NotPromised: it takes neither, or its class line does not name ``capability``.
        """
        if capability is not None and not issubclass(self.kind, capability):
            raise NotPromised(f"its class line does not name {capability.__name__}")
        found, reasons = [], []
        for spec in SPECS:
            where = f"{spec.channels}x{spec.height}x{spec.width}"
            try:
                found.append(Case(self.build(spec), noise(spec), spec, where))
            except Unsupported as error:
                reasons.append(f"{where} ({error})")
        if not found:
            raise NotPromised(f"it takes no images of {' or '.join(reasons)}")
        return found

    def told(self, *conditions: Condition) -> list[tuple[Case, Mapping[str, Any]]]:
        """The model where it is told one of ``conditions``, with the settings that make it so: none, or one choice.

        Raises:
            NotPromised: it is never told any of them.
        """
        choices = [{name: choice} for name, option in self.options.items() for choice in _choices(option.type)]
        found: dict[tuple[str, Condition], tuple[Case, Mapping[str, Any]]] = {}
        for case in self.cases(Conditional):
            for settings in ({}, *choices):
                try:
                    model = self.build(case.spec, **settings)
                except Unsupported:
                    continue
                condition = conditioned_on(model)
                if condition in conditions:
                    words = ", ".join((case.where, *(f"{name} = {value!r}" for name, value in settings.items())))
                    found.setdefault((case.where, condition), (Case(model, case.batch, case.spec, words), settings))
        if not found:
            raise NotPromised(f"it is not told {' or '.join(conditions)}")
        return list(found.values())


def noise(spec: ImageSpec, labels: Sequence[int] = tuple(range(BATCH)), *, seed: int = 1) -> Batch:
    """Images of noise, one for each of the labels, the same of one seed."""
    generator = torch.Generator().manual_seed(seed)
    return Batch(torch.rand(len(labels), *spec.shape, generator=generator), torch.tensor(labels))


@cache
def few_digits(spec: ImageSpec) -> Data:
    """24 digits to train on and 10 to test on, as images of ``spec``."""
    source = digits()

    def few(split: Split, n: int) -> Split:
        images = F.pad(split.images[:n], (0, spec.width - source.spec.width, 0, spec.height - source.spec.height))
        return Split(images.repeat(1, spec.channels, 1, 1), split.labels[:n])

    return Data("digits", spec, few(source.train, 24), source.train_labels[:24], few(source.held_out, 10))


def snapshot(model: Model) -> dict[str, Tensor]:
    """Every parameter and buffer, copied."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def changed(before: Mapping[str, Tensor], model: Model) -> str:
    """The first parameter or buffer that is not what it was; empty where there is none."""
    return next((name for name, value in model.state_dict().items() if not torch.equal(before[name], value)), "")


def expect_images(images: Tensor, case: Case, what: str) -> None:
    """Raise `Broken` unless these are float32 images in [0, 1], one for each of the case's."""
    try:
        as_promised(images, (BATCH, *case.spec.shape), what)
    except (BrokenModel, Diverged) as error:
        raise Broken(f"{case.where}: {error}") from None


def watched(model: Model) -> tuple[Update, set[str]]:
    """An update that descends and sees who moves, and the players that have moved."""
    players = model.players()
    optimizers = Optimizers(model, TrainingOptions(optimizer="sgd", learning_rate=1e-3))
    owners = {id(p): name for name, player in players.items() for p in player.parameters()}
    parameters = list(model.parameters())
    moved: set[str] = set()

    def update(player: str, loss: Tensor) -> None:
        expect(player in players, registry.unknown("player", player, list(players)))
        before = [parameter.detach().clone() for parameter in parameters]
        optimizers.update(player, loss)
        pairs = zip(parameters, before, strict=True)
        found = {owners[id(parameter)] for parameter, old in pairs if not torch.equal(parameter, old)}
        expect(found == {player}, f"update({player!r}, ...) moves {' and '.join(sorted(found)) or 'nobody'}")
        moved.add(player)

    return update, moved


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a setting that has few: a word's, or both of a switch."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is bool:
        return False, True
    if origin is typing.Literal:
        return arguments
    if origin in (typing.Union, types.UnionType):
        return tuple(choice for argument in arguments for choice in _choices(argument))
    return ()
