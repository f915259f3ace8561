"""A name is a file: shipped, a user's own, or an installed plug-in's; and a guest harms nobody but whoever asks for it."""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import registry
from bench.registry import BrokenGuest, UnknownName

MINE = '"""A model of one\'s own."""\n\nfrom ._shared import WIDTH\n\nTRAINING = {"batch_size": WIDTH}\n'


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A user's folder with a model that shares a number with others, and one that is no Python."""
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "mine.py").write_text(MINE)
    (folder / "_shared.py").write_text("WIDTH = 32\n")
    (folder / "torn.py").write_text("X = 1\ndef step(:\n")
    registry.visit(tmp_path)
    yield tmp_path
    registry.visit(None)


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_file_of_the_packages_folder_is_a_name(kind: str) -> None:
    folder = Path(registry.__file__).parent / kind
    files = {file.stem for file in folder.glob("[!_]*.py")}
    assert set(registry.names(kind)) == files
    assert {registry.find(kind, name).origin for name in files} == {"bench"}
    assert registry.digest(kind, min(files)) == ""


def test_a_guest_is_a_name_like_any_other(home: Path) -> None:
    assert {"mine", "torn", "vae"} <= set(registry.names("models"))
    assert "_shared" not in registry.names("models")
    assert registry.find("models", "mine").origin == "models/mine.py"
    assert registry.load("models", "mine").TRAINING == {"batch_size": 32}
    assert registry.digest("models", "mine") == hashlib.sha256(MINE.encode()).hexdigest()
    assert len(registry.digest("models", "torn")) == 64  # of its bytes, which need not be Python's


def test_a_file_that_comes_later_is_seen_and_another_folder_is_another_guest(home: Path, tmp_path: Path) -> None:
    registry.load("models", "mine")
    (home / "models" / "later.py").write_text("TRAINING = {}\n")
    assert "later" in registry.names("models")
    (home / "models" / "_shared.py").write_text("WIDTH = 64\n")
    assert registry.load("models", "mine").TRAINING == {"batch_size": 64}, "an edited file is read again"
    assert not list(home.rglob("__pycache__"))
    other = tmp_path / "other"
    (other / "models").mkdir(parents=True)
    (other / "models" / "mine.py").write_text("TRAINING = {'epochs': 2}\n")
    registry.visit(other)
    assert registry.load("models", "mine").TRAINING == {"epochs": 2}
    assert "later" not in registry.names("models")
    registry.visit(None)
    assert "mine" not in registry.names("models")
    assert not [name for name in sys.modules if name.startswith(registry.GUESTS)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("X = 1\ndef step(:\n", r"^models/torn.py:2: cannot be imported: SyntaxError: invalid syntax$"),
        ("\n\nX = undefined\n", r"^models/torn.py:3: cannot be imported: NameError: name 'undefined' is not defined$"),
        ("import torch\n\ntorch.zeros(2) @ torch.zeros(3)\n", r"^models/torn.py:3: cannot be imported: RuntimeError: "),
        ("import nowhere\n", r"^models/torn.py:1: cannot be imported: ModuleNotFoundError: No module named 'nowhere'$"),
        ("from ._shared import WIDTH, HEIGHT\n", r"^models/torn.py:1: cannot be imported: ImportError: cannot import"),
        ("raise SystemExit\n", r"^models/torn.py:1: cannot be imported: SystemExit$"),
        ("raise ValueError('two\\nlines')\n", r"^models/torn.py:1: cannot be imported: ValueError: two lines$"),
    ],
)
def test_a_guest_that_cannot_be_imported_is_one_line_with_its_place(home: Path, text: str, message: str) -> None:
    (home / "models" / "torn.py").write_text(text)
    with pytest.raises(BrokenGuest, match=message) as caught:
        registry.load("models", "torn")
    assert "\n" not in str(caught.value)
    assert registry.load("models", "mine")  # which is none the worse for it


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("def step():\n    return 1 / 0\n", "models/mine.py:2"),
        ("import torch\n\ndef step():\n    return torch.nn.Linear(2, 3)(torch.ones(3))\n", "models/mine.py:4"),
        ("from ._shared import WIDTH, fail\n\ndef step():\n    fail()\n", "models/_shared.py:3"),
        ("step = int\n", ""),
    ],
)
def test_an_error_has_the_innermost_place_in_the_users_folder(home: Path, text: str, place: str) -> None:
    (home / "models" / "_shared.py").write_text("WIDTH = 32\ndef fail():\n    [][0]\n")
    (home / "models" / "mine.py").write_text(text)
    step = registry.load("models", "mine").step
    with pytest.raises((ArithmeticError, RuntimeError, LookupError, ValueError)) as caught:
        step(*([] if place else ["no number"]))
    assert registry.place(caught.value) == place
    registry.visit(None)
    assert registry.place(caught.value) == ""


def test_a_shipped_name_is_refused_whoever_has_it(home: Path) -> None:
    (home / "models" / "vae.py").write_text("TRAINING = {}\n")
    with pytest.raises(
        BrokenGuest, match=r"models/vae.py: the model 'vae' comes from bench too; give yours another name"
    ):
        registry.load("models", "vae")
    assert registry.load("models", "gan").__name__ == "bench.models.gan"


def test_a_plug_in_declares_its_modules(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package is what importlib.metadata finds on the path: a folder with its dist-info."""
    site = home / "site"
    (site / "plug").mkdir(parents=True)
    (site / "plug" / "__init__.py").write_text("")
    (site / "plug" / "flow.py").write_text('"""A flow."""\nTRAINING = {"epochs": 3}\n')
    info = site / "plug-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[bench.models]\nflow = plug.flow\nmine = plug.flow\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    registry._plugins.cache_clear()
    try:
        assert registry.find("models", "flow").origin == "plug 1.2"
        assert registry.load("models", "flow").TRAINING == {"epochs": 3}
        assert registry.digest("models", "flow") == hashlib.sha256((site / "plug" / "flow.py").read_bytes()).hexdigest()
        with pytest.raises(BrokenGuest, match=r"models/mine.py: the model 'mine' comes from plug 1.2 too"):
            registry.load("models", "mine")
    finally:
        registry._plugins.cache_clear()
        sys.modules.pop("plug.flow", None)
        sys.modules.pop("plug", None)


def test_an_unknown_name_is_told_the_nearest_and_all_others(home: Path) -> None:
    with pytest.raises(UnknownName, match=r"no model 'mein' \(did you mean 'mine'\?\); there are: acai, .*, mine, "):
        registry.find("models", "mein")
