"""The Gaussian that is fitted to codes is theirs, and what is drawn from it is of it."""

from __future__ import annotations

import pytest
import torch

from bench.checks import fixtures
from bench.contract import eval_mode, in_order
from bench.models.acai import ACAI
from bench.models.ae import AE
from bench.networks.fitted import MOST, FittedGaussian
from bench.optimizers import TrainingOptions
from bench.training import train


def test_it_is_the_standard_one_until_it_is_fitted() -> None:
    prior = FittedGaussian((3, 2, 2))
    torch.manual_seed(0)
    drawn = prior.draw(5)
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, torch.randn(5, 12).view(5, 3, 2, 2))


@pytest.mark.parametrize("units", [3, 40])
def test_it_has_the_moments_of_all_codes_in_whatever_batches_they_come(units: int) -> None:
    """Those of 60 codes, and of 30 codes of 40 numbers, which leave ten directions without any spread."""
    generator = torch.Generator().manual_seed(0)
    codes = torch.randn(60 if units == 3 else 30, units, generator=generator) @ torch.randn(
        units, units, generator=generator
    )
    codes = codes + 100  # of which single precision would leave little
    priors = [FittedGaussian((units,)) for _ in range(2)]
    for prior, sizes in zip(priors, ([len(codes)], [1, 2, len(codes) - 3]), strict=True):
        prior.fit(iter(codes.split(sizes)))
        scale = codes.var(0).max()
        torch.testing.assert_close(prior.mean, codes.mean(0))
        torch.testing.assert_close(prior.root, prior.root.T)
        torch.testing.assert_close(prior.root @ prior.root, codes.T.cov(correction=0), rtol=0, atol=float(1e-5 * scale))
    torch.testing.assert_close(priors[0].root, priors[1].root, rtol=1e-4, atol=1e-4)


def test_what_is_drawn_has_its_mean_and_covariance() -> None:
    torch.manual_seed(0)
    prior = FittedGaussian((3,))
    prior.fit([torch.randn(500, 3) @ torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, -0.5], [0.0, 0.0, 0.1]]) + 2])
    drawn = prior.draw(200_000)
    torch.testing.assert_close(drawn.mean(0), prior.mean, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.T.cov(), prior.root @ prior.root, rtol=0, atol=0.05)


def test_many_units_are_taken_each_by_itself() -> None:
    prior, codes = FittedGaussian((MOST + 1,)), torch.randn(50, MOST + 1) * 3 - 1
    prior.fit([codes])
    torch.testing.assert_close(prior.root, codes.std(0, correction=0))
    assert prior.draw(7).shape == (7, MOST + 1)


@pytest.mark.parametrize("ema", [None, 0.5])
@pytest.mark.parametrize("kind", [AE, ACAI])
def test_an_autoencoder_draws_from_where_the_codes_of_its_training_images_are(
    kind: type[AE | ACAI], ema: float | None
) -> None:
    """Of the weights as they are at the end, averaged where an average is kept, and of all images, though the codes moved."""
    data = fixtures.digits()
    torch.manual_seed(0)
    model = kind(data.spec, latent_dim=2) if kind is AE else kind(data.spec, blocks=2, width=4)
    options = TrainingOptions(epochs=2, batch_size=32, learning_rate=0.01, ema=ema)
    moved = [model.prior.mean.clone() for _ in train(model, data, options, seed=0)]
    with eval_mode(model):
        codes = torch.cat([model.encode(batch.images) for batch in in_order(data.train)]).flatten(1)
    torch.testing.assert_close(model.prior.mean, codes.mean(0), rtol=1e-4, atol=1e-4)
    covariance = codes.T.cov(correction=0)
    torch.testing.assert_close(model.prior.root @ model.prior.root, covariance, rtol=1e-3, atol=1e-3)
    assert not torch.equal(moved[0], moved[2])
