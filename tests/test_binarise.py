"""Grey images made black and white: once, or anew in every batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from bench.augmentation import Augmentation, binarised
from bench.batches import DataOptions, prepare
from bench.checkpoint import Progress
from bench.contract import ImageSpec, Split
from bench.data import Data
from bench.measure.context import Context, EvaluationOptions
from bench.measure.evaluation import evaluate
from bench.models.vae import VAE
from bench.networks.losses import bernoulli_nll
from bench.optimizers import TrainingOptions
from bench.training import train

OPTIONS = TrainingOptions(epochs=3, batch_size=16)
MODES: tuple[Literal["static", "dynamic"], ...] = ("static", "dynamic")


def few(digits: Data, binarise: Literal["static", "dynamic"] | None, **options: int) -> Data:
    sizes = {"train_images": 100, "test_images": 50} | options
    return prepare("digits", digits.spec, digits.train, digits.held_out, DataOptions(**sizes, binarise=binarise))  # type: ignore[arg-type]


def trained(data: Data, folder: Path | None = None, stop_after: int = 9) -> tuple[VAE, list[Progress]]:
    torch.manual_seed(5)
    model = VAE(data.spec, latent_dim=2, hidden_dims=[16])
    running = train(model, data, OPTIONS, seed=3, folder=folder, checkpoint_seconds=0)
    found = [progress for progress, _ in zip(running, range(stop_after + 1), strict=False)]
    running.close()
    return model, found


def test_a_pixel_is_white_as_often_as_its_grey_value_says() -> None:
    grey = torch.arange(256).view(1, 1, 16, 16).expand(4000, 1, 16, 16).to(torch.uint8)
    split = Split(grey, torch.full((4000,), -1))
    data = prepare("greys", ImageSpec(1, 16, 16), split, split, DataOptions(binarise="static"))
    for found in (data.train, data.held_out):
        assert found.images.unique().tolist() == [0, 255]
        share = found.images.double().div(255).mean(dim=0).flatten()
        expected = torch.arange(256).double() / 255
        assert share[0] == 0
        assert share[255] == 1
        assert ((share - expected).abs() <= 5 * (expected * (1 - expected) / 4000).sqrt()).all()
    assert not torch.equal(data.train.images, data.held_out.images)  # the same greys, draws of their own


@pytest.mark.parametrize("binarise", MODES)
def test_held_out_images_are_the_same_whatever_is_trained_on(
    binarise: Literal["static", "dynamic"], digits: Data
) -> None:
    data, more = few(digits, binarise), few(digits, "static", train_images=200)
    assert torch.equal(data.held_out.images, more.held_out.images)
    assert torch.equal(data.held_out.labels, few(digits, None).held_out.labels)
    assert data.binarise == binarise


def test_training_images_are_drawn_once_or_anew(digits: Data) -> None:
    grey, static, dynamic = few(digits, None), few(digits, "static"), few(digits, "dynamic")
    assert static.grey is None
    assert static.augment is None
    assert static.learnt is static.train
    assert torch.equal(static.train.images, dynamic.train.images)  # what measures sees one draw of either
    assert torch.equal(dynamic.learnt.images, grey.train.images)
    assert dynamic.augment == Augmentation(binarise=True)
    moved = dynamic.to(torch.device("cpu"))
    assert moved.grey is not None
    assert torch.equal(moved.learnt.images, grey.train.images)


def test_draws_average_to_the_loss_of_the_grey_image(digits: Data) -> None:
    """Since -log p(x) is linear in x under Bernoulli pixels."""
    images = few(digits, None).train.images[:4].float() / 255
    logits = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    draws = torch.Generator().manual_seed(0)
    losses = torch.stack([bernoulli_nll(logits, binarised(images, draws)) for _ in range(2000)]).double()
    assert abs(float(losses.mean() - bernoulli_nll(logits, images))) < 5 * float(losses.std()) / 2000**0.5


def test_noise_comes_before_the_draw() -> None:
    images = Augmentation(noise=0.2, binarise=True)(torch.full((50, 1, 9, 9), 0.5), torch.Generator().manual_seed(0))
    assert images.unique().tolist() == [0, 1]


@pytest.mark.parametrize("binarise", MODES)
def test_a_killed_trial_goes_on_bit_equal(binarise: Literal["static", "dynamic"], digits: Data, tmp_path: Path) -> None:
    data = few(digits, binarise)
    undisturbed, expected = trained(data)
    trained(data, tmp_path, stop_after=2)
    resumed, found = trained(data, tmp_path)
    assert [(p.train, p.held_out) for p in found] == [(p.train, p.held_out) for p in expected]
    for name, value in undisturbed.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name])


def test_the_two_train_differently_and_are_measured_on_the_same(digits: Data) -> None:
    (_, static), (_, dynamic) = trained(few(digits, "static")), trained(few(digits, "dynamic"))
    assert static[0].held_out == dynamic[0].held_out  # the same untrained model on the same images
    assert static[1].train != dynamic[1].train


@pytest.mark.parametrize("binarise", [None, *MODES])
def test_the_protocol_says_that_images_were_binarised(
    binarise: Literal["static", "dynamic"] | None, digits: Data, tmp_path: Path
) -> None:
    data = few(digits, binarise)
    model = VAE(data.spec, latent_dim=2, hidden_dims=[16])
    options = EvaluationOptions(samples=20)
    scores = evaluate(model, data, ["elbo", "test_loss"], options, cache=tmp_path, data_dir=tmp_path)
    for score in scores.values():
        assert score.protocol.get("binarise") == binarise


def test_generated_images_are_black_and_white_too(digits: Data, tmp_path: Path) -> None:
    data = few(digits, "dynamic")
    model = VAE(data.spec, latent_dim=2, hidden_dims=[16])
    options = EvaluationOptions(samples=1000)
    drawn = Context(model, data, options, tmp_path, tmp_path).generated
    assert drawn.images.unique().tolist() == [0, 255]
    again = Context(model, data, options, tmp_path, tmp_path).generated
    assert torch.equal(drawn.images, again.images)
    grey = Context(model, replace(data, binarise=""), options, tmp_path, tmp_path).generated
    whole = grey.images.double().mean() / 255  # about one half, of a model that has learnt nothing
    assert abs(float(drawn.images.double().mean() / 255 - whole)) < 5 * 0.5 / drawn.images.numel() ** 0.5
