"""The digest of a model's code changes where what it does may change, and nowhere else."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import registry
from bench.closure import code_of

MODEL = '''"""A model."""

from bench.contract import Model
from bench.networks.blocks import mlp
from . import _steps
from ._layers import block as layer
from ._more import *


class Mine(Model):
    """Mine."""

    def step(self, batch, update):
        """A step."""
        return mlp([layer(2)]), _steps.taken, kept
'''
LAYERS = """import torch

WIDTH = 3
UNUSED = 4
SAID = f"{WIDTH} and" " more" f" of {WIDTH!r:>{WIDTH}}"


def block(size):
    return torch.zeros(size * scaled(WIDTH)), SAID


def scaled(number):
    if number:
        from ._deep import FACTOR
    return number * FACTOR


def other():
    return UNUSED
"""


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    for kind in ("models", "datasets"):
        (tmp_path / kind).mkdir()
    texts = {
        "mine": MODEL,
        "_layers": LAYERS,
        "_deep": "FACTOR = 2\n",
        "_steps": "taken = 1\n",
        "_more": "kept = 1\n",
        "_far": "x = 1\n",
    }
    for name, text in texts.items():
        (tmp_path / "models" / f"{name}.py").write_text(text)
    (tmp_path / "datasets" / "shapes.py").write_text("def open_source(): return 1\n")
    registry.visit(tmp_path)
    yield tmp_path
    registry.visit(None)


def changed(file: Path, old: str, new: str) -> bool:
    """Whether the code of ``mine`` on ``shapes`` is other code once a file says ``new``; it says ``old`` again then."""
    before, text = code_of("mine", "shapes"), file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
    after = code_of("mine", "shapes")
    file.write_text(text)
    assert len(before) == 16
    assert code_of("mine", "shapes") == before
    return after != before


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/mine", "layer(2)", "layer(3)"),
        ("models/_layers", "WIDTH = 3", "WIDTH = 5"),
        ("models/_layers", "number * FACTOR", "number + FACTOR"),
        ("models/_deep", "2", "3"),
        ("models/_steps", "1", "2"),
        ("models/_more", "1", "2"),
        ("datasets/shapes", "1", "2"),
    ],
)
def test_code_that_the_model_comes_to_by_name_is_part_of_it(home: Path, file: str, old: str, new: str) -> None:
    assert changed(home / f"{file}.py", old, new)


TABLE = """import dataclasses

TABLE = {"a": 1}
TABLE["b"] = 2
TABLE.update(c=3)
UNNAMED = dict(d=4)


class Choice:
    width = 5


Choice.width = 6


def noted(function):
    TABLE["noted"] = function
    return function


@noted
def seven():
    return 7


@dataclasses.dataclass
class Other:
    eight: int = 8


if not TABLE:
    from ._far import x
"""


@pytest.mark.parametrize(
    ("old", "new", "is_part"),
    [
        ('["b"] = 2', '["b"] = 3', True),
        ("c=3", "c=4", True),
        (".width = 6", ".width = 7", True),
        ("return 7", "return 8", True),
        ("d=4", "d=5", False),
        ("eight: int = 8", "eight: int = 9", False),
    ],
)
def test_what_a_file_does_to_what_it_defines_is_part_of_whatever_is_taken_of_it(
    home: Path, old: str, new: str, is_part: bool
) -> None:
    file = home / "models" / "_layers.py"
    file.write_text(LAYERS + TABLE)
    assert changed(file, old, new) is is_part


def test_what_a_data_set_only_passes_on_is_part_of_it(home: Path) -> None:
    (home / "datasets" / "shapes.py").write_text("from ._drawn import SPEC as SPEC\nfrom ._drawn import load\n")
    file = home / "datasets" / "_drawn.py"
    file.write_text("SPEC = 1\nn = 2000\ndef load(): return n\ndef other(): return 3\n")
    assert changed(file, "2000", "1000")
    assert changed(file, "SPEC = 1", "SPEC = 2")
    assert not changed(file, "return 3", "return 4")


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/mine", '"""A step."""', "# a step"),
        ("models/mine", '"""A model."""', '"""Another word for it."""'),
        ("models/mine", "mlp([layer(2)])", "mlp(\n            [layer(2)],\n        )"),
        ("models/_layers", "UNUSED = 4", "UNUSED = 5"),
        ("models/_layers", "def other():", "def another(n):"),
        ("models/_far", "1", "2"),
    ],
)
def test_words_lines_and_what_it_does_not_name_are_none(home: Path, file: str, old: str, new: str) -> None:
    assert not changed(home / f"{file}.py", old, new)


def test_every_python_digests_alike(home: Path) -> None:
    """Found with 3.11, 3.12 and 3.13, whose own texts of an f-string's tree differ."""
    text = """SAID = f"{1} and" " more" f" of {2!r:>{3}}, {'x' if f'{4}' else ''}"


def said(x: int = 1, *, y=None, **z):
    return [*SAID, {"a": x[y:], **z}]
"""
    (home / "models" / "plain.py").write_text(text)
    assert code_of("plain", "digits") == "845133404bbec523"


