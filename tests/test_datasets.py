"""Data sets: what each file keeps, where it is read from, and what is wrong said in one line."""

from __future__ import annotations

import gzip
import math
import shutil
import socket
import struct
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from bench import checks, registry
from bench.checks.datasets import Subject
from bench.contract import DataError, ImageSpec, Split
from bench.datasets import NETWORK_SECONDS, fetched, located, open_dataset, write_npz
from bench.datasets.digits import FILE as DIGITS
from bench.datasets.lines import draw
from tests.promises import promises, try_promise
from tests.test_own_files import GOOD

OFFLINE = ("digits", "lines")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(registry.load("datasets", "fashion_mnist"), "DEBIAN", Path("no package"))


@pytest.fixture(scope="module")
def nowhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data folder that holds nothing, so that no set is looked for in the developer's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("data")
        patch.setenv("BENCH_DATA_DIR", str(folder))
        yield folder


@pytest.mark.parametrize(("name", "promise"), promises("datasets"))
def test_every_file_keeps_its_promises(name: str, promise: str, nowhere: Path) -> None:
    try_promise("datasets", name, promise)
    assert not list(nowhere.iterdir())


class Kept:
    """A data set file that keeps every promise."""

    __doc__ = "Two grey levels, each with a little noise, of two classes."
    SPEC = ImageSpec(1, 4, 4, ("dark", "bright"))

    @staticmethod
    def load(split: str, data_dir: Path) -> Split:
        labels = torch.arange(8) % 2
        noise = torch.randint(0, 9, (8, 1, 4, 4), generator=torch.Generator().manual_seed(len(split)))
        return Split((labels.view(-1, 1, 1, 1) * 200 + noise).byte(), labels)


def _changed(split: str, data_dir: Path, *, images: Any = None, labels: Any = None) -> Split:
    """What `Kept` loads, with other images or labels, made from its own."""
    kept = Kept.load(split, data_dir)
    return Split(images(kept.images) if images else kept.images, labels(kept.labels) if labels else kept.labels)


@pytest.mark.parametrize(
    ("promise", "broken", "message"),
    [
        ("its_first_line_says_what_it_is", {"__doc__": "Mine."}, "must begin with a line that says"),
        ("its_spec_can_be_one_of_images", {"SPEC": (1, 4, 4)}, "SPEC must be an ImageSpec, not"),
        ("its_spec_can_be_one_of_images", {"SPEC": ImageSpec(4, 4, 4)}, "SPEC has 4 channels; it must be 1"),
        ("its_spec_can_be_one_of_images", {"SPEC": ImageSpec(1, 4, 4, ("a", "a"))}, "names of the classes must differ"),
        ("images_have_the_shape_of_its_spec", {"SPEC": ImageSpec(1, 4, 5)}, r"the train images are \(1, 4, 4\)"),
        (
            "images_have_the_shape_of_its_spec",
            {"load": lambda split, data_dir: None},
            "must return a Split, not NoneType",
        ),
        (
            "images_are_not_all_alike",
            {"load": partial(_changed, images=torch.zeros_like)},
            "all 8 train images are the same",
        ),
        (
            "the_same_images_come_again",
            {"load": partial(_changed, images=lambda images: torch.randint_like(images, 0, 255))},
            "draw from a generator with a seed",
        ),
        (
            "train_and_test_differ",
            {"load": lambda split, data_dir: Kept.load("test", data_dir)},
            "must look at its split",
        ),
        ("labels_fit_its_classes", {"SPEC": ImageSpec(1, 4, 4)}, "all train labels must be HIDDEN"),
        (
            "labels_fit_its_classes",
            {"load": partial(_changed, labels=lambda labels: labels + 1)},
            r"train labels \[2\]",
        ),
        (
            "labels_fit_its_classes",
            {"load": partial(_changed, labels=lambda labels: labels * 0)},
            "no train images of 'bright'",
        ),
        (
            "labels_fit_its_classes",
            {
                "load": lambda split, data_dir: _changed(
                    split, data_dir, labels=lambda labels: labels - int(split == "test")
                )
            },
            "a test label is HIDDEN",
        ),
    ],
)
def test_a_broken_promise_is_told(promise: str, broken: dict[str, Any], message: str, tmp_path: Path) -> None:
    tried = checks.of("datasets")[1]
    kept = ModuleType("kept", Kept.__doc__)
    kept.SPEC, kept.load = Kept.SPEC, Kept.load  # type: ignore[attr-defined]
    for check in tried.values():
        check(Subject("digits", kept, tmp_path))
    vars(kept).update(broken)
    with pytest.raises(checks.Broken, match=message):
        tried[f"check_{promise}"](Subject("digits", kept, tmp_path))


