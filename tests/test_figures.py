"""Pictures: what lands where, pixel by pixel."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from bench import figures
from bench.contract import Data
from bench.models.ae import AE
from bench.models.gan import GAN
from bench.models.vae import VAE
from bench.pictures import final_pictures, latent_plane, picture_epochs, progress_pictures


def tiles(*values: float, side: int = 2) -> torch.Tensor:
    """One flat grey image for each value."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, side, side)


def test_a_grid_lays_images_in_rows_with_white_between() -> None:
    sheet = figures.grid(tiles(0.0, 0.2, 0.4, 0.6), columns=2, gap=1)
    factor = sheet.shape[0] // 5
    small = sheet[::factor, ::factor, 0]
    expected = np.full((5, 5), 255)
    expected[:2, :2], expected[:2, 3:], expected[3:, :2], expected[3:, 3:] = 0, 51, 102, 153
    np.testing.assert_array_equal(small, expected)


def test_grids_are_square_and_big_enough_to_be_looked_at() -> None:
    sheet = figures.grid(torch.zeros(64, 1, 28, 28))
    assert sheet.shape == (476, 476, 3)
    assert min(figures.grid(tiles(0.5)).shape[:2]) == 256


def test_colour_stays_colour_and_bytes_stay_bytes() -> None:
    image = torch.zeros(1, 3, 300, 300, dtype=torch.uint8)
    image[0, 1] = 77
    assert figures.grid(image)[0, 0].tolist() == [0, 77, 0]


def test_originals_stand_over_their_reconstructions() -> None:
    sheet = figures.reconstructions(tiles(0.0, 0.2, 0.4, 0.6), tiles(1.0, 0.8, 0.6, 0.4), columns=2)
    factor = sheet.shape[0] // 14
    column = sheet[:: factor * 4, 0, 0]
    assert column[:4].tolist() == [0, 255, 102, 153]


def test_strips_run_from_left_to_right() -> None:
    images = torch.stack((tiles(0.0, 0.2, 0.4), tiles(0.6, 0.8, 1.0)))
    sheet = figures.strips(images)
    factor = sheet.shape[1] // 10
    assert sheet[0, :: factor * 4, 0].tolist() == [0, 51, 102]
    assert sheet[factor * 4, :: factor * 4, 0].tolist() == [153, 204, 255]


def test_a_manifold_has_no_gaps() -> None:
    assert (figures.manifold(torch.zeros(9, 1, 30, 30), 3) == 0).all()


def test_png_and_gif_hold_what_was_put_in() -> None:
    frames = [np.full((40, 40, 3), value, np.uint8) for value in (0, 120, 240)]
    np.testing.assert_array_equal(figures.picture(figures.png(frames[1])), frames[1])
    with Image.open(io.BytesIO(figures.gif(frames))) as animation:
        assert animation.n_frames == 3
        animation.seek(2)
        assert animation.info["duration"] == 4 * figures.GIF_MILLISECONDS


def test_pictures_side_by_side_keep_their_pixels() -> None:
    sheet = figures.side_by_side({"a": np.full((50, 60, 3), 10, np.uint8), "b": np.full((50, 60, 3), 200, np.uint8)})
    assert (sheet == 10).all(axis=2).sum() >= 50 * 60
    assert (sheet[60, 30] == 10).all()
    assert (sheet[60, 110] == 200).all()


def test_curves_are_the_same_bytes_for_the_same_numbers() -> None:
    panels = {"loss": {"a": {"train": {1: [3.0, 4.0], 2: [2.0, 2.5]}, "test": {1: [4.0], 2: [3.0]}}}}
    np.testing.assert_array_equal(figures.curves(panels), figures.curves(panels))


def test_the_latent_plane_has_equal_shares_of_the_prior() -> None:
    plane = latent_plane(4)
    share = torch.special.ndtr(plane)
    assert share[:4, 0].tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert share[::4, 1].tolist() == pytest.approx([0.875, 0.625, 0.375, 0.125])


def test_what_is_drawn_follows_what_the_model_can_do(few_digits: Data) -> None:
    spec = few_digits.spec
    assert set(progress_pictures(GAN(spec), few_digits)) == {"samples"}
    assert set(final_pictures(GAN(spec), few_digits)) == {"samples"}
    flat, deep = VAE(spec, latent_dim=2, hidden_dims=[8]), AE(spec, latent_dim=3, hidden_dims=[8])
    assert set(final_pictures(flat, few_digits)) == {"samples", "reconstructions", "interpolation", "manifold"}
    assert set(final_pictures(deep, few_digits)) == {"samples", "reconstructions", "interpolation"}


def test_the_upper_row_of_reconstructions_is_the_held_out_images(few_digits: Data) -> None:
    picture = progress_pictures(AE(few_digits.spec, hidden_dims=[8]), few_digits)["reconstructions"]
    np.testing.assert_array_equal(picture[:56:2, :56:2, 0], few_digits.held_out.images[0, 0].numpy())


def test_pictures_come_at_the_same_epochs_and_at_both_ends() -> None:
    assert sorted(picture_epochs(7)) == [0, 1, 2, 5, 7]
    assert sorted(picture_epochs(100)) == [0, 1, 2, 5, 10, 20, 50, 100]
    assert sorted(picture_epochs(1)) == [0, 1]
