"""The class of image files, or of every held-out image, by a model that classifies."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.applications import Applied, class_name, refusal
from bench.contract import HIDDEN, Classifies, DataError, Model, Unsupported, as_floats, eval_mode, in_order
from bench.data import Data
from bench.datasets import centre_square, read_image
from bench.images import grid, png

SHOWN = 64  # images in the grid


def apply(model: Model, data: Data, *, files: Sequence[Path] = ()) -> Applied:
    """Tell the class of ``files``, which are resized to the model's images; or of the held-out images where none are named.

    The grid shows the files, or else the first held-out images that are told wrongly, and where none is, the first of all.

    Raises:
        Unsupported: the model does not classify, or a file is no image.
    """
    if not isinstance(model, Classifies):
        raise refusal(model, "does not classify")
    if files:
        images = torch.stack([_read(file, data) for file in files]).to(model.device)
        labels = torch.full((len(images),), HIDDEN)
        with eval_mode(model):
            chances = model.classify(images).softmax(1).cpu()
    else:
        labels = data.held_out.labels.cpu()
        with eval_mode(model):
            chances = torch.cat([model.classify(batch.images).softmax(1).cpu() for batch in in_order(data.held_out)])
    told = chances.argmax(1)
    rows = []
    for number, label in enumerate(told.tolist()):
        row: dict[str, object] = {"image": str(files[number]) if files else number}
        if not files:
            row["label"] = class_name(data, int(labels[number]))
        row |= {"class": class_name(data, label), "probability": round(float(chances[number, label]), 6)}
        rows.append(row)
    if not files:
        wrong = (told != labels).nonzero().flatten()[:SHOWN]
        shown = wrong if len(wrong) else torch.arange(min(SHOWN, len(told)))
        images = data.held_out.images[shown.to(data.held_out.images.device)]
    return Applied(png(grid(images[:SHOWN])), {}, rows)


def _read(file: Path, data: Data) -> Tensor:
    """An image file as float32 ``[C, H, W]`` in ``[0, 1]``, read as the model's images were: grey or RGB, cropped or not."""
    spec = data.spec
    try:
        image = read_image(file).convert("L" if spec.channels == 1 else "RGB")
    except DataError as error:
        raise Unsupported(str(error)) from None
    if data.resized:
        image = centre_square(image, spec.height)
    resized = image.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    pixels = as_floats(torch.from_numpy(np.asarray(resized).copy()))
    return pixels.view(spec.height, spec.width, spec.channels).permute(2, 0, 1)
