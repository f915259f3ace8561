"""Pictures: what lands where, pixel by pixel."""

from __future__ import annotations

import io
from typing import Any, final

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from torch import Tensor, nn

from bench.applications import interpolate
from bench.contract import Batch, Model, Update
from bench.data import Data
from bench.images import (
    COLOURS,
    GIF_MILLISECONDS,
    LEADING,
    MARGIN,
    WIDTH,
    gif,
    grid,
    manifold,
    picture,
    png,
    reconstructions,
    side_by_side,
    strips,
)
from bench.models.ae import AE
from bench.models.cvae import CVAE
from bench.models.draw import Draw
from bench.models.gan import GAN
from bench.models.vae import VAE
from bench.previews import final_pictures, latent_plane, picture_epochs, progress_pictures
from bench.report.plots import curves


def tiles(*values: float, side: int = 2) -> torch.Tensor:
    """One flat grey image for each value."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, side, side)


def test_a_grid_lays_images_in_rows_with_white_between() -> None:
    sheet = grid(tiles(0.0, 0.2, 0.4, 0.6), columns=2, gap=1)
    factor = sheet.shape[0] // 5
    small = sheet[::factor, ::factor, 0]
    expected = np.full((5, 5), 255)
    expected[:2, :2], expected[:2, 3:], expected[3:, :2], expected[3:, 3:] = 0, 51, 102, 153
    np.testing.assert_array_equal(small, expected)


def test_grids_are_square_and_big_enough_to_be_looked_at() -> None:
    sheet = grid(torch.zeros(64, 1, 28, 28))
    assert sheet.shape == (476, 476, 3)
    assert min(grid(tiles(0.5)).shape[:2]) == 256


def test_colour_stays_colour_and_bytes_stay_bytes() -> None:
    image = torch.zeros(1, 3, 300, 300, dtype=torch.uint8)
    image[0, 1] = 77
    assert grid(image)[0, 0].tolist() == [0, 77, 0]


def test_originals_stand_over_their_reconstructions() -> None:
    sheet = reconstructions(tiles(0.0, 0.2, 0.4, 0.6), tiles(1.0, 0.8, 0.6, 0.4), columns=2)
    factor = sheet.shape[0] // 14
    column = sheet[:: factor * 4, 0, 0]
    assert column[:4].tolist() == [0, 255, 102, 153]


def test_a_last_row_of_reconstructions_may_be_short() -> None:
    sheet = reconstructions(tiles(0.0, 0.2, 0.4), tiles(0.8, 0.6, 0.4), columns=2)
    factor = sheet.shape[0] // 14
    starts = sheet[:: factor * 4, :: factor * 4, 0]
    np.testing.assert_array_equal(starts, [[0, 51], [204, 153], [102, 255], [102, 255]])
    assert reconstructions(tiles(0.5, side=300), tiles(0.5, side=300)).shape == (602, 300, 3)


def test_strips_run_from_left_to_right() -> None:
    images = torch.stack((tiles(0.0, 0.2, 0.4), tiles(0.6, 0.8, 1.0)))
    sheet = strips(images)
    factor = sheet.shape[1] // 10
    assert sheet[0, :: factor * 4, 0].tolist() == [0, 51, 102]
    assert sheet[factor * 4, :: factor * 4, 0].tolist() == [153, 204, 255]


def test_a_manifold_has_no_gaps() -> None:
    assert (manifold(torch.zeros(9, 1, 30, 30), 3) == 0).all()


def test_png_and_gif_hold_what_was_put_in() -> None:
    frames = [np.full((40, 40, 3), value, np.uint8) for value in (0, 120, 240)]
    np.testing.assert_array_equal(picture(png(frames[1])), frames[1])
    with Image.open(io.BytesIO(gif(frames))) as animation:
        assert isinstance(animation, GifImageFile)
        assert animation.n_frames == 3
        animation.seek(2)
        assert animation.info["duration"] == 4 * GIF_MILLISECONDS


def test_a_gif_without_colours_keeps_every_grey_value() -> None:
    """Beside a frame with colours, few of them keep theirs too."""
    greys = np.repeat(np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 3, axis=2)
    flat, coloured = (np.full((16, 16, 3), colour, np.uint8) for colour in ((90, 90, 90), (200, 30, 90)))
    for frames in ([greys, greys[::-1]], [flat, coloured], [coloured, flat]):
        with Image.open(io.BytesIO(gif(frames))) as animation:
            for number, frame in enumerate(frames):
                animation.seek(number)
                np.testing.assert_array_equal(np.asarray(animation.convert("RGB")), frame)


def test_pictures_side_by_side_keep_their_pixels() -> None:
    sheet = side_by_side({"a": np.full((50, 60, 3), 10, np.uint8), "b": np.full((50, 60, 3), 200, np.uint8)})
    assert sheet.shape[1] == WIDTH
    factor = (WIDTH // 2 - 2 * MARGIN) // 60  # half of the sheet holds so many times the picture
    assert (sheet == 10).all(axis=2).sum() >= 50 * 60 * factor**2
    assert (sheet[60, WIDTH // 4] == 10).all()
    assert (sheet[60, 3 * WIDTH // 4] == 200).all()


def test_a_picture_too_wide_for_its_place_is_made_smaller_and_a_single_one_takes_half_the_sheet() -> None:
    wide = np.full((100, 4000, 3), 10, np.uint8)
    place = (WIDTH - MARGIN) // 2 - MARGIN
    columns = (side_by_side({"a": wide}) == 10).all(axis=(2)).any(axis=0)
    assert columns.sum() == place
    assert columns[WIDTH // 2]  # in the middle


@pytest.mark.parametrize(("width", "shown"), [(240, 480), (300, 481), (330, 330), (160, 480), (900, 481)])
def test_pictures_of_other_sizes_are_about_as_large_on_a_sheet(width: int, shown: int) -> None:
    """Eight digits abreast and ten, in three places of 481 pixels: a whole factor, or else what fills it."""
    black, grey = np.zeros((240, 240, 3), np.uint8), np.full((width, width, 3), 120, np.uint8)
    sheet = side_by_side({"a": black, "b": grey, "c": black})
    assert (sheet == 120).all(axis=2).any(axis=0).sum() == shown


def test_captions_too_long_for_their_picture_take_more_lines() -> None:
    black = np.zeros((50, 200, 3), np.uint8)
    short = side_by_side({"a": black, "b": black})
    long = side_by_side({"latent_dim=10 hidden_dims=512-256 learning_rate=0.00231 batch_size=32": black, "b": black})
    assert long.shape[0] == short.shape[0] + LEADING
    np.testing.assert_array_equal(
        long[:, (WIDTH - MARGIN) // 2 : (WIDTH + MARGIN) // 2], 255
    )  # nothing reaches into the gap


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn in the test."""
    kept: list[Figure] = []

    class Kept(Figure):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            kept.append(self)

    monkeypatch.setattr("bench.report.plots.Figure", Kept)
    return kept


