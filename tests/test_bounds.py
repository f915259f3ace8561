"""Files that claim more than they hold, or hold more than there is room for: refused before anything is allocated or decoded."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import bench.datasets._idx as idx
import bench.datasets._images as images
import bench.datasets._npz as npz
from bench.cache import cached
from bench.contract import DataError
from bench.datasets import open_dataset, read_image
from bench.datasets._idx import read_idx

GOOD: dict[str, Any] = {
    "x_train": np.zeros((6, 4, 5), np.uint8),
    "y_train": np.array([0, 1, 0, 1, 0, 1]),
    "x_test": np.zeros((2, 4, 5), np.uint8),
    "y_test": np.array([0, 1]),
}


def archive(file: Path, members: dict[str, bytes], packing: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(file, "w", packing) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file


def npy(array: Any, shape: tuple[int, ...] | None = None) -> bytes:
    """An array as NumPy writes it, but for the shape that it claims."""
    content = io.BytesIO()
    header = np.lib.format.header_data_from_array_1_0(np.asarray(array)) | ({"shape": shape} if shape else {})
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + np.asarray(array).tobytes()


def members(**changes: bytes | None) -> dict[str, bytes]:
    found = {f"{name}.npy": npy(array) for name, array in GOOD.items()}
    return {name: content for name, content in {**found, **changes}.items() if content is not None}


@pytest.mark.parametrize("shape", [(2**56, 4, 5), (7, 4, 5), (5, 4, 5), (-6, -4, 5), (0, 4, 5)])
def test_an_array_is_as_large_as_it_says_or_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    file = archive(tmp_path / "x.npz", members(**{"x_train.npy": npy(GOOD["x_train"], shape)}))
    with pytest.raises(DataError, match=r"x_train says that it is uint8 \(.*\), and holds 120 bytes"):
        open_dataset(str(file), tmp_path)


def test_an_archive_must_have_room_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(array.nbytes for array in GOOD.values())
    file = archive(tmp_path / "x.npz", members())
    monkeypatch.setattr(npz, "available", lambda: 2 * size)
    assert len(open_dataset(str(file), tmp_path).train) == 6
    monkeypatch.setattr(npz, "available", lambda: 2 * size - 1)
    with pytest.raises(DataError, match="unpacked and read it takes 448 bytes of memory, and there are 447 bytes"):
        open_dataset(str(file), tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"y_train": np.array([0, 1, 0, 1, 0, 2**64 - 1], np.uint64)}, "y_train runs up to 18446744073709551615"),
        ({"y_train": np.array([0, 1, 0, 1, 0, 10**9])}, "labels run up to 1000000000, and there are 6 training images"),
        ({"classes": np.array(["a", "b\n"])}, "must be named in one line of at most 255"),
        ({"classes": np.array(["a", "b" * 300])}, "must be named in one line of at most 255"),
        ({"classes": np.array(["a", ""])}, "must be named in one line of at most 255"),
        ({"classes": np.arange(100_001)}, "holds 100,001 classes; there can be at most 100,000"),
        ({"x_train": np.array([print] * 6)}, "Object arrays, as x_train is one, are not read"),
    ],
)
def test_labels_and_classes_are_bounded(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    np.savez(tmp_path / "x.npz", **GOOD | changes)
    with pytest.raises(DataError, match=said):
        open_dataset(str(tmp_path / "x.npz"), tmp_path)


def test_what_numpy_would_read_in_place_of_what_was_checked_is_refused(tmp_path: Path) -> None:
    twice = archive(tmp_path / "twice.npz", members(x_train=npy(GOOD["x_train"], (2**56, 4, 5))))
    with pytest.raises(DataError, match="x_train is in it twice"):
        open_dataset(str(twice), tmp_path)
    other = archive(tmp_path / "other.npz", members(), zipfile.ZIP_LZMA)
    with pytest.raises(DataError, match="packed in a way that NumPy does not"):
        open_dataset(str(other), tmp_path)
    executable = archive(tmp_path / "pickle.npz", members(**{"x_train.npy": b"cos\nsystem\n(S'touch hit'\ntR."}))
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(str(executable), tmp_path)
    assert not list(Path.cwd().glob("hit"))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\0\0\x08\x03",
        struct.pack(">IIII", 2051, 2**32 - 1, 2**32 - 1, 2**32 - 1),
        struct.pack(">IIII", 2051, 2, 2, 2) + bytes(7),
        struct.pack(">IIII", 2051, 2, 2, 2) + bytes(9),
        struct.pack(">II", 2049, 8) + bytes(8),
        struct.pack(">IIII", 0x0D03, 1, 1, 1) + bytes(4),  # of floats
    ],
)
def test_an_idx_file_is_as_large_as_it_says_or_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ValueError, match=r"a is no array of bytes|a says that it is \("):
        read_idx(tmp_path / "a", 3)


def test_an_idx_file_holds_its_bytes_in_order(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(struct.pack(">IIII", 2051, 2, 3, 2) + bytes(range(12)))
    assert read_idx(tmp_path / "a", 3).tolist() == [[[0, 1], [2, 3], [4, 5]], [[6, 7], [8, 9], [10, 11]]]


def test_an_idx_file_must_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(struct.pack(">IIII", 2051, 2, 3, 2) + bytes(12))
    monkeypatch.setattr(idx, "available", lambda: 24)
    assert read_idx(tmp_path / "a", 3).shape == (2, 3, 2)
    monkeypatch.setattr(idx, "available", lambda: 23)
    with pytest.raises(ValueError, match="a takes 24 bytes of memory to be read, and there are 23 bytes"):
        read_idx(tmp_path / "a", 3)


def test_a_header_that_runs_on_is_not_unpacked(tmp_path: Path) -> None:
    """64 MiB of zeros, which take 64 KiB packed; the second version of the format lets a header be 4 GiB long."""
    start = npy(GOOD["x_train"])[:6] + b"\x02\x00" + struct.pack("<I", 2**26)
    file = archive(tmp_path / "x.npz", members(**{"x_train.npy": start + bytes(2**26)}))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"x\.npz cannot be read"):
        open_dataset(str(file), tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24


@pytest.mark.parametrize("place", ["digits.npz", "MNIST/raw/train-images-idx3-ubyte", "cifar-10-batches-py/test_batch"])
def test_a_pipe_in_the_place_of_a_known_set_is_not_waited_for(place: str, tmp_path: Path) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    os.mkfifo(tmp_path / place)
    name = {"digits.npz": "digits", "MNIST": "mnist"}.get(place.partition("/")[0], "cifar10")
    with pytest.raises(DataError, match=r" is no file"):
        open_dataset(name, tmp_path)


@pytest.mark.parametrize(
    "tensors",
    [
        {"x": torch.zeros(5, 1, 2, 3, dtype=torch.uint8)},
        {"images": torch.zeros(4, 1, 2, 3, dtype=torch.uint8)},
        {"images": torch.zeros(5, 1, 2, 3)},
        {"images": torch.zeros(5, 1, 2, dtype=torch.uint8)},
        {"images": torch.zeros(5, 1, 2, 3, dtype=torch.uint8), "more": torch.zeros(1)},
    ],
)
def test_what_is_kept_of_other_images_is_not_taken_for_those_of_a_folder(
    tensors: dict[str, torch.Tensor], tmp_path: Path
) -> None:
    """Whole as a file, its digest right: an earlier version may have kept it, or somebody else."""
    for number in range(5):
        (tmp_path / "own").mkdir(exist_ok=True)
        Image.fromarray(np.full((2, 3), number, np.uint8)).save(tmp_path / "own" / f"{number}.png")
    first = open_dataset(str(tmp_path / "own"), tmp_path / "data")
    (kept,) = (tmp_path / "data").rglob("*.safetensors")
    kept.unlink()
    cached(kept, lambda: tensors, torch.device("cpu"))
    again = open_dataset(str(tmp_path / "own"), tmp_path / "data")
    assert torch.equal(first.train.images, again.train.images)


def test_what_is_known_of_files_is_read_where_it_can_be(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    for number in range(3):
        Image.fromarray(np.full((2, 3), number, np.uint8)).save(tmp_path / "own" / f"{number}.png")
    first = open_dataset(str(tmp_path / "own"), tmp_path / "data")
    place = hashlib.sha256(str((tmp_path / "own").resolve()).encode()).hexdigest()[:16]
    index = tmp_path / "data" / "decoded" / f"{place}.json"
    index.write_text("[" * 100_000)
    assert open_dataset(str(tmp_path / "own"), tmp_path / "data").fingerprint == first.fingerprint
    index.unlink(missing_ok=True)
    os.mkfifo(index)
    assert open_dataset(str(tmp_path / "own"), tmp_path / "data").fingerprint == first.fingerprint


def png_of(width: int, height: int) -> bytes:
    """A PNG that claims to be so large, and holds a few zeros."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(99))) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("width", "height"), [(9460, 9460), (2**31 - 1, 1), (100_000, 100_000)])