def test_a_data_set_of_the_suite_is_known_by_its_images(home: Path) -> None:
    assert code_of("mine", "digits") == code_of("mine", "mnist") != code_of("mine", "shapes")


def test_what_a_shipped_model_is_made_of_lies_in_other_rooms(monkeypatch: pytest.MonkeyPatch) -> None:
    """A VAE/GAN's step is that of `bench.networks.adversarial`, a VAE has none of it; nothing is imported to tell."""
    before = {model: code_of(model, "digits") for model in ("vae", "vae_gan")}
    read = Path.read_bytes

    def edited(file: Path) -> bytes:
        return (
            read(file).replace(b"adversarial.fake(", b"adversarial.real(") if file.stem == "adversarial" else read(file)
        )

    monkeypatch.setattr(Path, "read_bytes", edited)
    assert code_of("vae", "digits") == before["vae"]
    assert code_of("vae_gan", "digits") != before["vae_gan"]


def test_a_model_may_be_a_package(home: Path) -> None:
    (home / "models" / "wide").mkdir()
    inside = home / "models" / "wide" / "__init__.py"
    inside.write_text("from ._parts import part\nused = part\n")
    (inside.parent / "_parts.py").write_text("part = 1\n")
    before = code_of("wide", "digits")
    (inside.parent / "_parts.py").write_text("part = 2\n")
    assert "" != code_of("wide", "digits") != before


def test_what_is_imported_twice_under_one_name_counts_twice(home: Path) -> None:
    model = home / "models" / "mine.py"
    model.write_text(
        "def one():\n    from ._steps import taken as x\n    return x\n\n\n"
        "def two():\n    from ._far import x\n    return x\n"
    )
    assert changed(home / "models" / "_steps.py", "1", "2")
    assert changed(home / "models" / "_far.py", "1", "2")


def test_what_cannot_be_read_tells_nothing(home: Path) -> None:
    (home / "models" / "_layers.py").write_text("def block(:\n")
    assert code_of("mine", "digits") == ""
    assert code_of("gone", "digits") == ""


def test_a_plug_in_is_read_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "outside"
    package.mkdir()
    for name, text in {"__init__": "", "model": MODEL, "_layers": LAYERS, "_deep": "FACTOR = 2\n"}.items():
        (package / f"{name}.py").write_text(text)
    (package / "networks").mkdir()
    (package / "networks" / "blocks.py").write_text("mlp = 1\n")  # as one of the suite's is called
    (tmp_path / "alone.py").write_text("from bench.networks.blocks import mlp\nused = mlp\n")
    monkeypatch.syspath_prepend(tmp_path)
    part = registry.Component("models", "theirs", "outside.model", "outside 1.0")
    monkeypatch.setattr(registry, "find", lambda kind, name: part)
    before = code_of("theirs", "digits")
    (package / "_deep.py").write_text("FACTOR = 3\n")
    assert before
    assert code_of("theirs", "digits") not in ("", before)
    (package / "model.py").write_text(MODEL.replace("bench.networks.blocks", "outside.networks.blocks"))
    before = code_of("theirs", "digits")
    (package / "networks" / "blocks.py").write_text("mlp = 2\n")
    assert code_of("theirs", "digits") not in ("", before)
    part = registry.Component("models", "theirs", "alone", "outside 1.0")
    before = code_of("theirs", "digits")
    elsewhere = tmp_path / "another" / "place"
    elsewhere.mkdir(parents=True)
    (tmp_path / "alone.py").rename(elsewhere / "alone.py")
    monkeypatch.syspath_prepend(elsewhere)
    assert code_of("theirs", "digits") == before != ""
    part = registry.Component("models", "theirs", "outside.model", "outside 1.0")
    monkeypatch.delitem(sys.modules, "outside")
    monkeypatch.setitem(sys.modules, "outside", types.ModuleType("outside"))  # without its text
    assert code_of("theirs", "digits") == ""
