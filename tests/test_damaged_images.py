"""Images and arrays of one's own that are damaged or of anything: read, or refused in one line."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.contract import HIDDEN
from tests.test_own_images import numbered, opened, quietly


def formats() -> dict[str, bytes]:
    """A small image in each of the common formats."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 7, 3), np.uint8))
    files = {}
    for name in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        noise.save(content := io.BytesIO(), name)
        files[name] = content.getvalue()
    return files


@st.composite
def damaged(draw: Callable[..., Any], whole: bytes) -> bytes:
    """Bytes with some others put in their place, and perhaps the end cut off."""
    content = bytearray(whole)
    for _ in range(draw(st.integers(0, 4))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content[: draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))])


@pytest.mark.parametrize("name", formats())
def test_a_damaged_image_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    @quietly
    @given(damaged(formats()[name]))
    def check(content: bytes) -> None:
        (tmp_path / "own" / "2.png").write_bytes(content)
        with tempfile.TemporaryDirectory() as data:
            source = opened(tmp_path / "own", Path(data), 4)
        if isinstance(source, str):
            assert "2.png is no image that can be read" in source or "2.png has more than 8 bits" in source
        else:
            assert source.spec.shape == (3, 4, 4)

    (tmp_path / "own").mkdir()
    for number in range(2):
        Image.new("RGB", (6, 7), (number, 0, 0)).save(tmp_path / "own" / f"{number}.png")
    check()


def test_a_damaged_npz_is_read_or_refused_in_one_line(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (6, 4, 5), np.uint8)
    arrays = {
        "x_train": images,
        "y_train": np.arange(6) % 2,
        "x_test": images[:2],
        "y_test": np.arange(2),
        "classes": np.array(["cat", "dog"]),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "own.npz", allow_pickle=False, **arrays)

        @quietly
        @given(damaged((tmp_path / "own.npz").read_bytes()))
        def check(content: bytes) -> None:
            (tmp_path / "own.npz").write_bytes(content)
            source = opened(tmp_path / "own.npz", tmp_path)
            assert str(tmp_path / "own.npz") in source if isinstance(source, str) else len(source.train) > 0

        check()


ARRAYS = st.one_of(
    st.none(),
    st.tuples(
        st.sampled_from(["uint8", "int64", "uint64", "float32", "bool", "<U3", "complex64", "datetime64[s]"]),
        st.lists(st.integers(0, 5), max_size=4),
        st.integers(0, 2**40),
    ),
)


@quietly
@given(st.fixed_dictionaries(dict.fromkeys(("x_train", "y_train", "x_test", "y_test", "classes"), ARRAYS)))
def test_an_npz_of_anything_is_read_or_refused_in_one_line(arrays: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "own.npz"
        made = {
            name: np.full(shape, value % 256 if dtype == "uint8" else value).astype(dtype)
            for name, (dtype, shape, value) in ((n, a) for n, a in arrays.items() if a is not None)
        }
        np.savez(file, allow_pickle=False, **made)
        source = opened(file, Path(folder))
        assert str(file) in source if isinstance(source, str) else len(source.train) * len(source.test) > 0


NAMES = st.sampled_from(["train", "test", "val", "Valid", "a", "b", ".hidden", "__MACOSX"])
FILES = st.sampled_from(["1.png", "2.png", "3.PNG", "4.jpg", "notes.txt", ".DS_Store"])


@quietly
@given(st.lists(st.tuples(st.lists(NAMES, max_size=3), FILES), max_size=25))
def test_a_folder_of_anything_is_read_or_refused_in_one_line(places: list[tuple[list[str], str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "own"
        root.mkdir()
        for number, (folders, name) in enumerate(places):
            root.joinpath(*folders).mkdir(parents=True, exist_ok=True)
            numbered(number).save(root.joinpath(*folders, name), "PNG")
        source = opened(root, Path(folder))
        if isinstance(source, str):
            assert str(root) in source
            return
        for split in filter(None, (source.train, source.test, source.validation)):
            assert set(split.labels.tolist()) == (set(range(len(source.spec.classes))) or {HIDDEN})
