"""The Gaussian that is fitted to codes is the one that they are drawn from, and what is drawn from it is of it."""

from __future__ import annotations

import pytest
import torch

from bench.contract import Batch, ImageSpec
from bench.models.acai import ACAI
from bench.models.ae import AE
from bench.networks.fitted import MOMENTUM, FittedGaussian
from bench.training import no_update

SMALL = ImageSpec(1, 8, 8)


def test_it_is_the_standard_one_until_it_has_seen_any() -> None:
    prior = FittedGaussian((3, 2, 2))
    torch.manual_seed(0)
    drawn = prior.draw(5)
    torch.manual_seed(0)
    torch.testing.assert_close(drawn, torch.randn(5, 12).view(5, 3, 2, 2), rtol=1e-5, atol=1e-5)


def test_a_few_batches_are_as_one() -> None:
    """Until batches begin to be forgotten, mean and covariance are those of all codes: numpy's."""
    codes = torch.randn(12, 8, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2.0, 0.5]) + 4
    prior = FittedGaussian((3,))
    for batch in codes:
        prior.observe(batch)
    together = codes.flatten(0, 1)
    torch.testing.assert_close(prior.mean, together.mean(0))
    torch.testing.assert_close(prior.covariance, together.T.cov(correction=0))


def test_of_many_the_last_weigh_most() -> None:
    prior = FittedGaussian((1,))
    for _ in range(150):
        prior.observe(torch.zeros(4, 1))
    for _ in range(100):
        prior.observe(torch.ones(4, 1))
    old = (1 - MOMENTUM) ** 100
    assert prior.mean.item() == pytest.approx(1 - old, rel=1e-4)
    assert prior.covariance.item() == pytest.approx(old * (1 - old), rel=1e-4)  # of zeros and ones in those shares


@pytest.mark.parametrize("units", [2, 40])
def test_what_is_drawn_has_its_mean_and_covariance(units: int) -> None:
    """Of 40 numbers a batch of 16 tells 15 directions: the others have next to no spread, and it is drawn from all the same."""
    torch.manual_seed(0)
    prior = FittedGaussian((units,))
    prior.observe(torch.randn(16, units) @ torch.randn(units, units) / 3 + 2)
    drawn = prior.draw(200_000)
    scale = prior.covariance.diagonal().max()
    torch.testing.assert_close(drawn.mean(0), prior.mean, rtol=0, atol=float(0.02 * scale.sqrt()))
    torch.testing.assert_close(drawn.T.cov(), prior.covariance, rtol=0, atol=float(0.03 * scale))


@pytest.mark.parametrize("kind", [AE, ACAI])
def test_an_autoencoder_draws_from_where_its_codes_are(kind: type[AE | ACAI]) -> None:
    torch.manual_seed(0)
    model = kind(SMALL, latent_dim=2) if kind is AE else kind(SMALL, blocks=2)
    images = torch.rand(32, 1, 8, 8)
    model.step(Batch(images, torch.zeros(32, dtype=torch.int64)), no_update)
    codes, drawn = model.encode(images).detach().flatten(1), model.codes(50_000).flatten(1)
    spread = codes.std(0, correction=0)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), rtol=0, atol=float(0.03 * spread.max()))
    torch.testing.assert_close(drawn.std(0), spread, rtol=0.05, atol=float(0.01 * spread.max()))
    model.eval()
    model.step(Batch(torch.zeros_like(images), torch.zeros(32, dtype=torch.int64)), no_update)
    assert int(model.prior.batches) == 1
