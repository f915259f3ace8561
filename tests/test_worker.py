"""What a trial's process does, done in this one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.applications import Applied
from bench.contract import Model
from bench.data import Data
from bench.models.vae import VAE
from bench.run import worker
from bench.run.events import Asked
from bench.run.worker import Epoch, Finished, Started, Work, load_data, put_to_use, use_threads
from bench.run.worker import build as build_model
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Trial
from bench.study.file import build
from bench.training import train

METRICS = ("test_loss", "reconstruction_mse")


@pytest.fixture(autouse=True)
def _threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """And a checkpoint after every epoch."""
    defaults = train.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "checkpoint_seconds", 0.0)
    yield
    use_threads(1)


@pytest.fixture
def trial(known: Catalogue) -> Trial:
    """So wide that two threads share its sums."""
    tables: dict[str, Any] = {
        "question": "?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss"],
        "params": {"hidden_dims": [256]},
        "training": {"epochs": 4, "batch_size": 64},
        "data": {"train_images": 256, "test_images": 100},
    }
    return next(build(tables, Path("x.toml"), known).grid(known, {}))


def run(trial: Trial, folder: Path, epochs: int | None = None, **options: Any) -> list[Any]:
    """Its events, up to those of so many epochs."""
    events: list[Any] = []
    running = Work(Asked(METRICS), folder, folder, {}, **options)(trial)
    for event in running:
        events.append(event)
        if epochs is not None and isinstance(event, Epoch) and event.progress.epoch == epochs:
            break
    return events


@pytest.mark.parametrize("anew", [False, True])
def test_what_other_code_began_goes_on_or_begins_anew(
    anew: bool, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on unless asked otherwise, and tells both; once begun anew, with one code alone, it goes on like any other."""
    first = run(trial, tmp_path, 2)[0].tags[
        "code"
    ]  # the checkpoint is of the first epoch: it was stopped in the second
    monkeypatch.setattr(worker, "code_of", lambda model, dataset: "mended")
    begun = run(trial, tmp_path, 3, changed_anew=anew)
    assert begun[0].tags["code"] == ("mended" if anew else f"{first}, mended")
    trained = [each.progress.epoch for each in begun if isinstance(each, Epoch) and not each.progress.past]
    assert trained == ([0, 1, 2, 3] if anew else [2, 3])
    ended = run(trial, tmp_path, changed_anew=True)
    trained = [each.progress.epoch for each in ended if isinstance(each, Epoch) and not each.progress.past]
    assert trained == (
        [3, 4] if anew else [0, 1, 2, 3, 4]
    )  # of the third epoch no checkpoint was kept: it was stopped there
    assert ended[0].tags["code"] == "mended"


