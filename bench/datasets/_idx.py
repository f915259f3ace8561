"""Arrays in the IDX format that MNIST is published in: LeCun, Cortes and Burges, http://yann.lecun.com/exdb/mnist."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.memory import available, in_words

BYTES = 8  # the format's number for uint8, in the third byte of a file
COPIES = 2  # of an array in memory while it is made a split


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An array of bytes, which is as large as the file says only if the file is that large.

    Raises:
        ValueError: it is no such file, or one that there is no memory for.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != bytes((0, 0, BYTES, dimensions)):
            raise ValueError(f"{path.name} is no array of bytes of {dimensions} dimensions in the IDX format")
        shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(dimensions))
        held = size - file.tell()
        if math.prod(shape) != held or size < 4 + 4 * dimensions:
            raise ValueError(f"{path.name} says that it is {shape}, and holds {held:,} bytes")
        if COPIES * held > (room := available()):
            raise ValueError(
                f"{path.name} takes {in_words(COPIES * held)} of memory to be read, and there are {in_words(room)}"
            )
        return np.fromfile(file, np.uint8, held).reshape(shape)
