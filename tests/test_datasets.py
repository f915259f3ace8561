"""Data sets: what each file keeps, one's own images, and what is wrong said in one line."""

from __future__ import annotations

import math
import socket
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.datasets import fingerprint, located, open_dataset
from bench.datasets.lines import draw
from bench.registry import names, take

OFFLINE = ("digits", "lines")
GOOD = {
    "x_train": np.zeros((6, 4, 5), np.uint8),
    "y_train": np.array([0, 1, 0, 1, 0, 1]),
    "x_test": np.zeros((2, 4, 5), np.uint8),
    "y_test": np.array([0, 1]),
}


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def write(path: Path, **changes: Any) -> Path:
    np.savez(path, **{key: value for key, value in {**GOOD, **changes}.items() if value is not None})
    return path


@pytest.mark.parametrize("name", names("datasets"))
def test_every_file_has_a_spec_and_says_what_it_is(name: str, tmp_path: Path) -> None:
    module = take("datasets", name)
    assert isinstance(module.SPEC, ImageSpec)
    assert module.SPEC.channels in (1, 3)
    assert len(module.__doc__) > 60
    assert located(name, tmp_path) in ("comes with the package", "not here: downloaded when it is used")


@pytest.mark.parametrize("name", OFFLINE)
def test_offline_sets_load_as_their_spec_says(name: str, tmp_path: Path) -> None:
    source = open_dataset(name, tmp_path)
    for split in (source.train, source.test):
        assert tuple(split.images.shape[1:]) == source.spec.shape
        assert split.images.dtype == torch.uint8
        classes = set(split.labels.tolist())
        assert classes == (set(range(len(source.spec.classes))) or {HIDDEN})
    assert not list(tmp_path.iterdir())


def test_digits_are_the_1797_of_the_package_divided_once(tmp_path: Path) -> None:
    source = open_dataset("digits", tmp_path)
    assert (len(source.train), len(source.test)) == (1433, 364)
    shares = torch.bincount(source.test.labels) / torch.bincount(torch.cat((source.train.labels, source.test.labels)))
    assert shares.min() >= 0.2
    assert shares.max() < 0.21
    seen = {image.numpy().tobytes() for image in source.train.images}
    assert not any(image.numpy().tobytes() in seen for image in source.test.images)


def test_a_line_is_sixteen_pixels_long_and_points_where_its_angle_says() -> None:
    angles = torch.tensor([0.0, math.pi / 2, math.pi])
    right, up, left = draw(angles)[:, 0]
    assert torch.allclose(right, left.flip(1), atol=1e-5)
    assert torch.allclose(up, right.rot90(1), atol=1e-4)
    assert right[:, :14].sum() == 0
    assert right[15:17, 16:].min() == 1  # both rows beside the axis, from the centre to the edge


def test_lines_have_the_mass_of_their_length_and_every_angle() -> None:
    mass = draw(torch.linspace(0, 2 * math.pi, 50)).sum(dim=(1, 2, 3))
    assert mass.min() > 30
    assert mass.max() < 38  # 16 pixels long and two wide, and the antialiased end
    images = take("datasets", "lines").load("test", Path()).images.float()
    assert images.mean(dim=0).std() < 30


def test_mnist_is_read_from_torchvisions_layout(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    pixels = np.arange(3 * 784, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
    for part, word in (("train", "train"), ("t10k", "test")):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 3, 28, 28) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, 3) + bytes([7, 0, 9]))
        assert word in ("train", "test")
    source = open_dataset("mnist", tmp_path)
    assert source.train.labels.tolist() == [7, 0, 9]
    assert torch.equal(source.test.images[:, 0], torch.from_numpy(pixels))
    (raw / "train-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, 3, 28, 28) + b"too short")
    with pytest.raises(DataError, match=r"MNIST is damaged .*; remove it and mnist is fetched again"):
        open_dataset("mnist", tmp_path)


def test_imagenette_is_resized_once(tmp_path: Path) -> None:
    module = take("datasets", "imagenette")
    import torchvision

    for part in ("train", "val"):
        for index, wnid in enumerate(torchvision.datasets.Imagenette._WNID_TO_CLASS):
            folder = tmp_path / "imagenette2-160" / part / wnid
            folder.mkdir(parents=True)
            Image.new("RGB", (96, 128), (20 * index, 0, 0)).save(folder / "a.JPEG")
    source = open_dataset("imagenette", tmp_path)
    assert source.train.images.shape == (10, 3, 64, 64)
    assert source.train.labels.tolist() == list(range(10))
    assert abs(int(source.test.images[5, 0].float().mean()) - 100) < 3
    assert (tmp_path / "imagenette.npz").exists()
    assert torch.equal(module.load("test", tmp_path).images, source.test.images)


@pytest.mark.parametrize("name", [name for name in names("datasets") if name not in OFFLINE])
@pytest.mark.usefixtures("no_network")
def test_no_network_is_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"cannot download {name} into .*; put it there yourself as {name}.npz"
    ) as caught:
        open_dataset(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert all(path.suffix == ".lock" for path in tmp_path.rglob("*"))


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
    arrays = {f"x_{part}": np.full((10, 28, 28), 9, np.uint8) for part in ("train", "test")}
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
        ({"classes": np.array(["only"])}, "labels run from 0 to 0"),
    ],
)
def test_a_wrong_npz_is_one_line(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    file = write(tmp_path / "wrong.npz", **changes)
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(file), tmp_path)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_npz_and_a_known_one_of_the_wrong_shape(tmp_path: Path) -> None:
    file = write(tmp_path / "cut.npz")
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError, match="cannot be read"):
        open_dataset(str(file), tmp_path)
    write(tmp_path / "mnist.npz")
    with pytest.raises(DataError, match=r"images of mnist are \(1, 28, 28\)"):
        open_dataset("mnist", tmp_path)


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


def test_wrong_folders_are_one_line(tmp_path: Path) -> None:
    root = fill(tmp_path / "own")
    (root / "train" / "dog" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png is no image that can be read"):
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
    with pytest.raises(DataError, match=r"no data set 'mnits': there are cifar10, digits, .* or give a path"):
        open_dataset("mnits", tmp_path)


def test_a_fingerprint_follows_the_content(tmp_path: Path) -> None:
    assert fingerprint("mnist") == ""
    file = write(tmp_path / "a.npz")
    first = fingerprint(str(file))
    write(tmp_path / "a.npz", x_test=np.ones((2, 4, 5), np.uint8))
    assert len(first) == 16
    assert fingerprint(str(file)) != first
    with pytest.raises(DataError, match="neither a known name"):
        fingerprint(str(tmp_path / "none"))


def test_a_split_refuses_what_is_no_split() -> None:
    with pytest.raises(ValueError, match="images must be uint8"):
        Split(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must be int64 \[2\]"):
        Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
