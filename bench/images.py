"""Tensors to images: grids, strips, GIFs; and sheets of such pictures under their names."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]  # [H, W, 3]

SMALLEST = 256  # the longest side of a picture at least: smaller ones are blurred by viewers that enlarge them
GAP = 2  # pixels of white between images
WHITE = 255
COMPRESSION = 4  # of 9, in a PNG: the highest takes five times as long for 2 % less
WEBP_QUALITY = 85  # of 100, within a page, beside which the PNG itself lies
# Okabe and Ito, Color Universal Design, 2008: told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GIF_MILLISECONDS = 400
WIDTH = 1500  # pixels that every picture of a report is wide ...
FONT = 26  # ... and that its letters are high: half of it can still be read
LEADING = 32  # line distance of captions, in pixels
FILLED = 0.65  # of its place, which a picture must have to stand there pixel by pixel
MARGIN = 14  # white around every picture of a sheet


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


def png(picture: Picture, *, plot: bool = False) -> bytes:
    """The picture as a PNG file; one without colours has one channel, which halves it.

    A ``plot`` has few colours but for the edges of its letters: a palette of 256 makes its file a third as large.
    """
    if plot:
        few = Image.fromarray(picture).quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        return _saved(few, format="PNG", compress_level=COMPRESSION)
    return _saved(_image(picture), format="PNG", compress_level=COMPRESSION)


def embedded(content: bytes) -> tuple[str, bytes]:
    """A PNG file as a page holds it, and its media type: a photograph as WebP, a fifth as large, any other as it is."""
    image = Image.open(io.BytesIO(content))
    if image.mode != "RGB":
        return "image/png", content
    return "image/webp", _saved(image, format="WEBP", quality=WEBP_QUALITY)


def picture(content: bytes) -> Picture:
    """The picture in a PNG file."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def tile(image: Any) -> Picture:
    """One image ``[C, H, W]``, uint8 or in ``[0, 1]``, as it is."""
    single: Picture = _tiles(image[None])[0]
    return single


def gif(frames: Sequence[Picture], milliseconds: int = GIF_MILLISECONDS) -> bytes:
    """Frames of one size as a GIF that runs for ever and rests on its last.

    Where none has colours all keep their grey values; else a palette is chosen for each, which takes ten times as long.
    """
    images = [_image(frame) for frame in frames]
    if any(image.mode != "L" for image in images):
        images = [Image.fromarray(frame) for frame in frames]
    pauses = [milliseconds] * (len(images) - 1) + [4 * milliseconds]
    return _saved(images[0], format="GIF", save_all=True, append_images=images[1:], duration=pauses, loop=0)


def side_by_side(pictures: Mapping[str, Picture], columns: int = 3, letters: int = FONT) -> Picture:
    """Pictures in rows, each under its name, on a sheet of the width that all of a report's have.

    A picture that is wider than its place is made smaller; any other is enlarged by a whole factor as far as there is room, and
    stands in the middle of its place, or fills it where more than a third would be left empty. One alone has half of the sheet.
    Names are ``letters`` pixels high.
    """
    font, leading = ImageFont.load_default(letters), LEADING * letters // FONT
    columns = min(columns, len(pictures))
    place = (WIDTH - MARGIN) // max(2, columns) - MARGIN
    sized = {name: _sized(each, place) for name, each in pictures.items()}
    height = max(each.shape[0] for each in sized.values())
    names = {name: _wrapped(name, font, place) for name in pictures}
    caption = leading * max(map(len, names.values())) + 6
    rows = math.ceil(len(pictures) / columns)
    sheet = Image.new("RGB", (WIDTH, rows * (height + caption + MARGIN) + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    margin = (WIDTH - columns * (place + MARGIN) + MARGIN) // 2
    for index, (name, each) in enumerate(sized.items()):
        left = margin + index % columns * (place + MARGIN)
        top = MARGIN + index // columns * (height + caption + MARGIN)
        for line, text in enumerate(names[name]):
            pen.text((left + place / 2, top + 3 + leading * (line + 0.5)), text, "black", font, "mm")
        corner = (left + (place - each.shape[1]) // 2, top + caption + (height - each.shape[0]) // 2)
        sheet.paste(Image.fromarray(each), corner)
    return np.asarray(sheet)


def _sized(picture: Picture, width: int) -> Picture:
    """The picture times a whole factor, as wide as ``width`` at the most; of that width where it would have little of it."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    factor = width // picture.shape[1]
    if not factor or picture.shape[1] * factor <= FILLED * width:
        larger = picture.repeat(factor + 1, axis=0).repeat(factor + 1, axis=1)
        # BOX keeps most of flat pixels flat, in fewer bytes.
        smoothing = Image.Resampling.BOX if factor else Image.Resampling.LANCZOS
        return np.asarray(Image.fromarray(larger).resize((width, height), smoothing))
    return picture.repeat(factor, axis=0).repeat(factor, axis=1)


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


def _image(picture: Picture) -> Image.Image:
    """The picture, of one channel where it has no colours."""
    grey = all(np.array_equal(picture[..., 0], picture[..., channel]) for channel in (1, 2))
    return Image.fromarray(picture[..., 0] if grey else picture)


def _saved(image: Image.Image, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, **options)
    return content.getvalue()
