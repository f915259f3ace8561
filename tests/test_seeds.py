"""Seeds: one for every purpose, the same for ever."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor

from bench.data import Data
from bench.optimizers import TrainingOptions
from bench.run.worker import build, load_data
from bench.seeds import Purpose, derived
from bench.study.definition import Trial
from bench.training import train

PURPOSES = get_args(Purpose)


def draws(seed: int) -> Tensor:
    return torch.randn(4000, generator=torch.Generator().manual_seed(seed))


def trial(seed: int) -> Trial:
    settings: dict[str, dict[str, object]] = {section: {} for section in ("training", "data", "evaluation")}
    settings["params"] = {"latent_dim": 2, "hidden_dims": [8]}
    return Trial("vae", "vae", "digits", seed, settings)


def test_a_seed_is_the_beginning_of_a_digest() -> None:
    assert derived(7, "order") == 0x0FC89F8AE19394B4 >> 1  # printf 'order 7' | sha256sum
    assert all(0 <= derived(seed, purpose) < 2**63 for seed in range(100) for purpose in PURPOSES)


def test_no_two_purposes_or_seeds_share_a_stream() -> None:
    seeds = [derived(seed, purpose) for seed in range(1000) for purpose in PURPOSES]
    assert len(set(seeds)) == len(seeds)
    for one, other in combinations((draws(derived(0, purpose)) for purpose in PURPOSES), 2):
        correlation = float(torch.corrcoef(torch.stack((one, other)))[0, 1])
        assert abs(correlation) < 5 / 4000**0.5  # five standard deviations of independent draws


def test_weights_belong_to_the_seed(digits: Data) -> None:
    one, same, other = (build(trial(seed), digits.spec).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not any(torch.equal(one[name], other[name]) for name in one)


def test_the_labels_that_a_trial_keeps_belong_to_its_seed() -> None:
    def labels(seed: int) -> Tensor:
        one = trial(seed)
        return load_data(replace(one, settings={**one.settings, "data": {"labelled": 50}}), Path("unused")).train.labels

    assert torch.equal(labels(3), labels(3))
    assert not torch.equal(labels(3), labels(4))


def test_what_is_drawn_in_training_is_the_seeds_own_noise(few_digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    randn_like = torch.randn_like

    def remembered(like: Tensor) -> Tensor:
        seen.append(randn_like(like))
        return seen[-1]

    model = build(trial(3), few_digits.spec)
    monkeypatch.setattr(torch, "randn_like", remembered)
    list(train(model, few_digits, TrainingOptions(epochs=1, batch_size=25), seed=3))
    drawn = torch.cat([each for each in seen if len(each) == 25])  # held-out images come fifty at a time
    torch.manual_seed(derived(3, "noise"))
    assert torch.equal(drawn, torch.cat([torch.randn(25, 2) for _ in range(4)]))
