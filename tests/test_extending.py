"""The pages on adding something, followed to the letter in a temporary folder."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import registry
from bench.contract import Data
from bench.measure.measurements import describe
from bench.models.vae import VAE
from bench.paths import Paths
from bench.run.worker import Epoch, Finished, Work
from bench.study.catalogue import catalogue
from bench.study.definition import SECTIONS
from bench.study.file import load

DOCS = Path(__file__).parent.parent / "docs"
Install = Callable[[str, str, str], None]


def block(page: str) -> str:
    """The code on a page."""
    match = re.search(r"```(?:python|toml)\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert match is not None
    return match[1]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put one file beside those of a folder of the package, for as long as the test runs."""

    def add(package: str, name: str, page: str) -> None:
        folder = tmp_path / package
        folder.mkdir()
        (folder / f"{name}.py").write_text(block(page))
        module = importlib.import_module(f"bench.{package}")
        monkeypatch.setattr(module, "__path__", [*module.__path__, str(folder)])
        monkeypatch.delitem(sys.modules, f"bench.{package}.{name}", raising=False)

    return add


def run(paths: Paths) -> tuple[list[Epoch], Finished]:
    """The study's first trial, in this process."""
    loaded = load(paths.study("new"), catalogue(), smoke=False)
    trial = next(loaded.grid(catalogue(), {}))
    assert set(trial.settings) == set(SECTIONS)
    events = list(Work(tuple(metric.name for metric in loaded.metrics), paths.data, paths.store, {})(trial))
    assert isinstance(events[-1], Finished), events[-1]
    return [event for event in events if isinstance(event, Epoch)], events[-1]


def write_study(paths: Paths, *changes: tuple[str, str]) -> None:
    """The small study with some of its text replaced."""
    text = paths.study("smoke").read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    paths.study("new").write_text(text)


def test_a_model(paths: Paths, install: Install) -> None:
    install("models", "linear", "add-a-model.md")
    write_study(paths, ('"vae"', '"linear"'), ("hidden_dims = [16]", ""))
    epochs, finished = run(paths)
    assert epochs[-1].progress.held_out["loss"] < epochs[0].progress.held_out["loss"]
    assert {"final/samples.png", "final/reconstructions.png", "model.safetensors"} <= set(finished.files)
    assert catalogue().training_defaults["linear"] == {"learning_rate": 3e-3}


def test_a_data_set(paths: Paths, install: Install) -> None:
    install("datasets", "boards", "add-a-data-set.md")
    write_study(paths, ('"digits"', '"boards"'))
    _, finished = run(paths)
    assert finished.scores["test_loss"].value is not None


def test_a_metric(paths: Paths, install: Install) -> None:
    install("metrics", "brightness", "add-a-metric.md")
    write_study(paths, ('"reconstruction_mse"', '"brightness", "contrast"'))
    _, finished = run(paths)
    for name in ("brightness", "contrast"):
        value = finished.scores[name].value
        assert value is not None
        assert 0 <= value < 1
        assert finished.scores[name].protocol == {"split": "test", "images": "50", "generated": "10000"}
    assert describe("contrast", "brightness").startswith("The difference of the standard deviation")


def test_an_application(install: Install, few_digits: Data) -> None:
    install("applications", "again", "add-an-application.md")
    applied = registry.load("applications", "again").apply(
        VAE(few_digits.spec, hidden_dims=[8]), few_digits, count=5, times=2
    )
    assert [row["image"] for row in applied.rows] == [0, 10, 20, 30, 40]
    assert set(applied.files) == {row["file"] for row in applied.rows}
    assert "again" in registry.names("applications")


def test_a_study(paths: Paths) -> None:
    paths.study("new").write_text(block("add-a-study.md"))
    known = catalogue()
    assert len(list(load(paths.study("new"), known).grid(known, {}))) == 9
    assert len(list(load(paths.study("new"), known, smoke=True).grid(known, {}))) == 3


def test_the_pages_are_linked() -> None:
    text = (DOCS.parent / "CONTRIBUTING.md").read_text()
    assert all(f"docs/{page.name}" in text for page in DOCS.glob("add-*.md"))