def test_a_curve_is_the_mean_over_seeds_in_a_band_from_lowest_to_highest(drawn: list[Figure]) -> None:
    seeds = {1: [3.0, 4.0], 2: [2.0, 2.5]}
    curves({"loss": {"a": {"train": seeds, "train_eval": seeds, "test": {2: [3.0], 1: [4.0]}}}})
    steps, train, test = drawn[0].axes[0].lines
    assert np.asarray(steps.get_xydata()).tolist() == [[1, 3.5], [2, 2.25]]
    assert np.asarray(test.get_xydata()).tolist() == [[1, 4], [2, 3]]
    assert [line.get_linestyle() for line in (steps, train, test)] == [":", "--", "-"]
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["a", "train", "train_eval", "test"]
    band = np.asarray(drawn[0].axes[0].collections[0].get_paths()[0].vertices)
    assert (band[:, 1].min(), band[:, 1].max()) == (2.0, 4.0)


def test_a_variant_keeps_its_colour_and_all_are_in_the_legend(drawn: list[Figure]) -> None:
    falling = {"train": {1: [2.0], 2: [1.0]}}
    curves({"loss": {"vae": falling}, "generator": {"gan": falling}, "critic": {"gan": falling, "vae": falling}})
    colours = [[line.get_color() for line in axes.lines] for axes in drawn[0].axes]
    vae, gan = COLOURS[:2]
    assert colours == [[vae], [gan], [gan, vae]]
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["vae", "gan", "train"]


def test_more_variants_than_named_colours_still_differ(drawn: list[Figure]) -> None:
    names = [f"latent_dim={n} hidden_dims=512-256 learning_rate=0.00123 batch_size=64" for n in range(9)]
    picture = curves({"loss": {name: {"test": {1: [2.0], 2: [1.0]}} for name in names}})
    assert len({(line.get_color(), line.get_marker()) for line in drawn[0].axes[0].lines}) == 9
    box = drawn[0].legends[0].get_window_extent()
    assert 0 <= box.x0 < box.x1 <= picture.shape[1]  # long names are not cut off


