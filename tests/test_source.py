"""What files say in their text is what they say when they are imported."""

from __future__ import annotations

import dataclasses
import typing
from abc import ABC
from pathlib import Path
from typing import Any

import pytest

from bench import contract, registry
from bench.batches import DataOptions
from bench.measure.context import EvaluationOptions
from bench.models import model_class, training_defaults
from bench.optimizers import PlayerOptions, TrainingOptions
from bench.ranges import LARGEST_SIDE, Within
from bench.source import Option, Source, Unread, doc, source
from bench.study.catalogue import OPTIONS, catalogue, hyperparameters, keywords

CAPABILITIES = {name for name, value in vars(contract).items() if isinstance(value, type) and ABC in value.__mro__[1:]}
KINDS = [(kind, name) for kind in registry.KINDS for name in registry.names(kind)]


@pytest.mark.parametrize("name", registry.names("models"))
def test_a_models_text_says_what_its_constructor_takes(name: str) -> None:
    text = source(registry.file("models", name))
    assert text.model() == model_class(name).__name__
    assert text.keywords("__init__", of=text.model()) == keywords(model_class(name).__init__)
    assert text.constant("TRAINING") == training_defaults(name)
    ours = {each.__name__ for each in model_class(name).__mro__ if each.__module__.startswith("bench.")}
    assert ours == {text.model(), *text.ancestors(text.model())} & {*ours, *CAPABILITIES}


@pytest.mark.parametrize("name", registry.names("metrics"))
def test_a_metrics_text_says_what_it_measures(name: str) -> None:
    assert source(registry.file("metrics", name)).constant("VALUES") == registry.load("metrics", name).VALUES


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_a_components_text_says_what_it_is(kind: str, name: str) -> None:
    own = registry.load(kind, name)
    assert registry.first_line(doc(kind, name)) == registry.first_line(own.__doc__)
    assert registry.file(kind, name) == Path(str(own.__file__))


@pytest.mark.parametrize(
    ("section", "options"),
    [("training", TrainingOptions), ("data", DataOptions), ("evaluation", EvaluationOptions)],
)
def test_a_sections_settings_are_the_fields_of_its_dataclass(section: str, options: Any) -> None:
    file, name = OPTIONS[section]
    assert name == options.__name__
    hints = typing.get_type_hints(options, include_extras=True)
    expected = {field.name: Option(hints[field.name], field.default) for field in dataclasses.fields(options)}
    found = source(registry.PACKAGE / file).fields(name)
    assert found == expected
    assert list(found) == list(expected)
    known = catalogue()
    assert known.player_options == {field.name for field in dataclasses.fields(PlayerOptions)}
    assert "players" not in known.options["training"]


def plain(tmp_path: Path, text: str) -> Source:
    file = tmp_path / "mine.py"
    file.write_text(text)
    return Source(file)


@pytest.mark.parametrize(
    "text",
    [
        "class Mine(Model):\n    def __init__(self, spec, *, width: int = sum([1, 2])): pass",
        "class Mine(Model):\n    def __init__(self, spec, *, width: some.Type = 1): pass",
        "class Mine(Model):\n    def __init__(self, spec, *, width=1): pass",
        "class Mine(Model):\n    def __init__(self, spec, *, width: Annotated[int, Within(least=most())] = 1): pass",
        "class Mine(Model):\n    def __init__(self, spec, *, width: int): pass",
        "class Mine(Model): pass",
        "class Mine(Model):\n    def __init__(self, spec, *, width: int = WIDTH): pass",
        "from elsewhere import WIDTH\nclass Mine(Model):\n    def __init__(self, spec, *, width: int = WIDTH): pass",
    ],
)
def test_what_is_not_plain_is_left_to_be_imported(text: str, tmp_path: Path) -> None:
    with pytest.raises(Unread):
        plain(tmp_path, text).keywords("__init__", of="Mine")


def test_names_of_plain_things_are_followed(tmp_path: Path) -> None:
    text = """
from bench.contract import Condition
from bench.ranges import LARGEST_SIDE, Within
Kind = Literal["a", "b"]
WIDTHS = (8, -4)
class Mine(Model):
    def __init__(self, spec, *, kind: Kind = "a", told: Condition | None = None, widths: tuple[int, ...] = WIDTHS,
        side: Annotated[int, Within(least=1, most=LARGEST_SIDE)] | None = None): pass
"""
    found = plain(tmp_path, text).keywords("__init__", of="Mine")
    assert found["kind"] == Option(typing.Literal["a", "b"], "a")
    assert found["told"] == Option(typing.Literal["labels", "left_half"] | None, None)
    side = typing.Annotated[int, Within(least=1, most=LARGEST_SIDE)]
    assert found["side"] == Option(side | None, None)
    assert found["widths"] == Option(tuple[int, ...], (8, -4))


@pytest.mark.parametrize("text", ["class Mine(", "\0", "class One(Model): pass\nclass Two(Model): pass"])
def test_a_file_without_one_model_is_left_to_be_imported(text: str, tmp_path: Path) -> None:
    with pytest.raises(Unread):
        plain(tmp_path, text).model()


def test_a_model_that_is_written_otherwise_is_imported(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.py").write_text(
        "from bench.models.vae import VAE\nfrom bench.contract import Model\nTRAINING = dict(batch_size=8)\n"
        "class Mine(Model):\n    __init__ = VAE.__init__\n"
    )
    registry.visit(tmp_path)
    assert hyperparameters("mine") == hyperparameters("vae")
    assert catalogue().training_defaults["mine"] == {"batch_size": 8}
