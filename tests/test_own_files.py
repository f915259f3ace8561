"""An array file or a folder of one's own as a data set, and what is said of a wrong one; and of a wrong file of code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bench import registry
from bench.contract import HIDDEN, DataError, ImageSpec
from bench.datasets import fingerprint, located, open_dataset

GOOD = {
    "x_train": np.zeros((6, 4, 5), np.uint8),
    "y_train": np.array([0, 1, 0, 1, 0, 1]),
    "x_test": np.zeros((2, 4, 5), np.uint8),
    "y_test": np.array([0, 1]),
}


def write(path: Path, **changes: Any) -> Path:
    np.savez(path, **{key: value for key, value in {**GOOD, **changes}.items() if value is not None})
    return path


def test_an_npz_of_ones_own(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.npz", classes=np.array(["cat", "dog"]))
    source = open_dataset(str(file), tmp_path)
    assert source.spec == ImageSpec(1, 4, 5, ("cat", "dog"))
    assert source.train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    colour = write(
        tmp_path / "colour.npz", x_train=np.zeros((6, 4, 5, 3), np.uint8), x_test=np.zeros((2, 4, 5, 3), np.uint8)
    )
    assert open_dataset(str(colour), tmp_path).spec.shape == (3, 4, 5)
    bare = write(tmp_path / "bare.npz", y_train=None, y_test=None)
    assert open_dataset(str(bare), tmp_path).train.labels.tolist() == [HIDDEN] * 6


def test_a_known_set_may_come_as_an_npz(tmp_path: Path) -> None:
    arrays: dict[str, Any] = {f"x_{part}": np.full((10, 28, 28), 9, np.uint8) for part in ("train", "test")}
    np.savez(tmp_path / "mnist.npz", **arrays, y_train=np.arange(10), y_test=np.arange(10))
    assert open_dataset("mnist", tmp_path).train.images.unique().tolist() == [9]
    assert located("mnist", tmp_path) == "in mnist.npz"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": None}, "has no x_test; it must hold x_train, y_train"),
        ({"x_train": np.zeros((6, 4, 5))}, "x_train is float64"),
        ({"x_train": np.zeros((6, 20), np.uint8)}, r"x_train is uint8 \(6, 20\)"),
        ({"x_train": np.zeros((6, 4, 5, 2), np.uint8)}, r"x_train is uint8 \(6, 4, 5, 2\)"),
        ({"x_test": np.zeros((0, 4, 5), np.uint8), "y_test": np.zeros(0, int)}, "x_test holds no images"),
        ({"y_train": np.zeros(5, int)}, r"y_train is int64 \(5,\); it must be whole numbers, one for each of 6"),
        ({"y_test": np.array([0.5, 1.0])}, "y_test is float64"),
        ({"x_test": np.zeros((2, 5, 4), np.uint8)}, "different shapes"),
        ({"y_test": np.array([0, 0])}, "class '1' has no images in test"),
        ({"classes": np.array(["only"])}, "labels run from 0 to 0; those of train, from 0 to 1"),
        ({"y_test": np.array([0, 9]), "classes": np.array(["a", "b"])}, "those of test, from 0 to 9"),
        ({"y_train": np.array([0, -5] * 3)}, "those of train, from -5 to 0"),
        ({"classes": np.array(["a", "a"])}, "classes are a, a; their names must differ"),
        ({"y_test": None}, "labels for one split alone"),
        ({"y_train": None, "y_test": None, "classes": np.array(["a"])}, "class 'a' has no images in train"),
        ({"x_train": np.zeros((6, 0, 5), np.uint8)}, "x_train holds no images"),
        ({"x_train": np.array([{}] * 6)}, "cannot be read .*Object arrays"),
    ],
)
def test_a_wrong_npz_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write(tmp_path / "wrong.npz", **changes)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(file), tmp_path)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_npz_is_one_line(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.npz").read_bytes()
    array = tmp_path / "array.npz"
    with array.open("wb") as handle:
        np.save(handle, np.zeros(3))
    for content in (b"", whole[:300], whole[:-30], array.read_bytes()):
        file = tmp_path / "cut.npz"
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"cannot be read .*; it must be an .npz of x_train") as caught:
            open_dataset(str(file), tmp_path)
        assert "\n" not in str(caught.value)


def test_a_known_set_of_other_content_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "mnist.npz")
    with pytest.raises(DataError, match=r"images of mnist are \(1, 28, 28\)"):
        open_dataset("mnist", tmp_path)
    write(tmp_path / "mnist.npz", y_train=None, y_test=None)
    with pytest.raises(DataError, match="has no y_train"):
        open_dataset("mnist", tmp_path)
    images = np.zeros((10, 32, 32, 3), np.uint8)
    write(
        tmp_path / "cifar10.npz",
        x_train=images,
        x_test=images,
        y_train=np.arange(10),
        y_test=np.arange(10),
        classes=np.array([f"class {i}" for i in range(10)]),
    )
    with pytest.raises(DataError, match=r"the classes of cifar10 are airplane, automobile, .*in this order"):
        open_dataset("cifar10", tmp_path)
    write(
        tmp_path / "lines.npz",
        x_train=images[..., 0],
        x_test=images[..., 0],
        y_train=np.arange(10),
        y_test=np.arange(10),
    )
    with pytest.raises(DataError, match="lines has no classes; leave y_train out"):
        open_dataset("lines", tmp_path)


def test_training_labels_may_be_hidden_and_test_labels_not(tmp_path: Path) -> None:
    file = write(tmp_path / "part.npz", y_train=np.array([0, 1, -1, -1, -1, -1]))
    assert open_dataset(str(file), tmp_path).train.labels.tolist() == [0, 1, HIDDEN, HIDDEN, HIDDEN, HIDDEN]
    write(tmp_path / "part.npz", x_test=np.zeros((3, 4, 5), np.uint8), y_test=np.array([0, 1, -1]))
    with pytest.raises(DataError, match="those of test, from -1 to 1"):
        open_dataset(str(file), tmp_path)


def fill(root: Path) -> Path:
    for split in ("train", "test"):
        for index, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                Image.new("L", (5, 4), 100 * index).save(root / split / name / f"{number}.png")
    return root


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    source = open_dataset(str(fill(tmp_path / "own")), tmp_path)
    assert source.spec == ImageSpec(1, 4, 5, ("cat", "dog"))
    assert source.train.labels.tolist() == [0, 0, 1, 1]
    assert source.test.images[2].unique().tolist() == [100]
    (tmp_path / "own" / "train" / ".ipynb_checkpoints").mkdir()
    (tmp_path / "own" / "train" / "cat" / ".DS_Store").touch()
    assert open_dataset(str(tmp_path / "own"), tmp_path).spec == source.spec


def test_wrong_folders_are_one_line(tmp_path: Path) -> None:
    root = fill(tmp_path / "own")
    (root / "train" / "dog" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png is no image that can be read"):
        open_dataset(str(root), tmp_path)
    Image.fromarray(np.full((4, 5), 40_000, np.uint16)).save(root / "train" / "dog" / "1.png")
    with pytest.raises(DataError, match=r"1\.png has more than 8 bits per channel \(mode I;16\)"):
        open_dataset(str(root), tmp_path)
    Image.new("L", (9, 9)).save(root / "train" / "dog" / "1.png")
    with pytest.raises(DataError, match=r"1\.png is \(9, 9, 1\) .*make them alike"):
        open_dataset(str(root), tmp_path)
    for file in (root / "train" / "dog").iterdir():
        file.unlink()
    with pytest.raises(DataError, match="class 'dog' has no images in train"):
        open_dataset(str(root), tmp_path)
    (root / "train" / "dog").rmdir()
    with pytest.raises(DataError, match="train and test must hold the same classes"):
        open_dataset(str(root), tmp_path)


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    root = fill(tmp_path / "own")
    file = root / "test" / "cat" / "0.png"
    noise = np.random.default_rng(0).integers(0, 255, (4, 5), np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(DataError, match=r"0\.png is no image that can be read"):
        open_dataset(str(root), tmp_path)


def test_neither_a_name_nor_a_path(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"no data set 'mnits' \(did you mean 'mnist'\?\); there are: cifar10, .* or give a path"
    ):
        open_dataset("mnits", tmp_path)


def test_a_fingerprint_follows_the_content(tmp_path: Path) -> None:
    assert fingerprint("mnist", tmp_path) == ""
    file = write(tmp_path / "a.npz")
    first = fingerprint(str(file), tmp_path)
    write(tmp_path / "a.npz", x_test=np.ones((2, 4, 5), np.uint8))
    assert len(first) == 16
    assert fingerprint(str(file), tmp_path) != first
    with pytest.raises(DataError, match=r"no data set .*none.*; there are: cifar10, "):
        fingerprint(str(tmp_path / "none"), tmp_path)


def test_a_folders_fingerprint_follows_names_and_content_but_not_hidden_files(tmp_path: Path) -> None:
    root = fill(tmp_path / "own")
    first = fingerprint(str(root), tmp_path)
    (root / "train" / ".DS_Store").write_text("a file manager was here")
    assert fingerprint(str(root), tmp_path) == first
    (root / "train" / "cat" / "0.png").rename(root / "train" / "cat" / "9.png")
    renamed = fingerprint(str(root), tmp_path)
    (root / "train" / "cat" / "9.png").write_bytes(b"other")
    assert len({first, renamed, fingerprint(str(root), tmp_path)}) == 3


CODE = """
import torch
from bench.contract import HIDDEN, ImageSpec, Split
{spec}
def {load}:
    n = 6 if split == "train" else {test}
    images, labels = torch.zeros(n, 1, 4, 5).byte(), {labels}
    return {returned}