@pytest.mark.parametrize("name", registry.names("datasets"))
def test_where_a_set_is_can_be_told(name: str, tmp_path: Path) -> None:
    place = getattr(registry.load("datasets", name), "PLACE", "")
    how = f"the first run on it downloads it, or put {name}.npz or torchvision's {place} there yourself"
    expected = "comes with the package" if name in OFFLINE else f"not here: {how}"
    assert located(name, tmp_path) == expected


def test_digits_are_those_of_scikit_learn() -> None:
    theirs = load_digits()
    with np.load(DIGITS) as ours:
        assert (ours["images"] == theirs.images).all()
        assert (ours["labels"] == theirs.target).all()


def test_digits_are_the_1797_of_the_package_divided_once(tmp_path: Path) -> None:
    source = open_dataset("digits", tmp_path)
    assert (len(source.train), len(source.test)) == (1433, 364)
    shares = torch.bincount(source.test.labels) / torch.bincount(torch.cat((source.train.labels, source.test.labels)))
    assert shares.min() >= 0.2
    assert shares.max() < 0.21
    seen = {image.numpy().tobytes() for image in source.train.images}
    assert not any(image.numpy().tobytes() in seen for image in source.test.images)


def test_a_line_is_fifteen_pixels_long_and_points_where_its_angle_says() -> None:
    angles = torch.tensor([0.0, math.pi / 2, math.pi])
    right, up, left = draw(angles)[:, 0]
    assert torch.allclose(right, left.flip(1), atol=1e-5)
    assert torch.allclose(up, right.rot90(1), atol=1e-4)
    assert right[:, :14].sum() == 0
    assert right[15:17, 16:31].min() == 1  # both rows beside the axis, from the centre to the 15th pixel
    assert right[15:17, 31].tolist() == pytest.approx([1.5 - math.hypot(0.5, 0.5)] * 2, abs=1e-5)


def test_lines_have_the_mass_of_their_length_and_every_angle() -> None:
    mass = draw(torch.linspace(0, 2 * math.pi, 50)).sum(dim=(1, 2, 3))
    assert mass.min() > 28
    assert mass.max() < 36  # 15 pixels long and two wide, and the antialiased end
    images = registry.load("datasets", "lines").load("test", Path()).images.float()
    assert images.mean(dim=0).std() < 30


def test_the_centre_of_a_lines_mass_lies_halfway_along_it() -> None:
    angles = torch.linspace(-3, 3, 61)
    images = draw(angles)[:, 0]
    place = torch.arange(32) - 15.5
    right = (images.sum(dim=1) * place).sum(dim=1) / images.sum(dim=(1, 2))
    down = (images.sum(dim=2) * place).sum(dim=1) / images.sum(dim=(1, 2))
    assert (torch.atan2(-down, right) - angles).abs().max() < 0.03
    halfway = torch.hypot(right, down)
    assert halfway.max() < 8.2  # half of 16, to the grid's accuracy
    assert halfway.min() > 7.3  # near the axes the border of the image cuts the round end off


def test_lines_are_the_same_every_time_and_others_in_the_other_split() -> None:
    load = registry.load("datasets", "lines").load
    first, again, other = load("test", Path()).images, load("test", Path()).images, load("train", Path()).images
    assert torch.equal(first, again)
    assert (len(other), len(first)) == (50_000, 10_000)
    assert not torch.equal(other[: len(first)], first)


