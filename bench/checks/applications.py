"""What every application promises."""

from __future__ import annotations

import io
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image

from bench import registry
from bench.applications import Applied, put_to
from bench.batches import DataOptions, prepare
from bench.checks import NotPromised, expect
from bench.checks.fixtures import MODELS, built
from bench.contract import Model, Unsupported
from bench.data import Data
from bench.datasets import open_dataset
from bench.study.catalogue import keywords
from bench.study.types import fits


@dataclass(frozen=True)
class Subject:
    """An application by its module, with every case that is tried on it: a name, an untrained model, and digits."""

    module: ModuleType
    cases: tuple[tuple[str, Model, Data], ...]

    @property
    def options(self) -> dict[str, Any]:
        """Options that keep it small, where it has them."""
        return {"count": 3} if "count" in keywords(self.module.apply) else {}

    def served(self) -> list[tuple[str, Model, Data, Applied]]:
        """The cases it serves, each with what it made.

        Raises:
            NotPromised: there is none among those of the suite.
        """
        found = []
        for name, model, data in self.cases:
            try:
                found.append((name, model, data, put_to(self.module, model, data, **self.options)))
            except Unsupported:
                continue
        if not found:
            raise NotPromised("it serves none of the models that come with the suite, on digits")
        return found


def subject(name: str) -> Subject:
    """The application ``name``."""
    return Subject(registry.load("applications", name), _cases())


def check_its_first_line_says_what_it_is(application: Subject) -> None:
    """The file's docstring begins with a line that says what the application does; lists show it."""
    expect(
        len(registry.first_line(application.module.__doc__)) > 20,
        "the file's docstring must begin with a line that says what it does",
    )


def check_options_are_typed_keywords_with_defaults_that_fit(application: Subject) -> None:
    """`apply` takes a model, data, and keyword arguments with a type and a default that is of it."""
    for name, option in keywords(application.module.apply).items():
        expect(
            name == "files" or fits(option.default, option.type), f"{name} = {option.default!r} is not {option.type}"
        )


def check_the_same_pictures_come_again(application: Subject) -> None:
    """Applied twice to the same model it makes the same grid, files and rows."""
    for case, model, data, first in application.served():
        second = application.module.apply(model, data, **application.options)
        same = (first.grid, dict(first.files), list(first.rows)) == (second.grid, dict(second.files), list(second.rows))
        expect(same, f"{case}: a second call makes other pictures; draw inside eval_mode, from a seed of your own")


def check_pictures_can_be_opened_and_rows_name_them(application: Subject) -> None:
    """The grid and every file are images, and each image file has the row that says what went into it."""
    for case, _, _, applied in application.served():
        for place, content in {"grid": applied.grid, **applied.files}.items():
            try:
                Image.open(io.BytesIO(content)).load()
            except OSError:
                expect(False, f"{case}: {place} is no image that can be opened")
        named = {str(row["file"]) for row in applied.rows if "file" in row}
        single = {place for place in applied.files if place.startswith("images/") and place.endswith(".png")}
        absent = named - set(applied.files)
        for words, places in (("no row names", single - named), ("rows name what is no file:", absent)):
            expect(not places, f"{case}: {words} {', '.join(sorted(places)[:3])}")


def check_the_model_is_left_as_it_was(application: Subject) -> None:
    """Neither mode, nor weights, nor the state of the random numbers changes."""
    for case, model, data, _ in application.served():
        model.train()
        weights = {name: value.clone() for name, value in model.state_dict().items()}
        state = torch.get_rng_state()
        application.module.apply(model, data, **application.options)
        expect(model.training, f"{case}: the model was left in eval mode; look at it inside eval_mode")
        expect(torch.equal(state, torch.get_rng_state()), f"{case}: random numbers were drawn outside eval_mode")
        kept = all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
        expect(kept, f"{case}: the model's weights were changed")


def check_what_it_cannot_serve_is_refused_in_one_line(application: Subject) -> None:
    """A model or data that it cannot serve is `Unsupported`, in one line, and no other error."""
    for case, model, data in application.cases:
        try:
            application.module.apply(model, data, **application.options)
        except Unsupported as error:
            expect("\n" not in str(error) and str(error), f"{case}: the reason must be one line, not {str(error)!r}")
        except Exception as error:
            expect(
                False, f"{case}: {type(error).__name__}: {error}; refuse what cannot be served with Unsupported and why"
            )


@cache
def _cases() -> tuple[tuple[str, Model, Data], ...]:
    source = open_dataset("digits", Path())
    digits = prepare("digits", source.spec, source.train, source.test, DataOptions(train_images=100, test_images=50))
    pair = digits.held_out.take(digits.held_out.labels < 2)
    two = replace(digits, spec=replace(digits.spec, classes=("horse", "bird")), held_out=pair)
    sets = {"digits": digits, "two classes": two}
    return tuple((f"{name} on {word}", built(name, data), data) for name in MODELS for word, data in sets.items())