def test_an_axis_is_logarithmic_only_over_two_decades_of_positive_values(drawn: list[Figure]) -> None:
    ends = {"narrow": (99.0, 1.0), "wide": (101.0, 1.0), "negative": (101.0, -1.0)}
    curves({name: {"a": {"test": {1: [first], 2: [last]}}} for name, (first, last) in ends.items()})
    assert [axes.get_yscale() for axes in drawn[0].axes] == ["linear", "log", "linear"]


def test_curves_are_the_same_bytes_for_the_same_numbers() -> None:
    panels = {"loss": {"a": {"train": {1: [3.0, 4.0], 2: [2.0, 2.5]}, "test": {1: [4.0], 2: [3.0]}}}}
    np.testing.assert_array_equal(curves(panels), curves(panels))


def test_the_latent_plane_has_equal_shares_of_the_prior() -> None:
    plane = latent_plane(4)
    share = torch.special.ndtr(plane)
    assert share[:4, 0].tolist() == pytest.approx([0.125, 0.375, 0.625, 0.875])
    assert share[::4, 1].tolist() == pytest.approx([0.875, 0.625, 0.375, 0.125])


@final
class Learns(Model):
    """A model that learns, and can do nothing besides."""

    def players(self) -> dict[str, nn.Module]:
        return {}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        return {}


def test_what_is_drawn_follows_what_the_model_can_do(few_digits: Data) -> None:
    spec = few_digits.spec
    assert set(progress_pictures(GAN(spec), few_digits)) == {"samples"}
    assert set(final_pictures(GAN(spec), few_digits)) == {"samples", "interpolation"}
    flat, deep = VAE(spec, latent_dim=2, hidden_dims=[8]), AE(spec, latent_dim=3, hidden_dims=[8])
    assert set(final_pictures(flat, few_digits)) == {"samples", "reconstructions", "interpolation", "manifold"}
    assert set(final_pictures(deep, few_digits)) == {"samples", "reconstructions", "interpolation"}
    told = CVAE(spec, latent_dim=2)  # its latent plane is another for every label
    assert set(final_pictures(told, few_digits)) == {"samples", "reconstructions", "interpolation"}
    canvases = {"canvases_reconstructed", "canvases_generated"}
    painter = Draw(spec, glimpses=2, hidden_size=8)
    assert set(final_pictures(painter, few_digits)) == {"samples", "reconstructions", "interpolation"} | canvases
    assert final_pictures(Learns(), few_digits) == {}


def test_a_runs_interpolation_is_what_the_application_draws(few_digits: Data) -> None:
    """Between held-out images, and between the same noises in every run."""
    for model in (VAE(few_digits.spec, hidden_dims=[8]), GAN(few_digits.spec)):
        drawn = final_pictures(model, few_digits)["interpolation"]
        np.testing.assert_array_equal(drawn, picture(interpolate.apply(model, few_digits).grid))


def test_the_upper_row_of_reconstructions_is_the_held_out_images(few_digits: Data) -> None:
    picture = progress_pictures(AE(few_digits.spec, hidden_dims=[8]), few_digits)["reconstructions"]
    np.testing.assert_array_equal(picture[:56:2, :56:2, 0], few_digits.held_out.images[0, 0].numpy())


def test_pictures_come_at_the_same_epochs_and_at_both_ends() -> None:
    assert sorted(picture_epochs(7)) == [0, 1, 2, 5, 7]
    assert sorted(picture_epochs(100)) == [0, 1, 2, 5, 10, 20, 50, 100]
    assert sorted(picture_epochs(1)) == [0, 1]


def test_a_study_has_pictures_after_the_epochs_it_names_too() -> None:
    assert sorted(picture_epochs(50, [20, 45])) == [0, 1, 2, 5, 10, 20, 45, 50]
    assert sorted(picture_epochs(30, [20, 45])) == [0, 1, 2, 5, 10, 20, 30]


def test_a_plot_is_a_palette_whose_colours_are_near_and_a_third_as_large() -> None:
    rows, columns = np.mgrid[0:200, 0:300]
    smooth = np.full((200, 300, 3), 255, np.uint8)
    for number, colour in enumerate(((0, 114, 178), (213, 94, 0), (0, 158, 115))):  # three lines with soft edges
        line = np.abs(rows - 40 - 50 * number - 20 * np.sin(columns / 20 + number))[..., None]
        smooth = np.where(line < 2, np.array(colour) + (255 - np.array(colour)) * line / 2, smooth).astype(np.uint8)
    kept = png(smooth, plot=True)
    assert Image.open(io.BytesIO(kept)).mode == "P"
    assert len(kept) < len(png(smooth)) / 2
    assert np.abs(picture(kept).astype(int) - smooth).mean() < 2