def mnist(
    root: Path, digits: tuple[int, ...] = tuple(range(9, -1, -1)), side: int = 28, place: str = "MNIST"
) -> np.ndarray[Any, Any]:
    """Write images and labels of ``digits`` in torchvision's layout; returns the images."""
    raw = root / place / "raw"
    raw.mkdir(parents=True)
    n = len(digits)
    pixels = np.arange(n * side * side, dtype=np.uint32).astype(np.uint8).reshape(n, side, side)
    for part in ("train", "t10k"):
        head = struct.pack(">IIII", 2051, n, side, side)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, n) + bytes(digits))
    return pixels


def test_mnist_is_read_from_torchvisions_layout(tmp_path: Path) -> None:
    pixels = mnist(tmp_path)
    source = open_dataset("mnist", tmp_path)
    assert source.train.labels.tolist() == list(range(9, -1, -1))
    assert torch.equal(source.test.images[:, 0], torch.from_numpy(pixels))
    # What is there can be read where nothing can be written, as on a cluster's shared disk.
    assert [entry.name for entry in tmp_path.iterdir()] == ["MNIST"]


def test_fashion_mnist_is_taken_from_debian_s_package_where_that_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None
) -> None:
    """Its files are packed; a damaged one leaves nothing behind, as a broken download does."""
    pixels, package = mnist(tmp_path / "made", place="package"), tmp_path / "made" / "package" / "raw"
    for file in list(package.iterdir()):
        file.with_name(f"{file.name}.gz").write_bytes(gzip.compress(file.read_bytes()))
        file.unlink()
    monkeypatch.setattr(registry.load("datasets", "fashion_mnist"), "DEBIAN", package)
    data = tmp_path / "data"
    data.mkdir()
    source = open_dataset("fashion_mnist", data)
    assert torch.equal(source.train.images[:, 0], torch.from_numpy(pixels))
    assert (source.test.labels.tolist(), source.spec.classes[8]) == (list(range(9, -1, -1)), "bag")
    assert [entry.name for entry in data.iterdir() if not entry.name.startswith(".")] == ["FashionMNIST"]
    (package / "t10k-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b\x08\x00 torn")
    with pytest.raises(DataError, match=r"cannot download fashion_mnist into .+; put it there yourself as"):
        open_dataset("fashion_mnist", tmp_path)
    assert not (tmp_path / "FashionMNIST").exists()
    shutil.rmtree(package)
    with pytest.raises(DataError, match=r"cannot download fashion_mnist into .+ Network is unreachable"):
        open_dataset("fashion_mnist", tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00",
        struct.pack(">IIII", 2051, 10, 28, 28),
        struct.pack(">IIII", 2051, 10, 28, 28) + b"too short",
        b"\x1f\x8b\x08\x00 still packed",
        struct.pack(">IIII", 2051, 1, 28, 28) + bytes(784),  # fewer images than labels
    ],
)
def test_a_damaged_mnist_is_one_line(tmp_path: Path, content: bytes) -> None:
    mnist(tmp_path)
    (tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=r"MNIST is damaged \(.+\); remove it and mnist is fetched again") as caught:
        open_dataset("mnist", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("digits", "side", "message"),
    [
        (tuple(range(10)), 8, r"MNIST: images of mnist are \(1, 28, 28\) \(C, H, W\), not \(1, 8, 8\)"),
        ((*range(10), 77), 28, "MNIST: labels run from 0 to 9; those of train, from 0 to 77"),
        ((0, 1, 2, 4, 5, 6, 7, 8, 9), 28, "MNIST: class '3' has no images in train"),
    ],
)
def test_an_mnist_that_is_none_is_one_line(tmp_path: Path, digits: tuple[int, ...], side: int, message: str) -> None:
    mnist(tmp_path, digits, side)
    with pytest.raises(DataError, match=message):
        open_dataset("mnist", tmp_path)


def test_a_data_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(DataError, match=r"cannot write mnist into .*file: .*File exists"):
        open_dataset("mnist", file)


