"""Every metric on models whose answer is known: replayed digits, damaged ones, and codes made by hand."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import final

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from bench.batches import DataOptions, prepare
from bench.contract import (
    HIDDEN,
    Autoencodes,
    Batch,
    Conditional,
    Generates,
    Infers,
    Model,
    Split,
    Update,
    eval_mode,
    in_order,
)
from bench.data import Data
from bench.datasets import lines
from bench.features import classifier
from bench.measure.comparisons import at_infinity
from bench.measure.context import Compared, EvaluationOptions
from bench.measure.distances import kernel_distances
from bench.measure.evaluation import evaluate
from bench.measure.interpolation import nearest_line
from bench.measure.likelihood import evidence_bounds, importance_weighted_bounds, log_weights
from bench.metrics.ssim import similarity
from bench.models.cvae import CVAE
from bench.models.gan import GAN
from bench.models.vae import VAE
from bench.models.wgan import WGAN
from bench.score import Score
from bench.study.catalogue import Catalogue


class Known(Model):
    """What a model is made of, with a parameter for its device."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def players(self) -> dict[str, nn.Module]:
        return {"known": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        return {"loss": self.nothing.sum()}


@final
class Replays(Known, Generates):
    """Generates the images it was given, in their order."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images
        self.shown = 0

    def codes(self, n: int) -> Tensor:
        self.shown += n
        return torch.arange(self.shown - n, self.shown)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.images[z]


@final
class RepeatsByClass(Known, Generates, Conditional):
    """Generates real images of the class it is asked for, or of the next one where it is ``wrong`` about those of ``of``."""

    condition = "labels"

    def __init__(self, data: Data, *, wrong: int, of: Container[int] = range(10)) -> None:
        super().__init__()
        self.of = of
        self.of_class = [data.train.images[data.train.labels == label].float() / 255 for label in range(10)]
        self.wrong = wrong

    def codes(self, n: int) -> Tensor:
        return torch.arange(n) // 10

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        assert condition is not None
        shown = [(y + self.wrong) % 10 if y in self.of else y for y in condition.tolist()]
        return torch.stack([self.of_class[y][i] for i, y in zip(z, shown, strict=True)])


@final
class Coded(Known, Generates, Infers):
    """Decodes everything to a grey of one half; of its codes N(mean, exp(log_variance)), ``telling`` units see the image."""

    def __init__(self, *, units: int, telling: int = 0, mean: float = 0.0, log_variance: float = 0.0) -> None:
        super().__init__()
        self.units, self.telling, self.mean, self.log_variance = units, telling, mean, log_variance

    def codes(self, n: int) -> Tensor:
        return torch.zeros(n, self.units)

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean = torch.full((len(images), self.units), self.mean)
        mean[:, : self.telling] += images.flatten(1)[:, 200 : 200 + self.telling] * 2
        return mean, torch.full_like(mean, self.log_variance)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return torch.full((len(z), 1, 28, 28), 0.5)


@final
class Transparent(Known, Generates, Autoencodes):
    """The image is its own code."""

    def codes(self, n: int) -> Tensor:
        return torch.zeros(n, 1, 28, 28)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return images

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return z


@final
class Glaring(Known, Autoencodes):
    """A linear output that overshoots: every image has twice the contrast that there is."""

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return images

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return self.unbounded(z).clamp(0, 1)

    def unbounded(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return 2 * z


@final
class Turns(Known, Autoencodes):
    """The code of a line is its angle, so what lies between two is a line that turns."""

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return nearest_line(images)[1].view(-1, 1)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return lines.draw(z[:, 0])


def taken(model: Model, data: Data, cache: Path, *metrics: str, samples: int = 350) -> Mapping[str, Score]:
    return evaluate(model, data, metrics, EvaluationOptions(samples=samples), cache=cache, data_dir=cache)


def values(images: Tensor, data: Data, cache: Path, *metrics: str) -> list[float]:
    """The metrics of a generator of these images."""
    scores = taken(Replays(images), data, cache, *metrics, samples=len(images))
    found = [scores[metric].value for metric in metrics]
    assert None not in found, {name: score.reason for name, score in scores.items()}
    return [value for value in found if value is not None]


def ascending(numbers: list[float]) -> bool:
    return all(earlier < later for earlier, later in pairwise(numbers))


@pytest.fixture(scope="module")
def real(digits: Data) -> Tensor:
    """700 training digits."""
    return digits.train.images[:700].float() / 255


def test_what_a_model_cannot_do_is_blank_and_says_so(few_digits: Data, cache: Path, known: Catalogue) -> None:
    """A model that learns, and can do nothing besides, has its loss and no other value."""
    scores = taken(Known(), few_digits, cache, *known.metrics, samples=50)
    assert {name for name, score in scores.items() if score.value is not None} == {"test_loss"}
    assert scores["fd_classifier"].reason == "Known does not generate images"
    assert scores["psnr"].reason == "Known is not something that autoencodes"
    assert not any("Error" in score.reason for score in scores.values())


def test_distances_grow_with_noise_blur_and_dropped_classes(digits: Data, cache: Path, real: Tensor) -> None:
    """Training against test images is the least; the classifier has seen them, and is still the nearest there is."""
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    labels = digits.train.labels[:700]
    damage = {
        "noise": [(real + amount * noise).clamp(0, 1) for amount in (0, 0.15, 0.3, 0.6)],
        "blur": [F.avg_pool2d(real, size, 1, size // 2) for size in (1, 5, 9, 13)],
        "dropped classes": [real[labels < kept] for kept in (10, 7, 4, 2)],
    }
    for name, series in damage.items():
        measured = [values(images, digits, cache, "fd_classifier", "kid_classifier") for images in series]
        for distances in zip(*measured, strict=True):
            assert ascending(list(distances)), (name, distances)


def test_precision_falls_under_noise_and_recall_under_dropped_classes(digits: Data, cache: Path, real: Tensor) -> None:
    metrics = "precision", "density", "recall", "coverage"
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    noised = [values((real + amount * noise).clamp(0, 1), digits, cache, *metrics) for amount in (0, 0.3, 0.6)]
    labels = digits.train.labels[:700]
    dropped = [values(real[labels < kept], digits, cache, *metrics) for kept in (10, 6, 3)]
    precision, density, _, _ = zip(*noised, strict=True)
    assert ascending([-value for value in precision])
    assert ascending([-value for value in density])
    precision, density, recall, coverage = zip(*dropped, strict=True)
    assert ascending([-value for value in recall])
    assert ascending([-value for value in coverage])
    assert min(precision) > 0.9 * max(precision)  # what is left is as real as before
    assert density[0] == pytest.approx(1, abs=0.2)  # of real images by its authors' reckoning
    for kept, share in zip((6, 3), coverage[1:], strict=True):
        assert share == pytest.approx(coverage[0] * kept / 10, abs=0.05)


def test_copies_of_training_images_show(digits: Data, cache: Path, real: Tensor) -> None:
    """Of 350 images 40 % are copies; the others are held-out digits, of which by definition one in a hundred counts as one."""
    fresh = digits.held_out.images.float() / 255
    mixed = torch.cat((real[:140], fresh[:210]))
    for metric in ("copies", "copies_pixels"):
        assert values(mixed, digits, cache, metric) == [pytest.approx(0.4, abs=0.015)]
        assert values(fresh, digits, cache, metric) == [pytest.approx(4 / 364)]  # the four below the percentile
        assert values(real, digits, cache, metric) == [1]
    noise = torch.rand(300, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    assert values(noise, digits, cache, "copies", "copies_pixels") == [0, 0]
    nearly = (real[:300] + 0.02 * (noise - 0.5)).clamp(0, 1)
    assert values(nearly, digits, cache, "copies_pixels") == [1]


def test_copies_cannot_be_told_where_the_data_set_has_copies(digits: Data, cache: Path, real: Tensor) -> None:
    train, held_out = digits.train, digits.held_out
    leaky = replace(
        digits,
        held_out=replace(held_out, images=torch.cat((held_out.images[:-5], train.images[:5]))),
    )
    scores = taken(Replays(real), leaky, cache, "copies", "copies_pixels")
    reason = "one in a hundred held-out images is among the training images: no distance tells a copy"
    assert {score.reason for score in scores.values()} == {reason}


def test_the_classifier_is_sure_of_digits_and_less_so_of_noise(digits: Data, cache: Path, real: Tensor) -> None:
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    shares = [values((real + amount * noise).clamp(0, 1), digits, cache, "recognised")[0] for amount in (0.9, 0.4, 0.0)]
    assert ascending(shares)
    assert shares[-1] > 0.95
    own = digits.held_out.images.float() / 255
    same = values(own, digits, cache, "recognised", "recognised_held_out")
    assert same[0] == same[1] > 0.9
    assert values(real, digits, cache, "recognised_held_out") == [same[1]]


def textured(data: Data) -> Data:
    """The data with grain on its held-out images, which as they are were enlarged from 8x8 pixels."""
    images = data.held_out.images
    grain = torch.randint(0, 64, images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return replace(data, held_out=replace(data.held_out, images=images // 4 * 3 + grain))


def test_adjectives_are_1_of_the_data_and_move_with_what_they_name(few_digits: Data, cache: Path) -> None:
    names = "sharpness", "contrast", "checkerboard", "blockiness"
    data = textured(few_digits)
    own = data.held_out.images.float() / 255
    assert values(own, data, cache, *names) == [1, 1, 1, 1]
    blurred = values(F.avg_pool2d(own, 3, 1, 1), data, cache, *names)
    assert blurred[0] < 0.3
    assert 0.8 < blurred[1] < 1
    blocks = F.interpolate(F.avg_pool2d(own, 4), scale_factor=4)
    assert values(torch.lerp(own, blocks, 0.9), data, cache, "blockiness")[0] > 2
    assert values(own / 2, data, cache, "contrast") == [pytest.approx(0.5, abs=0.002)]  # rounded to 8 bits
    assert taken(Transparent(), data, cache, "reconstruction_sharpness")["reconstruction_sharpness"].value == 1


def test_images_without_fine_details_leave_blur_and_checkerboards_blank(few_digits: Data, cache: Path) -> None:
    """Any grain at all would make an image of such a set sharper than the set's own, ten times and more."""
    blank = "sharpness", "checkerboard"
    own = few_digits.held_out.images.float() / 255
    scores = dict(taken(Replays(own), few_digits, cache, *blank, "contrast", samples=50))
    scores |= taken(Transparent(), few_digits, cache, "reconstruction_sharpness", "reconstruction_mse")
    for name in (*blank, "reconstruction_sharpness"):
        assert scores[name].value is None
        assert re.fullmatch(r"0\.\d+ % of the energy .+ as of images that were enlarged: .+", scores[name].reason)
    assert scores["contrast"].value == 1
    assert scores["reconstruction_mse"].value == 0


def test_an_adjective_whose_grid_does_not_fit_is_blank_alone(few_digits: Data, cache: Path) -> None:
    data = textured(few_digits)
    cut = replace(data, held_out=replace(data.held_out, images=data.held_out.images[..., :26, :26].contiguous()))
    scores = taken(Replays(cut.held_out.images.float() / 255), cut, cache, "sharpness", "blockiness", samples=50)
    assert scores["sharpness"].value == 1
    assert scores["blockiness"].reason == "no blocks of 4 or 8 pixels fill 26x26"


def test_mode_collapse_is_the_share_of_the_most_common_class(digits: Data, cache: Path, real: Tensor) -> None:
    labels = digits.train.labels[:700]
    mixed = torch.cat((real[labels == 3][:40], real[labels == 0][:10]))
    assert values(mixed, digits, cache, "most_common_class") == [pytest.approx(0.8)]
    assert values(real, digits, cache, "most_common_class") == [pytest.approx(0.1, abs=0.02)]


def test_class_accuracy_tells_the_class_that_was_asked_for(digits: Data, cache: Path) -> None:
    for wrong, expected in ((0, 1.0), (1, 0.0)):
        model = RepeatsByClass(digits, wrong=wrong)
        score = taken(model, digits, cache, "class_accuracy", samples=200)["class_accuracy"]
        assert score.value == pytest.approx(expected, abs=0.02)
    held_out = digits.held_out
    zeros = (held_out.labels == 0).nonzero().flatten()
    uneven = replace(digits, held_out=held_out.take(torch.cat((torch.arange(100), zeros, zeros, zeros))))
    halfway = RepeatsByClass(digits, wrong=1, of=range(5))
    score = taken(halfway, uneven, cache, "class_accuracy", samples=200)["class_accuracy"]
    assert score.value == pytest.approx(0.5, abs=0.02)  # of the classes; of the images three in four
    completes = CVAE(digits.spec, condition="left_half")
    scores = taken(completes, digits, cache, "class_accuracy", samples=10)
    assert scores["class_accuracy"].reason == "it is not told what class to draw"


def test_few_images_are_marked_as_biased_where_they_bias(digits: Data, cache: Path, real: Tensor) -> None:
    scores = taken(Replays(real), digits, cache, "fd_classifier", "kid_classifier", "coverage")
    assert scores["fd_classifier"].protocol["biased"] == "upwards, by few images; kid_classifier is not"
    assert "biased" not in scores["kid_classifier"].protocol
    assert scores["coverage"].protocol["neighbours"] == "5"


def test_the_extrapolated_distance_needs_enough_images_of_each_kind(digits: Data, cache: Path, real: Tensor) -> None:
    score = taken(Replays(real), digits, cache, "fd_infinity")["fd_infinity"]
    assert score.reason == "needs 2,000 images of each kind, not 364 held out and 350 generated"
    features = torch.randn(300, 8, generator=torch.Generator().manual_seed(0))
    score = at_infinity(Compared(features, features, {"dtype": "float32"}), enough=300)
    assert (score.value or 0) < 0  # the same on either side: 0 with the bias of few, and less without it
    assert score.protocol == {"dtype": "float32", "extrapolated_from": 150}


def test_the_spread_over_subsets_needs_more_images_than_one_holds(digits: Data, cache: Path, real: Tensor) -> None:
    score = taken(Replays(real), digits, cache, "kid_classifier_spread")["kid_classifier_spread"]
    assert score.reason == "needs more than 1000 images of each kind, not 364 held out and 350 generated"
    swapped = replace(digits, held_out=digits.train)  # 1,433 digits on either side
    images = digits.train.images.float() / 255
    extractor = classifier.load(swapped, cache, cache)
    with torch.inference_mode():
        features = extractor(images)
    found = kernel_distances(features, features)
    expected = [pytest.approx(float(found.mean()), rel=1e-4), pytest.approx(float(found.std()), rel=1e-4)]
    assert values(images, swapped, cache, "kid_classifier", "kid_classifier_spread") == expected


def test_what_needs_labels_is_blank_without_them(digits: Data, cache: Path, real: Tensor) -> None:
    bare = replace(digits, spec=replace(digits.spec, classes=()), train_labels=torch.full_like(digits.train_labels, -1))
    scores = taken(Replays(real), bare, cache, "precision", "recognised", "copies", "kid_classifier")
    assert {score.reason for score in scores.values()} == {"data set digits has no labels to train a classifier on"}
    assert (
        taken(Transparent(), bare, cache, "linear_probe")["linear_probe"].reason
        == "data set digits has no labels to tell"
    )


def test_inception_metrics_say_what_they_would_take(digits: Data, cache: Path, real: Tensor) -> None:
    scores = taken(Replays(real), digits, cache, "kid", "kid_spread", "fid")
    assert len({score.reason for score in scores.values()}) == 1
    assert "ask for them with --set inception_on_cpu=true" in scores["kid"].reason


def test_bounds_of_a_decoder_that_ignores_its_code(few_digits: Data, cache: Path) -> None:
    """p(x | z) is 1/2 for every pixel: log p(x) = -784 log 2, and the bound lies below it by the KL divergence alone."""
    nothing_lost = taken(Coded(units=3), few_digits, cache, "elbo", "iwae_bound")
    assert nothing_lost["elbo"].value == pytest.approx(-784 * math.log(2), rel=1e-6)
    assert nothing_lost["iwae_bound"].value == pytest.approx(-784 * math.log(2), rel=1e-6)
    mean, log_variance = 0.5, -0.5
    kl = 3 * 0.5 * (mean**2 + math.exp(log_variance) - 1 - log_variance)
    scores = taken(Coded(units=3, mean=mean, log_variance=log_variance), few_digits, cache, "elbo", "iwae_bound")
    assert scores["elbo"].value == pytest.approx(-784 * math.log(2) - kl, rel=1e-6)
    tighter = scores["iwae_bound"].value
    assert tighter is not None
    assert -784 * math.log(2) - kl / 2 < tighter < -784 * math.log(2) + 0.05


def test_the_average_log_weight_is_the_evidence_bound(few_digits: Data) -> None:
    torch.manual_seed(0)
    model = VAE(few_digits.spec, hidden_dims=[8])
    with eval_mode(model):
        weights = log_weights(model, next(in_order(few_digits.held_out)), 400)
        bounds = torch.stack([evidence_bounds(model, few_digits.held_out) for _ in range(50)])
    error = float(weights.mean(1).std()) / math.sqrt(400) + float(bounds.mean(1).std()) / math.sqrt(50)
    assert float(weights.mean()) == pytest.approx(float(bounds.mean()), abs=4 * error)
    assert bool((weights.logsumexp(0) - math.log(400) > weights.mean(0)).all())


def test_more_draws_tighten_the_bound_and_stand_in_its_protocol(digits: Data, cache: Path) -> None:
    """Of a decoder that ignores its code the likelihood is known: -784 log 2."""
    model = Coded(
        units=3, mean=0.5, log_variance=0.5
    )  # wider than the prior, so that no draw weighs much more than others
    found = []
    for draws in (1, 10, 1000):
        options = EvaluationOptions(likelihood_draws=draws, likelihood_images=40)
        score = evaluate(model, digits, ["iwae_bound"], options, cache=cache, data_dir=cache)["iwae_bound"]
        assert score.protocol["draws"] == str(draws)
        assert (score.protocol["of_images"], score.protocol["chosen"]) == ("40", "one of each part")
        found.append(score.value or 0)
    assert ascending(found)
    assert found[-1] == pytest.approx(-784 * math.log(2), abs=0.02)
    with eval_mode(model):
        whole = importance_weighted_bounds(model, digits.train, 2)  # more images than are taken at a time
    assert whole.shape == (len(digits.train),)


def test_bounds_say_whether_pixels_are_black_and_white(few_digits: Data, cache: Path) -> None:
    grey, binarised = (
        taken(Coded(units=2), each, cache, "elbo", "iwae_bound") for each in (few_digits, black_and_white(few_digits))
    )
    assert {score.protocol["pixels"] for score in grey.values()} == {"grey, as probabilities"}
    assert {score.protocol["pixels"] for score in binarised.values()} == {"black and white"}


def black_and_white(data: Data) -> Data:
    """The same images with every pixel at one of its ends."""
    images = (data.held_out.images > 127).to(torch.uint8) * 255
    return replace(data, held_out=replace(data.held_out, images=images))


def test_the_evidence_bound_is_what_a_vae_minimises(few_digits: Data, cache: Path) -> None:
    torch.manual_seed(0)
    scores = taken(VAE(few_digits.spec), few_digits, cache, "elbo", "test_loss")
    assert scores["elbo"].value == pytest.approx(-float(scores["test_loss"].value or 0), rel=1e-3)


def test_active_units_are_those_that_see_the_image(few_digits: Data, cache: Path) -> None:
    varying = few_digits.held_out.images.flatten(1)[:, 200:230].float().div(255).mul(2).var(0) > 0.01
    score = taken(Coded(units=40, telling=30), few_digits, cache, "active_units")["active_units"]
    assert score.value == float(varying.sum()) > 10
    assert taken(Coded(units=40), few_digits, cache, "active_units")["active_units"].value == 0


def test_a_linear_probe_reads_pixels_and_nothing_from_constant_codes(digits: Data, cache: Path) -> None:
    assert (taken(Transparent(), digits, cache, "linear_probe")["linear_probe"].value or 0) > 0.9
    counts = digits.held_out.labels.bincount()
    common = int(digits.train.labels.bincount().argmax())
    blind = taken(Coded(units=2), digits, cache, "linear_probe")["linear_probe"]
    assert blind.value == pytest.approx(float(counts[common] / counts.sum()), abs=0.02)
    told = taken(CVAE(digits.spec), digits, cache, "linear_probe")["linear_probe"]
    assert told.reason == "its encoder is told part of the answer"


def test_a_linear_probe_is_fitted_on_images_of_every_class_of_a_sorted_set(digits: Data, cache: Path) -> None:
    """Of classes of 3,500 images one after another the first 3,000 are of one."""
    index = torch.cat([(digits.train.labels == label).nonzero().flatten().repeat(40)[:3500] for label in (0, 1)])
    held_out = digits.held_out.take((digits.held_out.labels < 2).nonzero().flatten())
    ordered = replace(
        digits, train=digits.train.take(index), train_labels=digits.train_labels[index], held_out=held_out
    )
    score = taken(Transparent(), ordered, cache, "linear_probe")["linear_probe"]
    assert (score.protocol["fitted_on"], score.protocol["chosen"]) == ("3000", "one of each part")
    assert (score.value or 0) > 0.95


def test_a_blend_in_pixels_is_no_interpolation_between_lines(cache: Path) -> None:
    """It strays by what two faint lines are away from one, and turns all at once: by half or more of the way in one step."""
    angles = torch.rand(40, generator=torch.Generator().manual_seed(0)) * 2 * math.pi
    drawn = Split(lines.draw(angles).mul(255).round().to(torch.uint8), torch.full((40,), HIDDEN))
    data = prepare("lines", lines.SPEC, drawn, drawn, DataOptions())
    scores = taken(Transparent(), data, cache, "mean_distance", "smoothness")
    images = drawn.images.float().div(255)
    share = torch.linspace(0, 1, 16).view(-1, 1, 1, 1, 1)
    distance, _ = nearest_line(torch.lerp(images[:20], images[20:], share).flatten(0, 1))
    assert scores["mean_distance"].value == pytest.approx(float(distance.mean()), rel=1e-6)
    assert 0.5 < (scores["smoothness"].value or 0) < 1
    elsewhere = taken(Transparent(), replace(data, name="digits"), cache, "mean_distance")["mean_distance"]
    assert elsewhere.reason == "is measured on the data set lines alone, not on digits"


def test_what_a_linear_output_leaves_beyond_the_range_counts_in_the_distance_to_a_line(cache: Path) -> None:
    """A line in twice its contrast is one once it is cut off, and none before, as the ACAI authors have it."""
    drawn = Split(lines.draw(torch.zeros(4)).mul(255).round().to(torch.uint8), torch.full((4,), HIDDEN))
    data = prepare("lines", lines.SPEC, drawn, drawn, DataOptions())
    images = drawn.images.float().div(255)
    distance, _ = nearest_line(2 * images)
    value = taken(Glaring(), data, cache, "mean_distance")["mean_distance"].value
    assert value == pytest.approx(float(distance.mean()), rel=1e-5)
    cut_off, _ = nearest_line(Glaring().decode(images))
    assert float(distance.mean()) > 10 * float(cut_off.mean())


def test_the_wasserstein_estimate_is_the_critics(few_digits: Data, cache: Path) -> None:
    torch.manual_seed(0)
    model = WGAN(few_digits.spec)
    value = taken(model, few_digits, cache, "wasserstein")["wasserstein"].value
    with eval_mode(model):
        (batch,) = in_order(few_digits.held_out)
        expected = model.critic(batch.images).mean() - model.critic(model.sample(len(batch))).mean()
    assert value == pytest.approx(float(expected), rel=1e-4)
    blank = taken(GAN(few_digits.spec), few_digits, cache, "wasserstein")["wasserstein"]
    assert blank.reason == "no critic estimates it: the terms are discriminator, generator"


def test_interpolations_that_turn_a_line_stray_from_none_and_turn_evenly(cache: Path) -> None:
    starts = torch.linspace(0, 1, 20)
    images = lines.draw(torch.cat((starts, starts + 1.5))).mul(255).round().to(torch.uint8)
    drawn = Split(images, torch.full((40,), HIDDEN))
    scores = taken(
        Turns(), prepare("lines", lines.SPEC, drawn, drawn, DataOptions()), cache, "mean_distance", "smoothness"
    )
    assert scores["mean_distance"].value == pytest.approx(0, abs=1e-5)
    assert scores["smoothness"].value == pytest.approx(0, abs=1e-3)


def test_ssim_is_that_of_gaussian_filters(few_digits: Data) -> None:
    """SciPy's filter, cut at the same 11 pixels, as a second implementation."""
    originals = few_digits.held_out.images[:4].double().div(255)
    images = (originals + 0.2 * torch.rand(originals.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)

    def mean(values: np.ndarray) -> np.ndarray:
        filtered: np.ndarray = ndimage.gaussian_filter(values, 1.5, radius=5)[5:-5, 5:-5]
        return filtered

    for image, original, found in zip(images, originals, similarity(images, originals), strict=True):
        x, y = image[0].numpy(), original[0].numpy()
        variance_x, variance_y = mean(x * x) - mean(x) ** 2, mean(y * y) - mean(y) ** 2
        covariance = mean(x * y) - mean(x) * mean(y)
        luminance = (2 * mean(x) * mean(y) + 1e-4) / (mean(x) ** 2 + mean(y) ** 2 + 1e-4)
        structure = (2 * covariance + 9e-4) / (variance_x + variance_y + 9e-4)
        assert float(found) == pytest.approx((luminance * structure).mean(), abs=1e-5)


def test_ssim_of_equal_images_is_1_and_of_small_ones_too() -> None:
    images = torch.rand(3, 3, 8, 9, generator=torch.Generator().manual_seed(0))
    assert similarity(images, images).tolist() == pytest.approx([1, 1, 1])
    assert (similarity(images, 1 - images) < 0.5).all()
