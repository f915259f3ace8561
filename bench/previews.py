"""What is drawn of a model, by capability: the same held-out images and the same noise in every trial of a study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.contract import (
    Autoencodes,
    Batch,
    Draws,
    Generates,
    Model,
    as_floats,
    condition_of,
    conditioned_on,
    eval_mode,
    reconstruct,
)
from bench.data import Data
from bench.files import write_whole
from bench.images import Picture, gif, grid, manifold, png, reconstructions, strips
from bench.measure.context import draw, to_tell
from bench.measure.interpolation import interpolations, noise_interpolations

SAMPLES = 64
PER_CLASS = 10  # samples of each class, of a model that is told it
ROWS = 8  # of interpolation strips
STEPS = 10  # images in a strip, both ends included
MANIFOLD = 20  # images along each side of the latent plane
MILESTONES = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


def picture_epochs(epochs: int, named: Sequence[int] = ()) -> set[int]:
    """The epochs after which pictures are drawn: alike in every run of so many epochs, so that the UI lines them up.

    Those that a study has ``named`` come beside them; one beyond the last epoch is left out.
    """
    return {epoch for epoch in (*MILESTONES, *named) if epoch < epochs} | {epochs}


def progress_pictures(model: Model, data: Data) -> dict[str, Picture]:
    """The pictures that are followed over training: samples, and originals over reconstructions.

    Samples of a model that is told the label are a column for every class (document 004, figures 6 and 7).
    """
    pictures = {}
    if isinstance(model, Generates):
        columns = len(data.spec.classes) if conditioned_on(model) == "labels" else None
        samples = draw(model, PER_CLASS * columns if columns else SAMPLES, data)
        pictures["samples"] = grid(samples.images, columns=columns)
    if isinstance(model, Autoencodes):
        batch = _held_out(data, SAMPLES // 2)
        with eval_mode(model):
            pictures["reconstructions"] = reconstructions(batch.images, reconstruct(model, batch))
    return pictures


def final_pictures(model: Model, data: Data) -> dict[str, Picture]:
    """All that can be drawn of a trained model."""
    pictures = progress_pictures(model, data)
    if isinstance(model, Draws):
        with eval_mode(model):
            pictures |= _canvases(model, _held_out(data, ROWS))
    if isinstance(model, Autoencodes):
        ends = _held_out(data, 2 * ROWS)
        with eval_mode(model):
            pictures["interpolation"] = strips(interpolations(model, ends, STEPS))
            if conditioned_on(model) is None and model.encode(ends.images).shape[1:] == (2,):
                pictures["manifold"] = manifold(model.decode(latent_plane(MANIFOLD).to(model.device)), MANIFOLD)
    elif isinstance(model, Generates):
        with eval_mode(model):
            pictures["interpolation"] = strips(noise_interpolations(model, to_tell(data, ROWS), STEPS))
    return pictures


def _canvases(model: Draws, batch: Batch) -> dict[str, Picture]:
    """DRAW's canvases in sequence, a row for each image: reconstructed and generated (document 004, figures 10 and 11)."""
    condition = condition_of(model, batch)
    codes = {}
    if isinstance(model, Autoencodes):
        codes["canvases_reconstructed"] = model.encode(batch.images, condition)
    if isinstance(model, Generates):
        codes["canvases_generated"] = model.codes(len(batch))
    return {name: strips(model.canvases(z, condition).transpose(0, 1)) for name, z in codes.items()}


def latent_plane(side: int) -> Tensor:
    """Codes ``[side * side, 2]`` on a grid of equal prior probability: quantiles of N(0, 1), the second code downwards.

    Kingma and Welling, Auto-Encoding Variational Bayes, 2014, figure 4.
    """
    quantiles = torch.special.ndtri((torch.arange(side) + 0.5) / side)
    down, across = torch.meshgrid(quantiles.flip(0), quantiles, indexing="ij")
    return torch.stack((across.flatten(), down.flatten()), dim=1)


def training_gif(folder: Path, name: str) -> bytes:
    """The pictures ``name`` that `keep` laid in ``folder``, in the order of their epochs, as one GIF."""
    files = sorted(folder.glob(f"{name}-*.png"), key=lambda file: int(file.stem.rpartition("-")[2]))
    return gif([np.asarray(Image.open(file).convert("RGB")) for file in files])


def keep(folder: Path, epoch: int, pictures: dict[str, Picture]) -> None:
    """Lay pictures beside the checkpoint, so that a resumed trial shows them again without drawing them again."""
    for name, picture in pictures.items():
        write_whole(folder / f"{name}-{epoch}.png", png(picture))


def kept(folder: Path, epoch: int) -> dict[str, bytes]:
    """What `keep` laid down for ``epoch``, PNG by name."""
    return {file.stem.rpartition("-")[0]: file.read_bytes() for file in sorted(folder.glob(f"*-{epoch}.png"))}


def _held_out(data: Data, n: int) -> Batch:
    """``n`` held-out images from all parts of the split, which may be sorted by class."""
    part = data.held_out.take(data.held_out.spaced(n))
    return Batch(as_floats(part.images), part.labels)