"""
RIGHT = {
    "spec": 'SPEC = ImageSpec(1, 4, 5, ("cat", "dog"))',
    "load": "load(split, data_dir)",
    "test": "2",
    "labels": "torch.arange(n) % 2",
    "returned": "Split(images, labels)",
}


def guest(folder: Path, **changes: str) -> None:
    """A data set of one's own, ``boards``."""
    (folder / "datasets").mkdir()
    (folder / "datasets" / "boards.py").write_text(CODE.format(**{**RIGHT, **changes}))
    registry.visit(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": ""}, "defines no SPEC; it must, as SPEC = ImageSpec("),
        ({"spec": "SPEC = (1, 4, 5)"}, "SPEC = (1, 4, 5): must be an ImageSpec, as SPEC = ImageSpec("),
        (
            {"spec": "SPEC = ImageSpec(2, 4, 5)"},
            "SPEC has images of (2, 4, 5) (C, H, W): must be whole numbers above 0",
        ),
        ({"spec": "SPEC = ImageSpec(1, 4.0, 5)"}, "SPEC has images of (1, 4.0, 5) (C, H, W): must be whole numbers"),
        ({"spec": "SPEC = ImageSpec(1, 4, 5, 'ab')"}, "SPEC has classes = 'ab': must be a tuple of texts"),
        ({"spec": "SPEC = ImageSpec(1, 4, 5, ('a', 'a'))"}, "SPEC has two classes 'a'; their names must differ"),
        ({"spec": "SPEC = ImageSpec(1, 4, 5, ('a', ''))"}, "the class '' must be named in one line"),
        ({"load": "read(split, data_dir)"}, "defines no function load; it must, as def load(split, data_dir) -> Split"),
        ({"load": "load(split)"}, "load takes (split); it must take two, as def load(split, data_dir) -> Split"),
        ({"returned": "images, labels"}, "load('train', ...) must return a Split, as Split(images, labels), not tuple"),
        (
            {"spec": "SPEC = ImageSpec(1, 8, 8)"},
            "SPEC has images of (1, 8, 8) (C, H, W), and load('train', ...) returns (1, 4, 5); they must be the same",
        ),
        ({"test": "0"}, "load('test', ...) returns no images; it must return at least one"),
        (
            {"spec": "SPEC = ImageSpec(1, 4, 5)"},
            "SPEC has no classes, and load('train', ...) returns labels from 0 to 1; it must name the classes, or every "
            "label be HIDDEN (-1)",
        ),
        ({"labels": "torch.arange(n)"}, "labels run from 0 to 1; those of load('train', ...), from 0 to 5"),
        ({"test": "1"}, "load('test', ...) returns no images of class 'dog' (label 1); it must return some of each"),
    ],
)
def test_wrong_code_is_one_line_with_its_own_place(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    guest(tmp_path, **changes)
    with pytest.raises(DataError) as caught:
        open_dataset("boards", tmp_path / "data")
    assert str(caught.value).startswith(f"datasets/boards.py: {message}")
    assert "\n" not in str(caught.value)


def test_right_code_may_come_as_an_npz_too_which_is_told_by_its_own_place(tmp_path: Path) -> None:
    guest(tmp_path)
    assert open_dataset("boards", tmp_path).train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    file = write(tmp_path / "boards.npz", x_train=np.zeros((6, 5, 4), np.uint8), x_test=np.zeros((2, 5, 4), np.uint8))
    with pytest.raises(DataError) as caught:
        open_dataset("boards", tmp_path)
    assert str(caught.value) == f"{file}: images of boards are (1, 4, 5) (C, H, W), not (1, 5, 4)"
