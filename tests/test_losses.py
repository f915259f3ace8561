"""Loss terms against closed forms and torch.distributions."""

from __future__ import annotations

import math

import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from bench.networks.losses import (
    bce_fake,
    bce_real,
    bernoulli_nll,
    bernoulli_nll_of,
    gaussian_kl,
    image_of,
    pixel_errors,
    squared_error,
)


def test_bernoulli_nll_of_an_even_chance_is_log_two_per_pixel() -> None:
    images = torch.rand(5, 1, 4, 3)
    assert bernoulli_nll(torch.zeros(5, 1, 4, 3), images).item() == torch.tensor(12 * math.log(2)).item()


def test_bernoulli_nll_of_probabilities_is_torchs_cross_entropy() -> None:
    """Of grey images and of black and white ones, and where a decoder is certain: a pixel that it has wrong is 100 nats."""
    probabilities = torch.rand(4, 1, 28, 28)
    probabilities[0, 0, 0], probabilities[1, 0, 0] = 0, 1
    for images in (torch.rand(4, 1, 28, 28), torch.rand(4, 1, 28, 28).round()):
        expected = torch.nn.functional.binary_cross_entropy(probabilities, images, reduction="none").flatten(1).sum(1)
        torch.testing.assert_close(bernoulli_nll_of(probabilities, images), expected)
    black, white = torch.zeros(1, 1, 2, 2), torch.ones(1, 1, 2, 2)
    assert bernoulli_nll_of(black, white).item() == bernoulli_nll_of(white, black).item() == 400
    assert bernoulli_nll_of(white, white).item() == bernoulli_nll_of(black, black).item() == 0


def test_bernoulli_nll_agrees_with_torch_distributions() -> None:
    logits, images = torch.randn(6, 3, 2, 2), torch.randint(0, 2, (6, 3, 2, 2)).float()
    expected = -Bernoulli(logits=logits).log_prob(images).flatten(1).sum(1).mean()
    torch.testing.assert_close(bernoulli_nll(logits, images), expected)


def test_kl_of_the_prior_is_zero() -> None:
    assert gaussian_kl(torch.zeros(4, 7), torch.zeros(4, 7)).item() == 0


def test_kl_of_a_shifted_gaussian_is_half_the_squared_shift() -> None:
    assert gaussian_kl(torch.full((3, 2), 3.0), torch.zeros(3, 2)).item() == 2 * 0.5 * 9


def test_kl_agrees_with_torch_distributions() -> None:
    mean, log_variance = torch.randn(8, 5), torch.randn(8, 5)
    expected = kl_divergence(Normal(mean, torch.exp(0.5 * log_variance)), Normal(0.0, 1.0)).sum(1).mean()
    torch.testing.assert_close(gaussian_kl(mean, log_variance), expected)


def test_squared_error_sums_pixels_and_averages_images() -> None:
    assert squared_error(torch.zeros(2, 1, 2, 2), torch.ones(2, 1, 2, 2)).item() == 4


def test_a_linear_output_is_an_image_in_minus_one_to_one_and_costs_its_squared_error_there() -> None:
    values = torch.tensor([[-1.0, 0.0, 1.0, 3.0]])
    assert image_of(values, "mse_linear").tolist() == [[0, 0.5, 1, 2]]
    assert pixel_errors(values, torch.zeros(1, 4), "mse_linear").tolist() == [[0, 1, 4, 16]]


def test_a_sigmoid_output_costs_nats_or_its_squared_error() -> None:
    values, images = torch.zeros(2, 3), torch.ones(2, 3)
    assert image_of(values, "bce").tolist() == image_of(values, "mse").tolist() == [[0.5] * 3] * 2
    assert math.isclose(pixel_errors(values, images, "bce", "mean").item(), math.log(2), rel_tol=1e-6)
    assert pixel_errors(values, images, "mse", "mean").item() == 0.25


def test_an_undecided_critic_costs_log_two_either_way() -> None:
    logits = torch.zeros(9, 1)
    assert math.isclose(bce_real(logits).item(), math.log(2), rel_tol=1e-6)
    assert math.isclose(bce_fake(logits).item(), math.log(2), rel_tol=1e-6)


def test_a_certain_critic_costs_its_logit_where_it_is_wrong() -> None:
    logits = torch.full((4, 1), 50.0)
    assert bce_real(logits).item() < 1e-20
    assert math.isclose(bce_fake(logits).item(), 50, rel_tol=1e-6)