@pytest.mark.parametrize("stopped", [None, 0, 3])
@pytest.mark.parametrize("later", ["1", "2"])
def test_a_trial_ends_under_the_threads_that_it_began_with(
    later: str, stopped: int | None, trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever share of the machine it has when it goes on: from its checkpoint, or, without one, as its run says."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    undisturbed = run(trial, tmp_path / "undisturbed")
    if stopped is not None:
        run(trial, tmp_path / "stopped", stopped)
    monkeypatch.setenv("OMP_NUM_THREADS", later)
    events = run(trial, tmp_path / "stopped", threads={} if stopped else {trial.key: 2})
    assert isinstance(events[0], Started)
    assert events[0].tags["threads"] == "2"
    assert torch.get_num_threads() == 2
    ended, expected = events[-1], undisturbed[-1]
    assert isinstance(ended, Finished)
    assert ended.scores == expected.scores
    assert {score.protocol["threads"] for score in ended.scores.values()} == {"2"}
    assert ended.files == expected.files
    losses = [[e.progress.held_out for e in each if isinstance(e, Epoch)] for each in (events, undisturbed)]
    assert losses[0] == losses[1]


def test_a_trial_that_begins_has_the_threads_of_its_share(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for share in ("1", "2"):
        monkeypatch.setenv("OMP_NUM_THREADS", share)
        events = run(trial, tmp_path / share, 0)
        assert events[0].tags["threads"] == share


def test_who_makes_what_trials_share_before_it_trains_ends_in_the_same_digits(trial: Trial, tmp_path: Path) -> None:
    """So that no two come to it together, one waiting for the other; what is made is what would have been made later."""
    metrics = ("test_loss", "fd_classifier")
    ends, caches = [], []
    for name, first in (("first", frozenset({trial.key})), ("later", frozenset[str]())):
        folder = tmp_path / name
        events = list(Work(Asked(metrics), folder, folder, {}, first=first)(trial))
        ends.append(events[-1])
        caches.append({file.name: file.read_bytes() for file in (folder / "cache").glob("*.safetensors")})
    assert ends[0] == ends[1]
    assert caches[0] == caches[1]
    assert any(name.startswith("classifier-") for name in caches[0])


def test_a_picture_that_a_kill_left_alone_does_not_stand_for_its_epoch(trial: Trial, tmp_path: Path) -> None:
    work = Work(Asked(METRICS), tmp_path, tmp_path, {})
    folder = work.checkpoint(trial)
    for event in work(trial):  # killed before the checkpoint of the second epoch, with one picture of two
        if isinstance(event, Epoch) and event.progress.epoch == 2:
            (folder / "reconstructions-2.png").unlink()
            break
    pictures = [
        event.pictures
        for event in worker.Work(Asked(METRICS), tmp_path, tmp_path, {})(trial)
        if isinstance(event, Epoch)
    ]
    assert [set(each) for each in pictures] == [{"samples", "reconstructions"}] * 3 + [set()] + [
        {"samples", "reconstructions"}
    ]


def test_an_application_that_breaks_costs_its_picture_and_no_more(
    trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes at the end of hours of training, and may be anybody's."""

    class Broken:
        @staticmethod
        def apply(model: Model, data: Data) -> Applied:
            raise ZeroDivisionError("by zero")

    class Silent:
        @staticmethod
        def apply(model: Model, data: Data) -> None:
            """Forgets to return what it has made."""

    load, data, own = registry.load, load_data(trial, tmp_path), {"mine": Broken, "silent": Silent}
    monkeypatch.setattr(registry, "load", lambda kind, name: own.get(name) or load(kind, name))
    files, applied = put_to_use(build_model(trial, data.spec), data, ["mine", "silent", "classify", "generate"])
    assert applied == {
        "mine": "ZeroDivisionError: by zero",
        "silent": "TypeError: apply must return Applied, not nothing",
        "classify": "VAE does not classify",
        "generate": "",
    }
    assert list(files) == ["final/applied_generate.png"]


MINE = """
import torch
from torch import nn
from bench.contract import Model
TRAINING = {{}}
class Mine(Model):
    def __init__(self, spec):
        super().__init__()
        self.net = nn.Linear(spec.pixels, 2)
    def players(self):
        return {{"net": self.net}}
    def step(self, batch, update):
        loss = self.net({images}).square().mean()
        {update}
        return {returned}
"""
WORKS = {"images": "batch.images.flatten(1)", "update": 'update("net", loss)', "returned": '{"loss": loss}'}
TERMS = "models/mine.py: step must return its loss terms by name, each one number in a Tensor, as {'loss': loss}"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"update": 'update("nett", loss)'},
            "models/mine.py:14: no player 'nett' (did you mean 'net'?); there are: net",
        ),
        (
            {"update": 'if self.training: update("nett", loss)'},
            "models/mine.py:14: no player 'nett' (did you mean 'net'?); there are: net",
        ),
        (
            {"update": 'update(loss, "net")'},
            "models/mine.py:14: update must be given the name of a player first, not Tensor; there are: net",
        ),
        (
            {"update": 'update("net", loss.repeat(3))'},
            "models/mine.py:14: update('net', ...) must be given a loss that is one number in a Tensor, not one of shape [3]",
        ),
        (
            {"update": 'update("net", loss.item())'},
            "models/mine.py:14: update('net', ...) must be given a loss that is one number in a Tensor, not float",
        ),
        ({"returned": "loss"}, f"{TERMS}, not Tensor"),
        ({"returned": "None"}, f"{TERMS}, not nothing"),
        ({"returned": '{"loss": loss.item()}'}, f"{TERMS}; its 'loss' is float"),
        ({"returned": '{"loss": loss.repeat(3)}'}, f"{TERMS}; its 'loss' is of shape [3]"),
        ({"images": "batch.images"}, "models/mine.py:13: RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ({"images": "batch.image"}, "models/mine.py:13: AttributeError: 'Batch' object has no attribute 'image'"),
    ],
)
def test_what_is_wrong_with_ones_own_model_is_one_line_with_its_place(
    changes: dict[str, str], reason: str, trial: Trial, tmp_path: Path
) -> None:
    """Before anything is learnt, where it is so before; and its traceback goes with it."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.py").write_text(MINE.format(**{**WORKS, **changes}))
    events = run(replace(trial, model="mine", settings={**trial.settings, "params": {}}), tmp_path, guests=tmp_path)
    failure = events[-1]
    assert isinstance(failure, Failure)
    assert failure.kind == "error"
    assert failure.reason.startswith(reason)
    assert failure.details.startswith("Traceback")
    assert len([event for event in events if isinstance(event, Epoch)]) == ("self.training" in str(changes))


IMAGES = "must return images, float32 [64, 1, 28, 28] in [0, 1]"


@pytest.mark.parametrize(
    ("method", "value", "shape", "kind", "reason"),
    [
        ("sample", 2.0, (1, 28, 28), "error", f"bench: sample {IMAGES}, and they lie in [2, 2]"),
        ("sample", -1.0, (1, 28, 28), "error", f"bench: sample {IMAGES}, and they lie in [-1, -1]"),
        ("sample", 0.5, (784,), "error", f"bench: sample {IMAGES}, not float32 [64, 784]"),
        ("sample", math.nan, (1, 28, 28), "diverged", "sample returned images that are not all finite numbers"),
        ("decode", math.inf, (1, 28, 28), "diverged", "sample returned images that are not all finite numbers"),
    ],
)
def test_what_a_model_makes_is_looked_at_before_it_is_measured(
    method: str,
    value: float,
    shape: tuple[int, ...],
    kind: str,
    reason: str,
    trial: Trial,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Multiplied by 255 and made bytes, 2 is 254 and -1 is 1: images that nobody drew would have a distance."""

    def made(model: Model, given: Any, condition: Any = None) -> torch.Tensor:
        return torch.full((given if isinstance(given, int) else len(given), *shape), value)

    monkeypatch.setattr(VAE, method, made)
    events = run(trial, tmp_path)
    assert isinstance(events[-1], Failure)
    assert (events[-1].kind, events[-1].reason) == (kind, reason)
    assert not [event for event in events if isinstance(event, Epoch)]
