"""Image files to pixels: upright, on white, grey or RGB; and the centre square of an image at another size."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Sequence
from contextlib import closing
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from bench.contract import DataError
from bench.datasets._files import Track, in_threads
from bench.memory import available
from bench.text import reason

# What Pillow reads without calling another program; of several frames the first is taken.
FORMATS = ("PNG", "JPEG", "MPO", "WEBP", "AVIF", "GIF", "BMP", "TIFF", "PPM", "JPEG2000")
GREY = ("1", "L", "LA", "La")  # the modes that Pillow has for it
MOST_PIXELS = 89_478_485  # of one image: a quarter of a gibibyte in RGB, from which on Pillow warns


class _Held(io.BufferedReader):
    """A file of which no more is asked than it holds: Python makes room for all that is asked for before it reads.

    A JPEG 2000 of 285 bytes can have Pillow ask for two gibibytes.
    """

    def __init__(self, file: Path) -> None:
        super().__init__(io.FileIO(file))

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > io.DEFAULT_BUFFER_SIZE:
            size = min(size, max(os.fstat(self.fileno()).st_size - self.tell(), 0))
        return super().read(size)


@cache
def extensions() -> frozenset[str]:
    """The endings of file names, small and with their dot, that Pillow has registered for `FORMATS`."""
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in _formats())


@cache
def _formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def read_image(file: Path) -> Image.Image:
    """One whole image, grey (mode L) or RGB: turned upright as its EXIF data say, what is transparent laid over white.

    Raises:
        DataError: it is no image, is endless, or has more than 8 bits per channel.
    """
    try:
        with _Held(file) as held, Image.open(held, formats=_formats()) as opened:  # which reads no pixels yet
            if opened.width * opened.height > MOST_PIXELS:
                raise DataError(
                    f"{file} has {opened.width} x {opened.height} pixels; at most {MOST_PIXELS:,} are read: make it smaller"
                )
            if opened.mode.startswith(("I", "F")):
                raise DataError(f"{file} has more than 8 bits per channel (mode {opened.mode}); save it with 8")
            grey = opened.mode in GREY
            image = ImageOps.exif_transpose(opened)
            if image.has_transparency_data:
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image.convert("RGBA"))
            return image.convert("L" if grey else "RGB")
    except DataError:
        raise
    except Exception as error:  # whatever Pillow's decoders raise over a damaged file
        raise DataError(f"{file} is no image that can be read ({reason(error)}); fix or remove it") from error


def resize_rule(image_size: int) -> str:
    """What `centre_square` does to an image, for the protocol of what is measured on it."""
    return f"centre square at {image_size}x{image_size}, Pillow's Lanczos filter"


def centre_square(image: Image.Image, image_size: int) -> Image.Image:
    """The largest square in the middle of an image, resized with antialiasing, as StyleGAN's data sets are made.

    Karras et al., https://github.com/NVlabs/stylegan2-ada-pytorch, dataset_tool.py (``--transform=center-crop``, Lanczos).
    """
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square.resize((image_size, image_size), Image.Resampling.LANCZOS)


def decode(files: Sequence[Path], image_size: int | None, track: Track, what: str) -> Tensor:
    """The images in ``files``, uint8 ``[N, C, H, W]``: one channel where all of them are grey, else three.

    Args:
        image_size: take the `centre_square` of each; None where they are all of one size.

    Raises:
        DataError: one cannot be read, or they are of different sizes, or more than this machine's memory holds.
    """
    pixels: NDArray[np.uint8] | None = None
    reading = in_threads(partial(_pixels, image_size=image_size), files, track, f"reading {what}")
    # Closed at once, so that what is shown of it ends before an error is told.
    with closing(reading) as images, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on odd files, which are read or else refused
        if image_size is None:
            _check_room(len(files), files[0])
        for number, (file, image) in enumerate(zip(files, images, strict=True)):
            if pixels is None:
                pixels = np.empty((len(files), *image.shape), np.uint8)
            if image.shape[1:] != pixels.shape[2:]:
                raise DataError(
                    f"{file} is {_size(image)}; the images before it are {_size(pixels[0])}: make them alike; "
                    "or give image_size, as in --set image_size=64"
                )
            if len(image) > pixels.shape[1]:
                pixels = np.repeat(pixels, 3, axis=1)
            pixels[number] = image
    assert pixels is not None
    return torch.from_numpy(pixels)


def resize_all(images: Tensor, image_size: int, track: Track, what: str) -> Tensor:
    """The `centre_square` of each of ``images``, uint8 ``[N, C, H, W]``."""

    def resized(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        whole = Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))
        return _channels_first(centre_square(whole, image_size))

    return torch.from_numpy(np.stack([*in_threads(resized, list(images.numpy()), track, f"resizing {what}")]))


def _pixels(file: Path, image_size: int | None) -> NDArray[np.uint8]:
    """uint8 ``[C, H, W]``"""
    image = read_image(file)
    return _channels_first(image if image_size is None else centre_square(image, image_size))


def _channels_first(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _size(image: NDArray[Any]) -> str:
    channels, height, width = image.shape
    return f"{(height, width, channels)} (H, W, C)"


def _check_room(count: int, file: Path) -> None:
    """Refuse to read ``count`` images like the one in ``file`` where they are more than this machine's memory holds."""
    try:
        with Image.open(file, formats=_formats()) as opened:
            height, width, channels = opened.height, opened.width, 1 if opened.mode in GREY else 3
    except Exception:  # what is wrong with it is told where it is read
        return
    wanted, has = count * height * width * channels, available()
    if wanted > has:
        raise DataError(
            f"{count:,} images of {(height, width, channels)} (H, W, C) take {wanted / 2**30:.1f} GiB, and this machine has "
            f"{has / 2**30:.1f}; give image_size, as in --set image_size=64"
        )
