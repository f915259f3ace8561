"""Ranges beside types, and sizes against the memory that there is."""

from __future__ import annotations

import dataclasses
import json
import os
import resource
from pathlib import Path
from typing import Annotated, Any

import pytest
import torch
from torch import nn

import bench.run.room as room
from bench import memory
from bench.contract import ImageSpec, Unsupported
from bench.memory import available, in_words
from bench.models.gan import GAN
from bench.models.vae import VAE
from bench.optimizers import TrainingOptions
from bench.ranges import LARGEST, Within
from bench.run.events import Asked
from bench.run.plan import Planner
from bench.run.room import check_room
from bench.run.worker import Work
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, StudyError, Trial
from bench.study.file import build
from bench.study.types import convert, describe, fits

SPEC = ImageSpec(1, 4, 4)
TABLES: dict[str, Any] = {
    "question": "?",
    "source": "none",
    "datasets": ["digits"],
    "metrics": ["test_loss"],
}


@pytest.mark.parametrize(
    ("within", "inside", "outside", "words"),
    [
        (Within(least=1), (1, 2, LARGEST), (0, -1, LARGEST + 1, float("nan")), "of at least 1"),
        (Within(above=0), (1e-300, 1.0), (0.0, -1.0, float("inf"), float("nan")), "above 0"),
        (Within(least=0, below=1), (0, 0.999), (1, -0.1), "of at least 0 and below 1"),
        (Within(least=0, most=1), (0, 1), (-1e-9, 1.1), "from 0 to 1"),
        (Within(most=3), (3, -9), (4,), "of at most 3"),
    ],
)
def test_a_range_holds_its_numbers_and_says_which(
    within: Within, inside: tuple[float, ...], outside: tuple[float, ...], words: str
) -> None:
    assert all(map(within.holds, inside))
    assert not any(map(within.holds, outside))
    assert str(within) == words


def test_a_type_with_a_range_is_that_type_within_it() -> None:
    rate = Annotated[float, Within(above=0)]
    assert fits(1, rate)
    assert convert(1, rate) == 1.0
    assert isinstance(convert(1, rate), float)
    assert fits(None, rate | None)
    assert not fits(0, rate | None)
    assert not fits("x", rate)
    assert not fits(True, rate)
    assert convert([1, 0], tuple[rate, rate]) == [1.0, 0.0]
    assert describe(rate | None) == "a number above 0"
    assert not fits(10**400, float)
    assert not fits(float("nan"), float)


@pytest.mark.parametrize("section", ["training", "data", "evaluation"])
def test_every_default_is_in_its_range(known: Catalogue, section: str) -> None:
    for name, option in known.options[section].items():
        assert fits(option.default, option.type), name
    for model in known.params:
        for name, value in known.training_defaults[model].items():
            assert fits(value, known.options["training"][name].type), f"{model}: {name}"


def trial_of(known: Catalogue, model: str, **settings: Any) -> Trial:
    study = build({**TABLES, "model": model}, Path("x.toml"), known, given=settings)
    return next(study.grid(known, {}))