def test_pixels_are_counted_before_they_are_decoded(
    tmp_path: Path, width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.png").write_bytes(png_of(width, height))
    images.extensions()  # Pillow draws something of its own where it begins
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"a.png has .* pixels; at most|exceeds limit|is no image that can be read"):
        read_image(tmp_path / "a.png")


def test_no_more_of_an_image_is_asked_for_than_its_file_holds(tmp_path: Path) -> None:
    """A box that says it has two gibibytes; Pillow, handed the path, makes room for them before it reads."""
    start = struct.pack(">I4sI", 12, b"jP  ", 0x0D0A870A) + struct.pack(">I4s4sI4s", 20, b"ftyp", b"jp2 ", 0, b"jp2 ")
    (tmp_path / "a.jp2").write_bytes(start + struct.pack(">I4s", 2**31 + 8, b"jp2h"))
    images.extensions()
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"a.jp2 is no image that can be read \(Expected to read 2147483648 bytes"):
            read_image(tmp_path / "a.jp2")
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_a_folder_of_images_must_have_room_before_the_first_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        Image.fromarray(np.full((2, 3, 3), number, np.uint8)).save(tmp_path / f"{number}.png")
    monkeypatch.setattr(images, "available", lambda: 4 * 2 * 3 * 3)
    assert len(images.decode(sorted(tmp_path.glob("*.png")), None, lambda items, *_: items, "")) == 4
    monkeypatch.setattr(images, "available", lambda: 4 * 2 * 3 * 3 - 1)
    monkeypatch.setattr(images, "read_image", lambda file: pytest.fail("decoded"))
    with pytest.raises(DataError, match=r"4 images of \(2, 3, 3\) \(H, W, C\) take"):
        images.decode(sorted(tmp_path.glob("*.png")), None, lambda items, *_: items, "")


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to("/nowhere"),
    ],
    ids=["device", "pipe", "nothing"],
)
def test_what_is_no_file_is_not_read_without_end(tmp_path: Path, make: Callable[[Path], None]) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((2, 3, 3), number, np.uint8)).save(folder / f"{number}.png")
    make(folder / "a.png")
    if (folder / "a.png").is_symlink():
        with pytest.raises(DataError, match=r"a.png cannot be read"):
            open_dataset(str(folder), tmp_path)
    else:
        assert (
            len(open_dataset(str(folder), tmp_path).train) == 2
        )  # a pipe is left aside, as other things that are no images
    make(tmp_path / "x.npz")
    with pytest.raises(DataError, match="no data set"):
        open_dataset(str(tmp_path / "x.npz"), tmp_path)


def test_reading_stops_where_one_file_fails(tmp_path: Path) -> None:
    from bench.datasets._files import in_threads

    read: list[int] = []

    def work(number: int) -> int:
        read.append(number)
        if not number:
            raise DataError("the first")
        return number

    with pytest.raises(DataError, match="the first"):
        list(in_threads(work, range(10_000), lambda items, *_: items, ""))
    assert len(read) < 256 + 1
