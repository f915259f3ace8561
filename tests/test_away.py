"""A trial done with nothing of the driver's files, in this process: what travels is pickled on the way."""

from __future__ import annotations

import pickle
import tempfile
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import registry
from bench.checkpoint import CONTENTS
from bench.executors import Kept, Travels
from bench.run import away
from bench.run.away import Travelling, Trip, edition
from bench.run.events import Asked, Epoch, Finished, Saved, Started
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Trial
from bench.study.file import build
from bench.training import train

METRICS = ("test_loss", "fd_classifier", "copies", "brightness")
BRIGHTNESS = '''
"""How bright generated images are."""
from bench.contract import Generates
from bench.score import Score

VALUES = {"brightness": "neither"}
NEEDS = Generates
EXTRACTOR = None


def measure(model, data, context):
    return {"brightness": Score(float(context.generated.images.float().mean()))}
'''


@pytest.fixture(autouse=True)
def _a_checkpoint_after_every_epoch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And a folder of one's own for what is temporary."""
    defaults = train.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "checkpoint_seconds", 0.0)
    (tmp_path / "there").mkdir()
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path / "there"))


@pytest.fixture
def trial(known: Catalogue) -> Trial:
    tables: dict[str, Any] = {
        "question": "?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss"],
        "params": {"hidden_dims": [16]},
        "training": {"epochs": 4, "batch_size": 16},
        "data": {"train_images": 100, "test_images": 50},
        "evaluation": {"samples": 100},
    }
    return next(build(tables, Path("x.toml"), known).grid(known, {}))


@pytest.fixture
def work(tmp_path: Path) -> Travelling:
    """Work with a metric of the user's own."""
    (tmp_path / "home" / "metrics").mkdir(parents=True)
    (tmp_path / "home" / "metrics" / "brightness.py").write_text(BRIGHTNESS)
    return Travelling(Asked(METRICS), tmp_path / "data", tmp_path / "store", {}, guests=tmp_path / "home")


def travelled(work: Travelling, trial: Trial, done: dict[Any, int] | None = None) -> Generator[Any, None, None]:
    """The events of a trial elsewhere; ``done`` counts the errands."""
    call, errands = work.pack(trial, 1, gpu=False, at_once=2)
    call, errands = pickle.loads(pickle.dumps((call, list(errands))))

    def bring(errand: Callable[[], Any]) -> Any:
        if done is not None:
            done[errand] = done.get(errand, 0) + 1
        return pickle.loads(pickle.dumps(errand()))

    for event in call(trial, [partial(bring, errand) for errand in errands]):
        yield pickle.loads(pickle.dumps(event))


def losses(events: list[Any]) -> list[Mapping[str, float]]:
    return [event.progress.held_out for event in events if isinstance(event, Epoch)]


def test_it_comes_to_what_it_comes_to_at_home(work: Travelling, trial: Trial, tmp_path: Path) -> None:
    """To the last digit and byte, though its classifier, its data and the user's own metric were brought to it."""
    assert isinstance(work, Travels)
    away_from = replace(work, folder=tmp_path / "other")
    at_home, elsewhere = list(work(trial)), list(travelled(away_from, trial))
    told = [event for event in elsewhere if not isinstance(event, Kept)]
    assert [type(event) for event in told] == [type(event) for event in at_home] == [Started, *[Epoch] * 5, Finished]
    assert told[0] == at_home[0]
    assert losses(told) == losses(at_home)
    assert told[-1] == at_home[-1]
    assert all(told[-1].scores[name].value is not None for name in METRICS)
    assert "metrics/brightness.py" in told[-1].scores["brightness"].protocol["measured by"]
    assert len([event for event in elsewhere if isinstance(event, Kept)]) == 4  # after each epoch but the 0th
    made = {file.name: file.read_bytes() for file in (work.folder / "cache").glob("*.safetensors")}
    assert len(made) == 3  # the classifier, and its features of held-out and of training images
    assert made == {file.name: file.read_bytes() for file in (away_from.folder / "cache").glob("*.safetensors")}


def test_nothing_of_it_stays_behind(work: Travelling, trial: Trial, tmp_path: Path) -> None:
    running = travelled(work, trial)
    next(running)
    (place,) = (tmp_path / "there").iterdir()
    assert place.stat().st_mode & 0o777 == 0o700
    assert len(list(place.iterdir())) == 2  # its folder, and the lock of it
    running.close()
    assert list(place.iterdir()) == []
    assert registry.names("metrics") == sorted(registry._shipped("metrics"))
    (place / "killed").mkdir()
    (place / "killed.lock").touch()
    list(travelled(work, trial))
    assert list(place.iterdir()) == []


