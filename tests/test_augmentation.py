"""What is done to training images in every batch."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from bench.augmentation import Augmentation, cropped, flipped, noisy
from bench.batches import DataOptions, prepare
from bench.contract import DataError
from bench.data import Data

EVERYTHING = Augmentation(horizontal_flip=True, random_crop=2, noise=0.1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_flips_mirror_half_of_the_images_from_left_to_right() -> None:
    mirrored = flipped(torch.tensor([1.0, 0.0]).expand(1000, 1, 1, 2), generator())
    assert 440 < int(mirrored[:, 0, 0, 1].sum()) < 560  # four standard deviations of a fair coin
    assert torch.equal(mirrored.sum(dim=3), torch.ones(1000, 1, 1))


def test_a_crop_is_the_image_moved_with_every_move_as_likely() -> None:
    images = torch.rand(9000, 2, 4, 5, generator=generator(1)) + 0.1
    found = cropped(images, 1, generator())
    padded = F.pad(images, (1, 1, 1, 1))
    moves = torch.zeros(3, 3)
    for top in range(3):
        for left in range(3):
            here = (padded[:, :, top : top + 4, left : left + 5] == found).flatten(1).all(1)
            moves[top, left] = here.sum()
    assert moves.sum() == 9000  # each image is exactly one of the nine
    assert (moves - 1000).abs().max() < 5 * (9000 * 8 / 81) ** 0.5  # five standard deviations


def test_a_crop_leaves_black_where_the_image_was() -> None:
    sums = cropped(torch.ones(500, 1, 6, 6), 2, generator()).sum(dim=(1, 2, 3))
    assert {int(each) for each in sums} == {rows * columns for rows in (4, 5, 6) for columns in (4, 5, 6)}


def test_noise_has_its_deviation_and_stays_in_the_unit_range() -> None:
    added = noisy(torch.full((100, 1, 20, 20), 0.5), 0.05, generator()) - 0.5
    n = added.numel()
    assert abs(float(added.mean())) < 5 * 0.05 / n**0.5
    assert float(added.std()) == pytest.approx(0.05, abs=5 * 0.05 / (2 * n) ** 0.5)
    black = noisy(torch.zeros(100, 1, 20, 20), 0.3, generator())
    assert float(black.min()) == 0
    assert float((black == 0).double().mean()) == pytest.approx(
        0.5, abs=5 * 0.5 / n**0.5
    )  # half of a normal is cut off
    assert float(noisy(torch.ones(100, 1, 20, 20), 0.3, generator()).max()) == 1


def test_images_are_drawn_apart_from_one_another_and_anew_at_every_call() -> None:
    images = torch.rand(1, 3, 8, 8, generator=generator(1)).expand(20, 3, 8, 8)
    draws = generator()
    first, second = EVERYTHING(images, draws), EVERYTHING(images, draws)
    assert not any(torch.equal(one, other) for one, other in zip(first, first.roll(1, 0), strict=True))
    assert not torch.equal(first, second)
    assert torch.equal(first, EVERYTHING(images, generator()))


def test_nothing_is_done_by_default(digits: Data) -> None:
    assert digits.augment is None
    images = torch.rand(3, 1, 4, 4)
    draws = generator()
    before = draws.get_state()
    assert Augmentation()(images, draws) is images
    assert torch.equal(draws.get_state(), before)


def test_options_say_what_is_done(digits: Data) -> None:
    options = DataOptions(horizontal_flip=True, random_crop=2, noise=0.1)
    data = prepare("digits", digits.spec, digits.train, digits.held_out, options)
    assert data.augment == EVERYTHING
    assert torch.equal(data.train.images, digits.train.images)  # what measures sees the images as they are
    assert torch.equal(data.held_out.images, digits.held_out.images)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (DataOptions(random_crop=-1), "random_crop = -1: must be 0 or more, and less than the 28 pixels of a side"),
        (DataOptions(random_crop=28), "random_crop = 28: must be 0 or more"),
        (DataOptions(noise=-0.1), "noise = -0.1: must be from 0 to 1"),
        (DataOptions(noise=float("nan")), "noise = nan: must be from 0 to 1"),
        (DataOptions(noise=0.1, binarise="static"), "noise and binarise = 'static': noise would make them grey again"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: DataOptions, message: str, digits: Data) -> None:
    with pytest.raises(DataError, match=message):
        prepare("digits", digits.spec, digits.train, digits.held_out, options)


def moved(images: Tensor) -> Tensor:
    return EVERYTHING(images, generator())


def test_what_is_done_keeps_the_form_and_the_range() -> None:
    images = torch.rand(5, 3, 9, 7)
    found = moved(images)
    assert found.shape == images.shape
    assert found.dtype == torch.float32
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