def test_a_trial_takes_its_weights_gradients_and_moments(known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    model = VAE(SPEC, latent_dim=1, hidden_dims=[3])
    count = sum(parameter.numel() for parameter in model.parameters())
    assert count == (16 * 3 + 3) + (3 * 2 + 2) + (1 * 3 + 3) + (3 * 16 + 16)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    for settings, numbers in (
        ({}, 4),  # weight, gradient and Adam's two moments
        ({"optimizer": "rmsprop"}, 3),
        ({"optimizer": "sgd"}, 2),
        ({"ema": 0.9}, 5),
        ({"vae": {"optimizer": "sgd"}}, 2),
    ):
        trial = trial_of(known, "vae", samples=1, likelihood_images=1, **settings)
        monkeypatch.setattr(room, "available", lambda numbers=numbers: 4 * numbers * count)
        check_room(trial, model, SPEC)
        monkeypatch.setattr(room, "available", lambda numbers=numbers: 4 * numbers * count - 1)
        with pytest.raises(Unsupported, match=f"{count} parameters take .* to be trained, and there are .*: make it"):
            check_room(trial, model, SPEC)


def test_players_count_each_by_its_own_optimiser(known: Catalogue) -> None:
    model = GAN(SPEC, latent_dim=1, generator_dims=[2], discriminator_dims=[2])
    players = {name: sum(each.numel() for each in player.parameters()) for name, player in model.players().items()}
    trial = trial_of(known, "gan", discriminator={"optimizer": "sgd"})
    options = TrainingOptions.from_settings(trial.settings["training"])
    assert room._training(model, options) == 4 * (4 * players["generator"] + 2 * players["discriminator"])


def test_generated_images_must_have_room(known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    model = VAE(SPEC)
    monkeypatch.setattr(room, "available", lambda: 10**6)
    for name in ("samples", "likelihood_images"):
        others = {"samples": 1, "likelihood_images": 1}
        check_room(trial_of(known, "vae", **others | {name: 10**6 // 48}), model, SPEC)
        with pytest.raises(Unsupported, match=f"{name} = 20834: so many images take"):
            check_room(trial_of(known, "vae", **others | {name: 10**6 // 48 + 1}), model, SPEC)


def test_what_a_container_has_left_counts(tmp_path: Path) -> None:
    whole, limit, used = tmp_path / "meminfo", tmp_path / "max", tmp_path / "current"
    everything = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert available(whole, [(limit, used)]) == everything  # neither is there, as on another system
    whole.write_text("MemTotal: 9 kB\nMemAvailable:       5 kB\n")
    assert available(whole, [(limit, used)]) == 5 * 1024
    limit.write_text("4000\n")
    used.write_text("1000\n")
    assert available(whole, [(limit, used)]) == 3000
    used.write_text("5000\n")
    assert available(whole, [(limit, used)]) == 0
    limit.write_text("max\n")
    assert available(whole, [(limit, used)]) == 5 * 1024


def test_no_more_memory_is_there_than_a_process_may_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As `ulimit -v` says, which clusters set."""
    (tmp_path / "statm").write_text("3 2 1 0 0 0 0\n")
    monkeypatch.setattr(memory, "OWN", tmp_path / "statm")
    monkeypatch.setattr(resource, "getrlimit", lambda which: (3 * os.sysconf("SC_PAGE_SIZE") + 500, 10**6))
    assert available() == 500
    monkeypatch.setattr(resource, "getrlimit", lambda which: (2, 2))
    assert available() == 0


def test_sizes_are_told_as_people_say_them() -> None:
    told = {12: "12 bytes", 1024: "1 KiB", 1.5 * 2**20: "1.5 MiB", 330e9: "307 GiB", 2**50: "1,024 TiB"}
    assert {size: in_words(size) for size in told} == told


@dataclasses.dataclass(frozen=True)
class Greedy(Work):
    """A trial that takes more than there is."""

    def _train(self, trial: Trial) -> Any:
        nn.Linear(2**29, 2**29)  # 2 ** 60 bytes: torch asks, and is refused
        yield


def test_a_processor_out_of_memory_is_that_and_tried_again(known: Catalogue, tmp_path: Path) -> None:
    work = Greedy(asked=Asked(), data_dir=tmp_path, folder=tmp_path, again={})
    (failure,) = work(trial_of(known, "vae"))
    assert isinstance(failure, Failure)
    assert failure.kind == "out of memory"
    assert failure.retriable


def test_a_trial_that_mlflow_would_cut_is_refused(known: Catalogue, tmp_path: Path) -> None:
    planner = Planner(build({**TABLES, "model": "vae"}, Path("x.toml"), known), known, tmp_path)
    trial = trial_of(known, "vae")
    room_left = 8000 - len(json.dumps(trial.as_dict()))
    longest = dataclasses.replace(trial, dataset=trial.dataset + "x" * room_left)
    assert planner.check_model(longest, SPEC)
    with pytest.raises(StudyError, match="its settings take 8,001 characters, and 8,000 are remembered"):
        planner.check_model(dataclasses.replace(longest, dataset=longest.dataset + "x"), SPEC)