def imagenette(root: Path) -> Path:
    """One 96x128 image of each class in torchvision's layout, the class told by its red."""
    import torchvision

    for part in ("train", "val"):
        for index, wnid in enumerate(torchvision.datasets.Imagenette._WNID_TO_CLASS):
            folder = root / "imagenette2-160" / part / wnid
            folder.mkdir(parents=True)
            Image.new("RGB", (96, 128), (20 * index, 0, 0)).save(folder / "a.JPEG")
    return root


def test_imagenette_is_resized_once(tmp_path: Path) -> None:
    source = open_dataset("imagenette", imagenette(tmp_path))
    assert source.train.images.shape == (10, 3, 64, 64)
    assert source.train.labels.tolist() == list(range(10))
    assert abs(int(source.test.images[5, 0].float().mean()) - 100) < 3
    cache = tmp_path / "imagenette.npz"
    assert cache.stat().st_mode & 0o777 == (tmp_path / "imagenette2-160/val/n01440764/a.JPEG").stat().st_mode & 0o777
    assert torch.equal(registry.load("datasets", "imagenette").load("test", tmp_path).images, source.test.images)
    assert torch.equal(open_dataset("imagenette", tmp_path).train.images, source.train.images)


def test_a_truncated_photograph_is_named_and_nothing_is_cached(tmp_path: Path) -> None:
    file = imagenette(tmp_path) / "imagenette2-160" / "val" / "n03028079" / "a.JPEG"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"val/n03028079/a\.JPEG is no image that can be read"):
        open_dataset("imagenette", tmp_path)
    assert all(path.suffix == ".lock" for path in tmp_path.iterdir() if path.is_file())


def test_an_imagenette_without_a_class_does_not_shift_the_others(tmp_path: Path) -> None:
    folder = imagenette(tmp_path) / "imagenette2-160" / "train" / "n02102040"
    (folder / "a.JPEG").unlink()
    folder.rmdir()
    with pytest.raises(DataError, match="train must hold one folder for each of ten classes, not 9 folders"):
        open_dataset("imagenette", tmp_path)


def test_two_at_once_download_once_with_a_time_limit(tmp_path: Path) -> None:
    (tmp_path / ".set.partial").mkdir()  # what a killed download left
    (tmp_path / ".set.partial" / "junk").touch()
    downloads = []

    def download(folder: Path) -> None:
        downloads.append(socket.getdefaulttimeout())
        assert not list(folder.iterdir())
        time.sleep(0.05)
        (folder / "set").mkdir()

    arguments = ("set", tmp_path, "set", download, lambda: Split(torch.zeros(1, 1, 2, 2).byte(), torch.tensor([0])))
    threads = [threading.Thread(target=fetched, args=arguments) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert downloads == [NETWORK_SECONDS]
    assert socket.getdefaulttimeout() is None
    assert sorted(path.name for path in tmp_path.iterdir()) == [".set.lock", "set"]


def test_a_download_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def download(folder: Path) -> None:
        (folder / "set").mkdir()
        (folder / "set" / "half").touch()
        raise RuntimeError("File not found\nor corrupted.")

    with pytest.raises(DataError, match=r"cannot download set into .*: File not found or corrupted\.; put it there"):
        fetched("set", tmp_path, "set", download, pytest.fail)
    assert [path.name for path in tmp_path.rglob("*")] == [".set.lock"]


def test_a_cache_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: Any, **_: Any) -> None:
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(DataError, match=r"cannot write .*a\.npz: .*No space left on device"):
        write_npz(tmp_path / "a.npz", GOOD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", [name for name in registry.names("datasets") if name not in OFFLINE])
@pytest.mark.usefixtures("no_network")
def test_no_network_is_one_line_and_leaves_nothing(name: str, tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"cannot download {name} into .*; put it there yourself as {name}.npz"
    ) as caught:
        open_dataset(name, tmp_path)
    assert "\n" not in str(caught.value)
    assert all(path.suffix == ".lock" for path in tmp_path.rglob("*"))


def test_a_split_refuses_what_is_no_split() -> None:
    with pytest.raises(ValueError, match="images must be uint8"):
        Split(torch.zeros(2, 1, 4, 4), torch.zeros(2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"labels must be int64 \[2\]"):
        Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64))