def test_trials_on_the_same_images_share_their_errands(work: Travelling, trial: Trial) -> None:
    """Whatever their seeds, their models, and how many labels these may see; so none of them makes what is brought to it."""
    call, one = replace(work, first=frozenset({trial.key})).pack(trial, 1, gpu=False, at_once=2)
    assert isinstance(call, Trip)
    assert call.work["first"] == frozenset()
    settings = {**trial.settings, "data": {**trial.settings["data"], "labelled": 20}, "params": {"hidden_dims": [8]}}
    assert set(work.pack(replace(trial, seed=5, settings=settings), 1, gpu=False, at_once=2)[1]) == set(one)
    fewer = {**trial.settings, "data": {**trial.settings["data"], "train_images": 90}}
    assert len(set(work.pack(replace(trial, settings=fewer), 1, gpu=False, at_once=2)[1]) - set(one)) == 1


def test_of_many_trials_checkpoints_come_less_often(work: Travelling, trial: Trial) -> None:
    """Of a thousand at once five a second, and not thirty-three: all of them come through one driver."""
    kept = {}
    for at_once in (2, 1000):
        call, errands = work.pack(trial, 1, gpu=False, at_once=at_once)
        kept[at_once] = [event for event in call(trial, [*errands]) if isinstance(event, Kept)]
        assert isinstance(call, Trip)
        assert call.work["checkpoint_seconds"] == {2: None, 1000: 200.0}[at_once]
    assert [len(each) for each in kept.values()] == [4, 1]  # where one is due after every epoch, and at the end


@pytest.mark.parametrize("epoch", [1, 3])
def test_what_it_has_kept_is_gone_on_from_elsewhere(work: Travelling, trial: Trial, tmp_path: Path, epoch: int) -> None:
    """A checkpoint is told of when it is written, and not an epoch later: lost after it, no epoch is trained again."""
    expected = list(replace(work, folder=tmp_path / "undisturbed")(trial))
    for event in travelled(work, trial):
        if isinstance(event, Kept):
            assert work.receive(trial, event) is None
            assert {file.name for file in work.checkpoint(trial).iterdir()} == set(event.files)
            if f"state-{epoch}.pt" in event.files:
                break
    rest = list(travelled(work, trial))
    epochs = [event.progress for event in rest if isinstance(event, Epoch)]
    assert [each.past for each in epochs] == [True] * (epoch + 1) + [False] * (4 - epoch)
    assert rest[-1] == expected[-1]


def test_what_cannot_be_kept_is_the_trials_end(work: Travelling, trial: Trial) -> None:
    work.checkpoint(trial).parent.mkdir(parents=True)
    work.checkpoint(trial).write_text("in the way")
    failed = work.receive(trial, Kept({CONTENTS: b"{}"}))
    assert failed is not None
    assert failed.kind == "error"
    assert failed.reason.startswith("its checkpoint: ")


def test_a_trained_model_is_measured_again_elsewhere(work: Travelling, trial: Trial, tmp_path: Path) -> None:
    finished = list(work(trial))[-1]
    assert isinstance(finished, Finished)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(finished.files["model.safetensors"])
    again = replace(work, again={trial.key: Saved(weights, "", Asked(("fd_classifier",), ("interpolate", "classify")))})
    (event,) = travelled(again, trial)
    assert event.scores == {"fd_classifier": finished.scores["fd_classifier"]}
    assert event.applied == {"interpolate": "", "classify": "VAE does not classify"}
    assert list(event.files) == ["final/applied_interpolate.png"]
    weights.unlink()
    (event,) = travelled(again, trial)
    assert event == Failure(
        "data", "model.safetensors is gone, or the run came here without it: train it again with --rerun"
    )


def test_a_node_with_another_suite_trains_nothing(
    work: Travelling, trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, _ = work.pack(trial, 1, gpu=False, at_once=2)
    monkeypatch.setattr(away, "edition", lambda: "bench 0.0.9 (0123abcd) with torch 1.0")
    assert list(call(trial, [])) == [
        Failure(
            "bad configuration",
            f"this node has bench 0.0.9 (0123abcd) with torch 1.0, and the driver {edition()}: install the same",
        )
    ]
    assert f"torch {torch.__version__.partition('+')[0]}" in edition()


def test_data_that_cannot_be_had_is_said_where_it_is_asked_for(work: Travelling, trial: Trial, tmp_path: Path) -> None:
    (event,) = travelled(work, replace(trial, dataset=str(tmp_path / "gone.npz")))
    assert isinstance(event, Failure)
    assert event.kind == "data"
    assert "gone.npz" in event.reason
