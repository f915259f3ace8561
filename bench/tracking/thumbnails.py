"""Small pictures beside those that a run drew: MLflow's UI lays out these, and without one shows a broken image."""

from __future__ import annotations

import io
import logging
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from bench.files import write_whole
from bench.tracking.reader import Run
from bench.tracking.rows import ORIGIN
from bench.tracking.run_files import local_folder

SIDE = 256  # pixels of its longest side
LARGEST = 2**25  # pixels of a picture that one is made of: a file of another's may unpack to any number
UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)  # as Pillow says it

log = logging.getLogger(__name__)


def thumbnail(png: BinaryIO) -> bytes:
    """A picture in small, as WebP."""
    picture, small = Image.open(png), io.BytesIO()
    picture.thumbnail((SIDE, SIDE))
    picture.save(small, format="WEBP")
    return small.getvalue()


def thumbnail_of(name: str) -> str:
    """The path of a picture's thumbnail, by which MLflow finds it."""
    stem = name.removesuffix(".png")
    return f"{stem}{'+' if '+step+' in stem else '%'}compressed.webp"  # MLflow's earlier versions parted by the latter


def add_thumbnails(folder: Path) -> None:
    """Make those that lack of the pictures which a run, whose files lie in ``folder``, drew while it trained.

    A picture that cannot be read has none, and that is said.
    """
    for file in sorted((folder / "images").glob("*.png")):
        place = file.with_name(thumbnail_of(file.name))
        if place.exists():
            continue
        try:
            with file.open("rb") as png:
                if _pixels(png) > LARGEST:
                    raise ValueError(f"more than {LARGEST:,} pixels")
                small = thumbnail(png)
        except UNREADABLE as error:
            log.warning("%s has no thumbnail: %s", file.name, " ".join(str(error).split())[:100])
        else:
            write_whole(place, small)


def complete(runs: Iterable[Run]) -> None:
    """Make those that lack of the runs among these that came in a file, as earlier versions took them in, where they lie here."""
    for run in runs:
        if ORIGIN in run.tags and (folder := local_folder(run.artifacts)) is not None:
            add_thumbnails(folder)


def _pixels(png: BinaryIO) -> int:
    """As its header says, before anything is unpacked.

    Raises:
        ValueError: it has none.
    """
    head = png.read(24)
    png.seek(0)
    if head[:8] != b"\x89PNG\r\n\x1a\n" or len(head) < 24:
        raise ValueError("it is no PNG")
    width, height = struct.unpack(">II", head[16:])
    return int(width * height)
