"""A dry run of what has never run: a few batches are timed, and that is said to be an estimate."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner

from bench.batches import DataOptions, prepare
from bench.checkpoint import Progress
from bench.cli import main
from bench.contract import HIDDEN, Unsupported
from bench.data import Data
from bench.paths import Paths
from bench.run import probe as probing
from bench.run.plan import Planner
from bench.run.probe import probe
from bench.study.catalogue import Catalogue
from bench.study.definition import Trial
from bench.study.file import build

PROGRESS = Progress(1, {}, {}, {}, 1.0, 1.0, 1.0)


def planner(known: Catalogue, **tables: Any) -> Planner:
    """Of a study of small VAEs."""
    base: dict[str, Any] = {
        "question": "?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "seeds": 2,
        "metrics": ["test_loss"],
        "params": {"hidden_dims": [8]},
        "training": {"epochs": 3, "batch_size": 16},
        "data": {"train_images": 100, "test_images": 50},
    }
    return Planner(build({**base, **tables}, Path("studies/x.toml"), known), known, Path("unused"))


def trials(planner: Planner) -> list[Trial]:
    return list(planner.study.grid(planner.catalogue, {}))


@pytest.fixture(autouse=True)
def _briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "BATCHES", 3)


def test_every_configuration_is_tried_once_and_leaves_no_trace(known: Catalogue, tmp_path: Path) -> None:
    own = planner(known, vary={"latent_dim": [2, 3]})
    threads = torch.get_num_threads()
    found = probe(trials(own), own, slots=1)
    assert found.tried == 2
    assert found.batches == 6
    assert set(found.seconds) == {trial.configuration for trial in trials(own)}
    assert all(seconds > 0 for seconds in found.seconds.values())
    assert torch.get_num_threads() == threads
    assert not any(tmp_path.iterdir())


def test_ten_times_the_epochs_take_ten_times_as_long(known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that a batch of any size turns by one second: 6 batches an epoch of 100 images, and 2 looks at 100 images."""
    own = planner(known)
    clock = iter(range(1000))
    monkeypatch.setattr("bench.run.probe.time.perf_counter", lambda: float(next(clock)))
    ended = [replace(PROGRESS, seconds=2.0 * steps) for steps in (1, 3)]
    monkeypatch.setattr(probing, "train", lambda *_, **__: iter([ended.pop(0)]) if len(ended) > 1 else iter(ended))
    monkeypatch.setattr(probing, "SECONDS", 100.0)
    monkeypatch.setattr(probing, "mean_terms", lambda *_: {})
    (seconds,) = probe(trials(own)[:1], own, slots=1).seconds.values()
    image = 1.0 / 50  # what the turn of the clock comes to for each of the fifty held-out images
    assert seconds == pytest.approx(3 * 6 * 2.0 + (3 + 1) * (50 + 50) * image)


def test_of_many_configurations_some_are_tried_at_even_distances(
    known: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = planner(known, vary={"latent_dim": list(range(2, 32))})
    tried: list[int] = []

    def timed(trial: Trial, data: Data) -> tuple[float, int]:
        tried.append(trial.varied["latent_dim"])
        return float(trial.varied["latent_dim"]), 1

    monkeypatch.setattr(probing, "_timed", timed)
    found = probe(trials(own), own, slots=1)
    assert tried == list(range(2, 32, 3))
    assert found.tried == 10
    assert len(found.seconds) == 30
    untried = next(trial for trial in trials(own) if trial.varied["latent_dim"] == 3)
    assert found.seconds[untried.configuration] == pytest.approx(sum(tried) / 10)


def test_what_cannot_be_tried_harms_nobody_else(known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    own = planner(known, vary={"latent_dim": [2, 3]})

    def timed(trial: Trial, data: Data) -> tuple[float, int]:
        if trial.varied["latent_dim"] == 2:
            raise Unsupported("no such thing")
        return 5.0, 1

    monkeypatch.setattr(probing, "_timed", timed)
    found = probe(trials(own), own, slots=1)
    assert (found.tried, found.reason, set(found.seconds.values())) == (1, "no such thing", {5.0})
    monkeypatch.setattr(probing, "_timed", lambda *_: 1 / 0)
    assert probe(trials(own), own, slots=1).tried == 0


@pytest.mark.parametrize(
    "options", [DataOptions(labelled=100), DataOptions(binarise="dynamic"), DataOptions(second_half=("3",))]
)
def test_a_few_batches_are_made_of_the_parts_that_whole_ones_are(digits: Data, options: DataOptions) -> None:
    source = prepare("digits", digits.spec, digits.train, digits.held_out, options)
    few = probing.few(source, 2, 50)
    assert len(few.train) == len(few.train_labels) == 100
    assert (few.grey is None) == (source.grey is None)
    assert [part.share for part in few.parts] == [part.share for part in source.parts]
    assert torch.cat([part.index for part in few.parts] or [torch.arange(100)]).tolist() == list(range(100))
    if options.labelled:
        assert (few.train.labels[few.parts[0].index] != HIDDEN).all()
        assert (few.train.labels[few.parts[1].index] == HIDDEN).all()
    if options.second_half:
        assert set(few.train_labels[few.parts[1].index].tolist()) == {3}


class TestDryRun:
    def test_of_what_has_never_run_is_an_estimate(self, inside: Paths) -> None:
        output = CliRunner().invoke(main, ["run", "study", "smoke", "--dry-run", "--workers", "2"]).output
        told = re.search(r"^about \d+:\d\d to train with 2 at a time: (.*)$", output, re.MULTILINE)
        assert told is not None
        assert told[1].startswith("an estimate from 6 batches of 2 configurations, without the measures at the end")
        assert not (inside.store / "checkpoints").exists()

    def test_of_a_search_shows_its_space(self, inside: Paths) -> None:
        text = (inside.studies / "smoke.toml").read_text().partition("[vary]")[0]
        space = "[vary]\nlatent_dim = [2, 3]\nlearning_rate = { low = 1e-4, high = 1e-2, log = true }\n"
        head, _, tail = text.partition("[params]")
        search = f"{head}trials = 7\n[confirm]\ntop = 2\nseeds = 3\n[params]{tail}{space}"
        (inside.studies / "search.toml").write_text(search)
        lines = CliRunner().invoke(main, ["run", "study", "search", "--dry-run", "--workers", "2"]).output.splitlines()
        assert lines[0] == (
            "search: a search over latent_dim, learning_rate, 7 configurations in all, then 6 trials to confirm the best"
        )
        assert lines[1].split() == ["latent_dim", "2,", "3"]
        assert lines[2].split(maxsplit=1) == ["learning_rate", "from 0.0001 to 0.01, log-uniform"]
        assert "the best 2 are trained again and measured on the test split, over 3 seeds" in lines[3]
        assert "given up before its end" in lines[4]
        assert "an estimate from 6 batches of 2 configurations" in lines[-1]
