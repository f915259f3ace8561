"""How players learn: schedules in closed form, and averages of weights."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from bench.contract import Model, Unsupported, in_order
from bench.data import Data
from bench.models.dcgan import DCGAN
from bench.models.gan import GAN
from bench.models.vae import VAE
from bench.optimizers import Averages, Optimizers, PlayerOptions, TrainingOptions
from bench.run.worker import build
from bench.study.definition import Trial
from bench.training import mean_terms, train

OPTIONS = TrainingOptions(epochs=3, batch_size=16)  # 6 whole batches in 100 images


def rates(steps: int, **options: Any) -> list[float]:
    player = PlayerOptions(learning_rate=0.5, **options)
    return [player.rate(step, steps) for step in range(steps)]


def test_a_constant_rate_stays() -> None:
    assert rates(4) == [0.5] * 4


def test_a_linear_rate_falls_by_the_same_amount_at_every_step() -> None:
    assert rates(4, schedule="linear") == [0.5, 0.375, 0.25, 0.125]


def test_a_cosine_rate_is_half_in_the_middle_and_falls_slowly_at_both_ends() -> None:
    found = rates(4, schedule="cosine")
    expected = [0.5, 0.25 * (1 + math.sqrt(0.5)), 0.25, 0.25 * (1 - math.sqrt(0.5))]
    assert found == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("warmup", [4, 0.4])
def test_a_warm_up_rises_linearly_and_the_schedule_has_what_is_left(warmup: float) -> None:
    rising = [0.125, 0.25, 0.375, 0.5]
    assert rates(10, warmup=warmup) == pytest.approx([*rising, *[0.5] * 6])
    assert rates(10, warmup=warmup, schedule="linear") == pytest.approx(
        [*rising, *(0.5 * (6 - k) / 6 for k in range(6))]
    )
    assert rates(10, warmup=warmup, schedule="cosine")[7] == pytest.approx(0.25)  # half way of the six that are left


def test_a_warm_up_that_is_longer_than_the_training_does_not_end() -> None:
    assert rates(3, warmup=10, schedule="linear") == pytest.approx([0.05, 0.1, 0.15])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"warmup": -1.0}, "warmup = -1.0: must be a whole number of steps, or below 1 a share of them"),
        ({"warmup": 2.5}, "warmup = 2.5: must be a whole number"),
        ({"warmup": float("nan")}, "warmup = nan: must be"),
        ({"warmup": float("inf")}, "warmup = inf: must be"),
        ({"ema": 1.0}, "ema = 1.0: must be more than 0 and less than 1"),
        ({"ema": 0.0}, "ema = 0.0: must be more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        TrainingOptions.from_settings(options)
    with pytest.raises(Unsupported, match=message):
        TrainingOptions.from_settings({"critic": options}).of("critic")


def test_they_are_refused_before_anything_runs(digits: Data) -> None:
    for training in ({"ema": 2.0}, {"vae": {"ema": 2.0}}):
        settings = {"params": {}, "training": training, "data": {}, "evaluation": {}}
        with pytest.raises(Unsupported, match=r"ema = 2\.0"):
            build(Trial("vae", "vae", "digits", 0, settings), digits.spec)


def stepped(options: TrainingOptions, steps: int, total: int) -> tuple[nn.Linear, Optimizers]:
    """A weight that plain descent moves by the learning rate times (1, 2) at every step, from zero."""
    weight = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(weight.weight)
    owner = GAN.__new__(GAN)
    owner.players = lambda: {"only": weight}  # type: ignore[method-assign]
    optimizers = Optimizers(owner, options)
    for step in range(steps):
        optimizers.begin(step, total)
        optimizers.update("only", -weight(torch.tensor([[1.0, 2.0]])).sum())
        optimizers.averages.update(step + 1)
    return weight, optimizers


def test_every_step_descends_at_its_own_rate() -> None:
    options = TrainingOptions(optimizer="sgd", learning_rate=1.0, schedule="linear", warmup=2)
    weight, _ = stepped(options, steps=6, total=6)
    expected = 0.5 + 1 + (1 + 0.75 + 0.5 + 0.25)
    torch.testing.assert_close(weight.weight, torch.tensor([[expected, 2 * expected]]))


@pytest.mark.parametrize("steps", [1, 2, 7, 40])
@pytest.mark.parametrize("decay", [0.5, 0.9, 0.999])
def test_an_average_of_a_straight_path_in_closed_form(steps: int, decay: float) -> None:
    """Of w_i = i, with weights d^(k - i): k + 1 + d^k k / (1 - d^k) - 1 / (1 - d)."""
    options = TrainingOptions(optimizer="sgd", learning_rate=1.0, ema=decay)
    weight, optimizers = stepped(options, steps, total=steps)
    expected = steps + 1 + decay**steps * steps / (1 - decay**steps) - 1 / (1 - decay)
    expected_too = sum(decay ** (steps - i) * i for i in range(1, steps + 1)) / sum(decay**i for i in range(steps))
    assert expected == pytest.approx(expected_too, rel=1e-9)
    (average,) = optimizers.averages.by_player["only"]
    torch.testing.assert_close(average, torch.tensor([[expected, 2 * expected]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(weight.weight, torch.tensor([[1.0 * steps, 2.0 * steps]]))
    with optimizers.averages.shown():
        torch.testing.assert_close(weight.weight, torch.tensor([[expected, 2 * expected]]), rtol=1e-5, atol=0)
    torch.testing.assert_close(weight.weight, torch.tensor([[1.0 * steps, 2.0 * steps]]))


def test_weights_come_back_where_looking_at_the_averages_fails() -> None:
    parameter = nn.Parameter(torch.zeros(2))
    averages = Averages({"only": ([parameter], 0.5)})
    with torch.no_grad():
        parameter.add_(1)

    def look() -> None:
        with averages.shown():
            assert torch.equal(parameter, torch.zeros(2))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        look()
    assert torch.equal(parameter, torch.ones(2))


def test_nobody_has_an_average_unless_asked() -> None:
    assert stepped(TrainingOptions(), 3, 3)[1].averages.by_player == {}


def vae(data: Data) -> Model:
    torch.manual_seed(5)
    return VAE(data.spec, latent_dim=2, hidden_dims=[16])


def test_training_goes_on_with_the_weights_and_the_average_is_looked_at(few_digits: Data) -> None:
    plain, averaged = vae(few_digits), vae(few_digits)
    path: list[dict[str, torch.Tensor]] = []
    whole = plain.step

    def watched(batch: Any, update: Any) -> Any:
        terms = whole(batch, update)
        if plain.training:
            path.append({name: value.detach().clone() for name, value in plain.state_dict().items()})
        return terms

    plain.step = watched  # type: ignore[method-assign]
    expected = list(train(plain, few_digits, OPTIONS, seed=3))
    found = []
    for progress in train(averaged, few_digits, replace(OPTIONS, ema=0.8), seed=3):
        found.append(progress)
        assert progress.held_out == mean_terms(averaged, in_order(few_digits.held_out))  # of what the caller sees
    assert [p.train for p in found] == [p.train for p in expected]
    assert found[0].held_out == expected[0].held_out
    assert found[1].held_out != expected[1].held_out
    assert len(path) == 18
    shares = torch.tensor([0.8 ** (18 - i) for i in range(1, 19)], dtype=torch.float64)
    for name, value in averaged.state_dict().items():
        stacked = torch.stack([weights[name] for weights in path]).double()
        mean = torch.tensordot(shares / shares.sum(), stacked, dims=1)
        torch.testing.assert_close(value.double(), mean, rtol=1e-4, atol=1e-6)


def test_one_player_may_have_an_average_and_statistics_are_the_latest(few_digits: Data) -> None:
    ends = {}
    for name, own in {"plain": {}, "averaged": {"generator": {"ema": 0.9}}}.items():
        torch.manual_seed(5)
        ends[name] = DCGAN(few_digits.spec, latent_dim=4)
        list(train(ends[name], few_digits, replace(OPTIONS, players=own), seed=3))
    plain, averaged = ends["plain"].state_dict(), ends["averaged"].state_dict()
    parameters = {name for name, _ in ends["plain"].named_parameters()}
    for name, value in plain.items():
        moved = name in parameters and name.startswith("generator")
        assert torch.equal(value, averaged[name]) != moved, name
    assert any("running_mean" in name and name.startswith("generator") for name in plain)
