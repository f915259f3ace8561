"""What every measurement promises."""

from __future__ import annotations

import inspect
import random
from dataclasses import dataclass
from functools import cache, cached_property
from types import ModuleType
from typing import final, get_args

import numpy as np
import torch
from torch import Tensor, nn

from bench import registry
from bench.cache import digest
from bench.checks import NotPromised, expect
from bench.checks.fixtures import HELD_OUT, MODELS, built, digits, scratch
from bench.contract import Batch, Generates, Model, Unmeasurable, Update, as_floats, eval_mode
from bench.data import Data
from bench.measure.context import Context, EvaluationOptions
from bench.measure.evaluation import take
from bench.measure.measurements import describe, measurements
from bench.score import Better, Metric, Score

ENOUGH = 3  # models that a measurement is tried on


@dataclass(frozen=True)
class Subject:
    """A file of ``metrics/``, digits, and untrained models that can do what it needs."""

    name: str
    module: ModuleType
    data: Data
    models: tuple[tuple[str, Model], ...]

    def take(self, model: Model) -> dict[str, Score]:
        """Its values of ``model``, as a trial takes them."""
        return take(self.module, self._context(model), {})

    @cached_property
    def _measured(self) -> dict[str, dict[str, Score] | Unmeasurable]:
        found: dict[str, dict[str, Score] | Unmeasurable] = {}
        for name, model in self.models:
            try:
                with eval_mode(model):
                    found[name] = self.module.measure(model, self.data, self._context(model))
            except Unmeasurable as error:
                found[name] = error
        return found

    def measured(self) -> dict[str, dict[str, Score]]:
        """What `measure` itself gives, by the model; made once.

        Raises:
            NotPromised: there is no model that it can measure.
        """
        why = [str(each) for each in self._measured.values() if isinstance(each, Unmeasurable)]
        expect(all(each and "\n" not in each for each in why), f"a reason must be one line, not {why}")
        found = {name: each for name, each in self._measured.items() if not isinstance(each, Unmeasurable)}
        if not found:
            reason = why[0] if why else "none of the models at hand does what it needs"
            raise NotPromised(f"it cannot be taken here: {reason}")
        return found

    def _context(self, model: Model) -> Context:
        return Context(model, self.data, EvaluationOptions(samples=HELD_OUT, likelihood_draws=5), scratch(), scratch())


def subject(name: str) -> Subject:
    """The file ``name``.

    Raises:
        RegistryError: something that every measurement holds is not there.
    """
    module = registry.load("metrics", name)
    if absent := [each for each in ("VALUES", "NEEDS", "EXTRACTOR", "measure") if not hasattr(module, each)]:
        raise registry.RegistryError(f"{registry.find('metrics', name).origin}: defines no {' and no '.join(absent)}")
    able = [pair for pair in _models() if inspect.isclass(module.NEEDS) and isinstance(pair[1], module.NEEDS)]
    return Subject(name, module, digits(), tuple(able[:ENOUGH]))


def check_its_lines_say_what_it_measures(measurement: Subject) -> None:
    """The docstring's first line says what is measured; of several values, lines of their own tell them apart."""
    expect(
        len(registry.first_line(measurement.module.__doc__)) > 30,
        "the file's docstring must begin with a line that says what it measures",
    )
    lines = [describe(value, measurement.name) for value in measurement.module.VALUES]
    twice = [value for value, line in zip(measurement.module.VALUES, lines, strict=True) if lines.count(line) > 1]
    expect(
        not twice,
        f"{' and '.join(twice)} are described alike; give each a line in the docstring that begins '<value>: '",
    )


def check_its_values_have_a_direction_and_names_of_their_own(measurement: Subject) -> None:
    """`VALUES` gives every value a better direction, under a name that no other file measures."""
    values = measurement.module.VALUES
    expect(values, "VALUES must name at least one value")
    for name, better in values.items():
        known = ", ".join(map(repr, get_args(Better)))
        expect(better in get_args(Better), f"VALUES: {name} = {better!r}: must be one of {known}")
        expect(measurements().files.get(name) == measurement.name, measurements().unread.get(name, ""))


def check_its_units_are_of_its_values(measurement: Subject) -> None:
    """`UNITS`, which may be left out, gives values of the file a unit in a word or a few; shares and decibels have one too."""
    for name, unit in getattr(measurement.module, "UNITS", {}).items():
        known = ", ".join(measurement.module.VALUES)
        expect(name in measurement.module.VALUES, f"UNITS: {name} is none of VALUES: {known}")
        expect(isinstance(unit, str) and 0 < len(unit) <= 20, f"UNITS: {name} = {unit!r}: must be a text of 20 letters")


def check_what_it_needs_can_be_asked_of_a_model(measurement: Subject) -> None:
    """`NEEDS` is a capability from `bench.contract`, or a class; `EXTRACTOR` is the name of one, or None."""
    needs, extractor = measurement.module.NEEDS, measurement.module.EXTRACTOR
    expect(inspect.isclass(needs), f"NEEDS = {needs!r}: must be a capability, such as Model or Autoencodes")
    known = registry.names("features")
    expect(
        extractor is None or extractor in known,
        f"EXTRACTOR = {extractor!r}: must be None or one of {', '.join(known)}",
    )


