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


def block(size):
    return torch.zeros(size * scaled(WIDTH))


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


def test_a_file_that_is_no_python_tells_nothing(home: Path) -> None:
    (home / "models" / "_layers.py").write_text("def block(:\n")
    assert code_of("mine", "digits") == ""


def test_a_plug_in_is_read_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "outside"
    package.mkdir()
    for name, text in {"__init__": "", "model": MODEL, "_layers": LAYERS, "_deep": "FACTOR = 2\n"}.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    part = registry.Component("models", "theirs", "outside.model", "outside 1.0")
    monkeypatch.setattr(registry, "find", lambda kind, name: part)
    before = code_of("theirs", "digits")
    (package / "_deep.py").write_text("FACTOR = 3\n")
    assert before
    assert code_of("theirs", "digits") not in ("", before)
    monkeypatch.delitem(sys.modules, "outside")
    monkeypatch.setitem(sys.modules, "outside", types.ModuleType("outside"))  # without its text
    assert code_of("theirs", "digits") == ""
