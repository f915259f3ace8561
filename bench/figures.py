"""Tensors to images: grids, strips, GIFs; and the curves of a report."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # [H, W, 3]

SMALLEST = 256  # the longest side of a picture at least: smaller ones are blurred by viewers that enlarge them
GAP = 2  # pixels of white between images
WHITE = 255
# Okabe and Ito, Color Universal Design, 2008: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GIF_MILLISECONDS = 400


def grid(images: Any, columns: int | None = None, gap: int = GAP) -> Picture:
    """Images in rows, enlarged by a whole factor.

    Args:
        images: ``[N, C, H, W]``, uint8 or in ``[0, 1]``; grey or RGB; a tensor or an array.
        columns: how many in a row; the square root of N where None.
    """
    tiles = _tiles(images)
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    height, width = tiles.shape[1:3]
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), WHITE, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return enlarge(sheet)


def reconstructions(originals: Any, decoded: Any, columns: int = 8) -> Picture:
    """Rows of originals ``[N, C, H, W]``, each over a row of what became of them."""
    pairs = zip(_rows(_tiles(originals), columns), _rows(_tiles(decoded), columns), strict=True)
    tiles = np.concatenate([row for pair in pairs for row in pair])
    return grid(tiles.transpose(0, 3, 1, 2), columns)


def strips(images: Any) -> Picture:
    """Interpolations ``[R, T, C, H, W]``, one in each row."""
    rows, steps = images.shape[:2]
    return grid(images.reshape(rows * steps, *images.shape[2:]), steps)


def manifold(images: Any, side: int) -> Picture:
    """A plane of ``side * side`` images ``[N, C, H, W]`` without gaps."""
    return grid(images, side, gap=0)


def enlarge(sheet: Picture) -> Picture:
    """The sheet, each pixel repeated so often that the longest side reaches 256."""
    factor = math.ceil(SMALLEST / max(sheet.shape[:2]))
    return sheet.repeat(factor, axis=0).repeat(factor, axis=1)


def png(picture: Picture) -> bytes:
    """The picture as a PNG file."""
    return _saved(Image.fromarray(picture), format="PNG", optimize=True)


def picture(content: bytes) -> Picture:
    """The picture in a PNG file."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def gif(frames: Sequence[Picture], milliseconds: int = GIF_MILLISECONDS) -> bytes:
    """Frames of one size as a GIF that runs for ever and rests on its last."""
    images = [Image.fromarray(frame) for frame in frames]
    pauses = [milliseconds] * (len(images) - 1) + [4 * milliseconds]
    return _saved(images[0], format="GIF", save_all=True, append_images=images[1:], duration=pauses, loop=0)


def side_by_side(pictures: Mapping[str, Picture], columns: int = 3) -> Picture:
    """Pictures in rows, each under its name; smaller ones are centred in the largest's place."""
    font = ImageFont.load_default(18)
    height = max(each.shape[0] for each in pictures.values())
    width = max(each.shape[1] for each in pictures.values())
    caption, margin = 30, 14
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    size = (columns * (width + margin) + margin, rows * (height + caption + margin) + margin)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for index, (name, each) in enumerate(pictures.items()):
        left = margin + index % columns * (width + margin)
        top = margin + index // columns * (height + caption + margin)
        pen.text((left + width / 2, top + caption / 2), name, "black", font, "mm")
        place = (left + (width - each.shape[1]) // 2, top + caption + (height - each.shape[0]) // 2)
        sheet.paste(Image.fromarray(each), place)
    return np.asarray(sheet)


Curve = Mapping[int, Sequence[float]]  # epoch -> the value of each seed


def curves(panels: Mapping[str, Mapping[str, Mapping[str, Curve]]], xlabel: str = "epoch") -> Picture:
    """Loss curves: panel (a loss term) -> variant -> split -> curve.

    Lines are means over seeds, bands the range from the lowest seed to the highest; the training split is dashed.
    """
    variants = list(dict.fromkeys(variant for panel in panels.values() for variant in panel))
    colours = {variant: COLOURS[index % len(COLOURS)] for index, variant in enumerate(variants)}
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(5.2 * columns, 3.6 * rows + 0.4), layout="constrained", dpi=110)
    legend: dict[str, Artist] = {}
    for index, (term, panel) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for variant, splits in panel.items():
            for split, curve in splits.items():
                epochs = sorted(curve)
                values = [curve[epoch] for epoch in epochs]
                style = "--" if split == "train" else "-"
                marker = "o" if len(epochs) == 1 else None
                means = [float(np.mean(each)) for each in values]
                (line,) = axes.plot(epochs, means, style, marker=marker, color=colours[variant], linewidth=1.4)
                legend[f"{variant} ({split})"] = line
                lows, highs = [min(each) for each in values], [max(each) for each in values]
                axes.fill_between(epochs, lows, highs, color=colours[variant], alpha=0.15, linewidth=0)
        axes.set_title(term, fontsize=11)
        axes.set_xlabel(xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if index % columns == 0:
            axes.set_ylabel("nats per image")
    figure.legend(list(legend.values()), list(legend), loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    return picture(content.getvalue())


def _tiles(images: Any) -> Picture:
    """``[N, C, H, W]`` of any kind to uint8 ``[N, H, W, 3]``."""
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.dtype != np.uint8:
        array = np.clip(np.rint(array * 255), 0, 255).astype(np.uint8)
    return np.broadcast_to(array.transpose(0, 2, 3, 1), (len(array), *array.shape[2:], 3))


def _rows(tiles: Picture, columns: int) -> list[Picture]:
    whole = len(tiles) // columns * columns
    return list(tiles[:whole].reshape(-1, columns, *tiles.shape[1:]))


def _saved(image: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)
    return content.getvalue()