def check_measure_takes_a_model_data_and_a_context(measurement: Subject) -> None:
    """``measure(model, data, context)`` is all there is."""
    found = list(inspect.signature(measurement.module.measure).parameters)
    expect(found == ["model", "data", "context"], f"measure must take model, data, context, not {', '.join(found)}")


def check_every_value_is_measured_or_blank_with_a_reason(measurement: Subject) -> None:
    """`measure` gives a `Score` for each of `VALUES` and for nothing else: a finite number, or None and why."""
    values = set(measurement.module.VALUES)
    for model, scores in measurement.measured().items():
        expect(
            set(scores) == values,
            f"of {model} came {', '.join(sorted(scores))}, where VALUES has {', '.join(sorted(values))}",
        )
        for name, score in scores.items():
            expect(isinstance(score, Score), f"{name} of {model} must be a Score, not {type(score).__name__}")
            if score.value is None:
                expect(score.reason and "\n" not in score.reason, f"{name} of {model} is blank: say why in one line")
            else:
                number = isinstance(score.value, (int, float)) and not isinstance(score.value, bool)
                expect(number, f"{name} of {model} must be a float, not {type(score.value).__name__}")
                expect(not score.reason, f"{name} of {model} has a value and a reason why it has none")


def check_its_protocol_is_plain(measurement: Subject) -> None:
    """What a value rests on is texts and numbers by name, and the same for every model measured alike."""
    for model, scores in measurement.measured().items():
        for name, score in scores.items():
            for fact, text in score.protocol.items():
                plain = isinstance(fact, str) and isinstance(text, (str, int, float))
                expect(plain, f"{name} of {model}: protocol {fact!r} = {text!r}: must be a text or a number")
            expect(
                not {"split", "images"} & set(score.protocol), f"{name}: split and images are added to every protocol"
            )


def check_the_same_numbers_come_again_and_nothing_is_left_behind(measurement: Subject) -> None:
    """Taken twice every value is the same, and neither the model, nor the data, nor the state of random numbers is changed."""
    for name, model in measurement.models:
        model.train()
        before = _state(model, measurement.data)
        first, second = measurement.take(model), measurement.take(model)
        expect(
            first == second, f"of {name} came {_words(first)}, then {_words(second)}; draw with torch's random numbers"
        )
        for what, text in _state(model, measurement.data).items():
            expect(text == before[what], f"{name}: {what} changed while it was measured")


def check_real_images_are_better_than_what_is_none(measurement: Subject) -> None:
    """By a value with a direction, held-out images themselves are better than noise, than nothing, or than one of them alone."""
    directed = [Metric(name, better) for name, better in measurement.module.VALUES.items() if better != "neither"]
    real = as_floats(measurement.data.held_out.images)
    noise = torch.rand(real.shape, generator=torch.Generator().manual_seed(0))
    others = {"noise": noise, "black images": torch.zeros_like(real), "one image": real[:1].expand(real.shape)}
    if not directed or not isinstance(Shows(real), measurement.module.NEEDS):
        raise NotPromised("it asks more of a model than images" if directed else "no value has a better direction")
    found = {what: measurement.take(Shows(each)) for what, each in others.items()}
    best = measurement.take(Shows(real))
    tried = [metric for metric in directed if best[metric.name].value is not None]
    if not tried:
        raise NotPromised(f"it cannot be taken here: {best[directed[0].name].reason}")
    for metric in tried:
        value = float(best[metric.name].value or 0)
        worse = {what: scores[metric.name].value for what, scores in found.items()}
        expect(
            any(other is None or metric.sign * value < metric.sign * other for other in worse.values()),
            f"{metric.name}, {metric.better} is better: {value:.4g} for the held-out images themselves, and "
            + ", ".join(f"{other:.4g} for {what}" for what, other in worse.items())
            + "; is the direction the other way round?",
        )


@final
class Shows(Model, Generates):
    """A generator of the images it was given, in their order."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images
        self.nothing = nn.Parameter(torch.zeros(1))

    def players(self) -> dict[str, nn.Module]:
        """It has none to train."""
        return {"shows": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """It has no loss."""
        return {}

    def codes(self, n: int) -> Tensor:
        """The places of the first ``n`` images."""
        return torch.arange(n)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The images at these places, float32 ``[n, C, H, W]``."""
        return self.images[z]


@cache
def _models() -> tuple[tuple[str, Model], ...]:
    return tuple((name, built(name, digits())) for name in MODELS)


def _state(model: Model, data: Data) -> dict[str, str]:
    """What must be the same before and after, in texts to compare."""
    return {
        "its mode": f"training = {model.training}",
        "its weights": digest(*model.state_dict().values()),
        "the data": digest(data.train.images, data.train_labels, data.held_out.images, data.held_out.labels),
        "torch's random state": digest(torch.get_rng_state()),
        "numpy's random state": str(np.random.get_state()),
        "python's random state": str(random.getstate()),
    }


def _words(scores: dict[str, Score]) -> str:
    return ", ".join(f"{name} {score.reason or score.value}" for name, score in scores.items())
