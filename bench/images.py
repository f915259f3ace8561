"""Tensors to images: grids, strips, GIFs; and the curves of a report."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
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
CAPTION, LEADING = 18, 24  # height and line distance of captions, in pixels
LEGEND = 100  # letters of a name that a legend has room for
DECADES = 100  # an axis is logarithmic where its largest value is so many times its smallest


def grid(images: Any, columns: int | None = None, gap: int = GAP) -> Picture:
    """Images in rows, enlarged by a whole factor.

    Args:
        images: ``[N, C, H, W]``, uint8 or in ``[0, 1]``; grey or RGB; a tensor or an array.
        columns: how many in a row; the square root of N where None.
    """
    tiles = _tiles(images)
    return _sheet(tiles, columns or math.ceil(math.sqrt(len(tiles))), gap)


def reconstructions(originals: Any, decoded: Any, columns: int = 8) -> Picture:
    """Rows of originals ``[N, C, H, W]``, each over a row of what became of them."""
    above, below = _tiles(originals), _tiles(decoded)
    columns = min(columns, len(above))
    blanks = np.full((-len(above) % columns, *above.shape[1:]), WHITE, dtype=np.uint8)  # the last row may be short
    rows = [np.concatenate((tiles, blanks)).reshape(-1, columns, *above.shape[1:]) for tiles in (above, below)]
    return _sheet(np.stack(rows, axis=1).reshape(-1, *above.shape[1:]), columns, GAP)


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


def tile(image: Any) -> Picture:
    """One image ``[C, H, W]``, uint8 or in ``[0, 1]``, as it is."""
    single: Picture = _tiles(image[None])[0]
    return single


def gif(frames: Sequence[Picture], milliseconds: int = GIF_MILLISECONDS) -> bytes:
    """Frames of one size as a GIF that runs for ever and rests on its last."""
    images = [Image.fromarray(frame) for frame in frames]
    pauses = [milliseconds] * (len(images) - 1) + [4 * milliseconds]
    return _saved(images[0], format="GIF", save_all=True, append_images=images[1:], duration=pauses, loop=0)


def side_by_side(pictures: Mapping[str, Picture], columns: int = 3) -> Picture:
    """Pictures in rows, each under its name; smaller ones are centred in the largest's place."""
    font = ImageFont.load_default(CAPTION)
    height = max(each.shape[0] for each in pictures.values())
    width = max(each.shape[1] for each in pictures.values())
    names = {name: _wrapped(name, font, width) for name in pictures}
    caption, margin = LEADING * max(map(len, names.values())) + 6, 14
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    size = (columns * (width + margin) + margin, rows * (height + caption + margin) + margin)
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    for index, (name, each) in enumerate(pictures.items()):
        left = margin + index % columns * (width + margin)
        top = margin + index // columns * (height + caption + margin)
        for line, text in enumerate(names[name]):
            place = (left + width / 2, top + 3 + LEADING * (line + 0.5))
            pen.text(place, text, "black", font, "mm")
        corner = (left + (width - each.shape[1]) // 2, top + caption + (height - each.shape[0]) // 2)
        sheet.paste(Image.fromarray(each), corner)
    return np.asarray(sheet)


Style = Literal[":", "--", "-"]
Curve = Mapping[int, Sequence[float]]  # epoch -> the value of each seed
Panels = Mapping[str, Mapping[str, Mapping[str, Curve]]]  # loss term -> variant -> split -> curve


def curves(panels: Panels, xlabel: str = "epoch") -> Picture:
    """Loss curves, a panel for each term and a colour for each variant.

    Lines are means over seeds, bands the range from the lowest seed to the highest. Training images are dashed as they compare
    with held-out ones (``train_eval``), and dotted as the steps took them (``train``). An axis is logarithmic only where its
    values are positive and span two decades.
    """
    variants = list(dict.fromkeys(variant for panel in panels.values() for variant in panel))
    colours = dict(zip(variants, _colours(len(variants)), strict=True))
    columns = min(3, len(panels))
    rows = math.ceil(len(panels) / columns)
    names = [Line2D([], [], color=colour, label=_label(variant)) for variant, colour in colours.items()]
    splits = dict.fromkeys(split for panel in panels.values() for curve in panel.values() for split in curve)
    names += [Line2D([], [], color="dimgrey", linestyle=_style(split), label=split) for split in splits]
    entry = 0.7 + 0.075 * max(len(_label(variant)) for variant in variants)  # inches that the legend needs for a name
    width = max(5.2 * columns, entry)
    across = min(8, int(width / entry))
    height = 3.6 * rows + 0.2 * math.ceil(len(names) / across)
    figure = Figure(figsize=(width, height), layout="constrained", dpi=110)
    for index, (term, panel) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        for variant, each in panel.items():
            for split, curve in each.items():
                _draw(axes, curve, colours[variant], _style(split))
        values = [
            value for each in panel.values() for curve in each.values() for seeds in curve.values() for value in seeds
        ]
        if 0 < DECADES * min(values) < max(values):
            axes.set_yscale("log")
        axes.set_title(term, fontsize=11, parse_math=False)
        axes.set_xlabel(xlabel)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if index % columns == 0:
            axes.set_ylabel("loss")
    legend = figure.legend(handles=names, loc="outside lower center", ncols=across, fontsize=8, frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)  # a name with two dollars is no formula
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a sign that the font lacks is a box
        figure.savefig(content, format="png", metadata={"Software": None})
    return picture(content.getvalue())


def _draw(axes: Axes, curve: Curve, colour: str, style: Style) -> None:
    epochs = sorted(curve)
    marker = "o" if len(epochs) == 1 else None
    means = [float(np.mean(curve[epoch])) for epoch in epochs]
    axes.plot(epochs, means, style, marker=marker, color=colour, linewidth=1.4)
    lows, highs = [min(curve[epoch]) for epoch in epochs], [max(curve[epoch]) for epoch in epochs]
    axes.fill_between(epochs, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _label(name: str) -> str:
    """A name as a legend shows it: one that began with an underscore would be left out of it."""
    name = f" {name}" if name.startswith("_") else name
    return name if len(name) <= LEGEND else f"{name[: LEGEND - 3]}..."


def _style(split: str) -> Style:
    styles: dict[str, Style] = {"train": ":", "train_eval": "--"}
    return styles.get(split, "-")


def _colours(n: int) -> list[str]:
    """As many colours as there are variants: named ones while they last, then steps of a colour map."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.93, n))]  # its end is too pale on white


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The words in lines no wider than ``width`` pixels; a word that is wider has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _tiles(images: Any) -> Picture:
    """``[N, C, H, W]`` of any kind to uint8 ``[N, H, W, 3]``."""
    array = np.asarray(images.detach().cpu() if hasattr(images, "detach") else images)
    if array.dtype != np.uint8:
        array = np.clip(np.rint(array * 255), 0, 255).astype(np.uint8)
    return np.broadcast_to(array.transpose(0, 2, 3, 1), (len(array), *array.shape[2:], 3))


def _sheet(tiles: Picture, columns: int, gap: int) -> Picture:
    """Tiles ``[N, H, W, 3]`` in rows with ``gap`` pixels of white between, enlarged."""
    rows = math.ceil(len(tiles) / columns)
    height, width = tiles.shape[1:3]
    sheet = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), WHITE, dtype=np.uint8)
    for index, tile in enumerate(tiles):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height, left : left + width] = tile
    return enlarge(sheet)


def _saved(image: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)
    return content.getvalue()
