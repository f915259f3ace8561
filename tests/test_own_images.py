"""One's own images as they lie about: every layout that is read, what is held out, and what is kept of it."""

from __future__ import annotations

import hashlib
import os
import re
import time
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from bench import api, registry
from bench.batches import DataOptions, prepare
from bench.cli import main
from bench.cli.progress import track
from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.datasets import KEPT, Source, _files, centre_square, fingerprint, open_dataset, read_image
from bench.datasets._folders import WHOLE, Listing, divide
from bench.datasets._images import extensions
from bench.paths import Paths
from bench.run.events import Asked
from bench.run.worker import Work
from bench.study.definition import SECTIONS, Failure, Trial

Item = TypeVar("Item")

quietly = settings(deadline=None, database=None, derandomize=True, max_examples=150)


def numbered(number: int, shape: tuple[int, ...] = (4, 5)) -> Image.Image:
    """An image whose first pixels are a number's four bytes, so that no two are alike."""
    pixels = np.zeros(shape, np.uint8)
    pixels[0, :4] = np.frombuffer(number.to_bytes(4, "little"), np.uint8).reshape(4, *[1] * (len(shape) - 2))
    return Image.fromarray(pixels)


def fill(root: Path, *folders: str, n: int = 3, shape: tuple[int, ...] = (4, 5)) -> Path:
    """``n`` images in each of ``folders`` of ``root``, all different."""
    for place, folder in enumerate(folders):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(n):
            numbered(place * 1000 + number, shape).save(root / folder / f"{number:03}.png")
    return root


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def opened(path: Path, data_dir: Path, image_size: int | None = None) -> Source | str:
    """What a path is read as, or the one line in which it is refused."""
    try:
        return open_dataset(str(path), data_dir, image_size)
    except DataError as error:
        line = str(error)
    assert "\n" not in line
    return line


def both(path: Path, data_dir: Path) -> tuple[Split, Split]:
    """The training and the test images of a path."""
    source = open_dataset(str(path), data_dir)
    return source.train, source.test


def refused(path: Path, data_dir: Path) -> str:
    """The one line in which a path is refused."""
    line = opened(path, data_dir)
    assert isinstance(line, str)
    return line


PAGE = (Path(__file__).parent.parent / "docs" / "add-a-data-set.md").read_text()


class TestLayouts:
    """Where images lie, and what they are read as."""

    @pytest.mark.parametrize("tree", re.findall(r"```\n(pictures/.*?)```", PAGE, re.DOTALL))
    def test_what_the_page_shows_is_read(self, tree: str, tmp_path: Path) -> None:
        for number, place in enumerate(tree.split()):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            numbered(number).save(tmp_path / place)
        source = open_dataset(str(tmp_path / "pictures"), tmp_path)
        assert source.spec.classes == (("cat", "dog") if "cat" in tree else ())
        assert len(source.train) + len(source.test) == len(tree.split())
        assert "train" not in tree or source.train.images[:, 0, 0, 0].tolist() == list(range(tree.count("train")))

    @pytest.mark.parametrize("ending", ["png", "jpeg", "webp", "avif", "gif", "bmp", "tiff", "ppm", "jp2"])
    def test_every_format_on_the_page_is_read(self, ending: str, tmp_path: Path) -> None:
        if not features.check("avif") and ending == "avif":
            pytest.skip("this Pillow comes without AVIF")
        Image.new("RGB", (9, 8), (200, 100, 50)).save(tmp_path / f"a.{ending}")
        assert f".{ending}" in extensions()
        pixel = read_image(tmp_path / f"a.{ending}").getpixel((4, 4))
        assert isinstance(pixel, tuple)
        assert max(abs(found - was) for found, was in zip(pixel, (200, 100, 50), strict=True)) < 12

    @pytest.mark.parametrize(
        "names", [("train", "test"), ("Training", "Testing"), ("train", "val"), ("train", "valid")]
    )
    def test_what_is_beside_train_is_measured_on(self, names: tuple[str, str], tmp_path: Path) -> None:
        train, other = names
        root = fill(tmp_path / "own", f"{train}/dog", f"{train}/cat", f"{other}/cat", f"{other}/dog")
        source = open_dataset(str(root), tmp_path)
        assert source.spec == ImageSpec(1, 4, 5, ("cat", "dog"))
        assert source.train.images[:, 0, 0, :2].tolist() == [[232, 3], [233, 3], [234, 3], [0, 0], [1, 0], [2, 0]]
        assert source.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert source.validation is None

    def test_a_search_is_measured_on_the_folder_that_is_for_it(self, tmp_path: Path) -> None:
        folders = [f"{part}/{word}" for part in ("train", "validation", "test") for word in ("cat", "dog")]
        source = open_dataset(str(fill(tmp_path / "own", *folders)), tmp_path)
        assert source.validation is not None
        options = DataOptions(validation=0.1, classes=("dog",))
        search = prepare("own", source.spec, source.train, source.test, options, source.validation)
        assert (search.held_out_name, len(search.train)) == ("validation", 3)
        assert torch.equal(search.held_out.images, source.validation.images[3:])
        grid = prepare("own", source.spec, source.train, source.test, DataOptions(), source.validation)
        assert (grid.held_out_name, len(grid.train)) == ("test", 6)
        assert torch.equal(grid.held_out.images, source.test.images)

    def test_a_tenth_of_each_class_is_held_out_where_nothing_says_which(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "cat", "dog", n=100)
        source = open_dataset(str(root), tmp_path)
        assert len(source.train) + len(source.test) == 200
        for split in (source.train, source.test):
            for label, word in enumerate(("cat", "dog")):
                expected = {
                    int(file.stem) for file in (root / word).iterdir() if held_out(file) == (split is source.test)
                }
                assert set(split.images[split.labels == label][:, 0, 0, 0].tolist()) == {
                    (number + 1000 * label) % 256 for number in expected
                }

    def test_images_without_folders_have_no_classes(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "", n=60)
        source = open_dataset(str(root), tmp_path)
        assert source.spec == ImageSpec(1, 4, 5)
        assert set(source.train.labels.tolist()) == set(source.test.labels.tolist()) == {HIDDEN}
        assert sorted(source.test.images[:, 0, 0, 0].tolist()) == [
            int(file.stem) for file in sorted(root.iterdir()) if held_out(file)
        ]

    def test_splits_without_classes(self, tmp_path: Path) -> None:
        source = open_dataset(str(fill(tmp_path / "own", "train", "test")), tmp_path)
        assert source.spec.classes == ()
        assert source.test.labels.tolist() == [HIDDEN] * 3

    def test_a_single_class_says_nothing(self, tmp_path: Path) -> None:
        assert open_dataset(str(fill(tmp_path / "own", "all")), tmp_path).spec.classes == ()

    def test_train_may_be_a_class(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "vehicles", "train", "car")
        assert open_dataset(str(root), tmp_path).spec.classes == ("car", "train")

    def test_what_is_no_image_is_left_aside_and_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        root = fill(tmp_path / "own", "cat", "dog", "extra")
        for file in (root / "extra").iterdir():
            file.unlink()
        for place in ("README", "cat/labels.csv", "cat/more.CSV", "cat/photo.heic", ".DS_Store", "cat/Thumbs.db"):
            (root / place).write_text("no image")
        (root / "__MACOSX").mkdir()
        (root / "cat" / "empty").mkdir()
        (root / "cat" / "001.png").rename(root / "cat" / "001.PNG")
        source = open_dataset(str(root), tmp_path)
        assert len(source.train) + len(source.test) == 6
        assert [record.getMessage() for record in caplog.records] == [
            f"{root}: 2 classes, images: {len(source.train)} to train on, {len(source.test)} to test on (a tenth of each "
            "class, by the hash of each file); left aside: 4 files (.csv, .heic, no ending) and the folders empty, extra"
        ]
        open_dataset(str(root), tmp_path)
        assert len(caplog.records) == 1

    def test_what_lies_beside_the_splits_is_left_aside(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        root = fill(tmp_path / "own", "train/a", "train/b", "test/a", "test/b", "unlabelled", "")
        assert len(open_dataset(str(root), tmp_path).train) == 6
        assert caplog.messages[0].endswith("left aside: 3 files (.png) and the folder unlabelled")

    @pytest.mark.parametrize(
        ("folders", "message"),
        [
            (
                ("a/b/c", "a/b/d"),
                r"a/b/c/000\.png lies too deep: images are read from .*own/\* or .*; try --dataset .*own/a/b$",
            ),
            (
                ("train/a", "train/b"),
                r"a/000\.png lies too deep: .*; try --dataset .*/train; or put a folder test/ beside it",
            ),
            (("train/a/deep", "train/b", "test/a"), r"deep/000\.png lies too deep: .*own/train/\* or .*; move it up"),
            (("", "a"), r"own holds images \(000\.png, 3 in all\) beside folders of images \(a\); it must hold one or"),
            (("train/a", "train/b", "test/a"), r"own: train and test must hold the same classes; there is no test/b"),
            (("train/a", "test/a", "val/a", "val/b"), "train and val must hold the same classes; there is no train/b"),
            (
                ("train/a", "train/b", "test"),
                r"own: train/ holds a folder for each class, test/ images alone; make them",
            ),
            (
                ("train", "test/a", "test/b"),
                r"own: test/ holds a folder for each class, train/ images alone; make them",
            ),
            (("train", "test", "testing"), "own holds both test/ and testing/; put them together"),
        ],
    )
    def test_another_layout_is_one_line(self, folders: tuple[str, ...], message: str, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", *folders)
        with pytest.raises(DataError, match=message) as caught:
            open_dataset(str(root), tmp_path)
        with pytest.raises(DataError) as again:
            fingerprint(str(root), tmp_path)
        assert str(again.value) == str(caught.value)

    def test_a_folder_without_images_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "own" / "docs").mkdir(parents=True)
        (tmp_path / "own" / "a.npz").touch()
        line = refused(tmp_path / "own", tmp_path)
        assert "own holds no images, in files that end in .png, .jpg or the like; " in line
        assert line.endswith("what there is: 1 file (.npz) and the folder docs")

    @pytest.mark.parametrize(
        ("copies", "message"), [(1, "one image; it takes two"), (3, "one image, 3 times; it takes two")]
    )
    def test_one_image_is_not_enough(self, copies: int, message: str, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "many", "one")
        for file in (root / "one").iterdir():
            file.unlink()
        for number in range(copies):
            numbered(7).save(root / "one" / f"{number}.png")
        assert f"class 'one' has {message}" in refused(root, tmp_path)

    @pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
    def test_a_folder_that_may_not_be_read_is_one_line(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "a", "b")
        (root / "a").chmod(0)
        try:
            assert "own/a cannot be read: " in refused(root, tmp_path)
        finally:
            (root / "a").chmod(0o700)

    def test_a_link_that_leads_nowhere_is_one_line(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "")
        (root / "gone.png").symlink_to(tmp_path / "nowhere.png")
        assert "gone.png cannot be read: " in refused(root, tmp_path)


def held_out(file: Path) -> bool:
    """Whether the hash of what a file holds is among the lowest tenth."""
    return int.from_bytes(hashlib.sha256(file.read_bytes()).digest()[:8]) < 2**64 / 10


def listing(*classes: Iterable[str]) -> tuple[Listing, dict[Path, str]]:
    """A folder of classes by the digests of their files."""
    digests = {
        Path(f"{label}/{n}"): digest for label, digests in enumerate(classes) for n, digest in enumerate(digests)
    }
    groups: dict[str, list[Path]] = {}
    for file in digests:
        groups.setdefault(file.parent.name, []).append(file)
    return Listing(Path(), tuple(groups), {WHOLE: groups}, ""), digests


DIGEST = st.binary(min_size=32, max_size=32).map(bytes.hex)


@quietly
@given(st.lists(DIGEST, min_size=2, max_size=30), st.lists(DIGEST, max_size=30))
def test_further_files_move_no_other_between_the_splits(first: list[str], further: list[str]) -> None:
    sides = []
    for contents in (first, [*first, *further]):
        folder, digests = listing(contents)
        if len(set(contents)) < 2:
            with pytest.raises(DataError, match="it takes two that differ"):
                divide(folder, digests)
            return
        parts = divide(folder, digests)
        assert parts["train"]
        assert parts["test"]
        side = {word: {digests[file] for file, _ in parts[word]} for word in ("train", "test")}
        assert not side["train"] & side["test"]
        sides.append(side)
    low = [digest for digest in first if int(digest[:16], 16) < 2**64 / 10]
    if low and len(set(low)) < len(set(first)):  # no class so small that its own extremes had to stand in
        assert sides[0]["test"] == set(low)
        assert all(sides[0][word] <= sides[1][word] for word in ("train", "test"))


class TestPixels:
    """What becomes of an image file."""

    def save(self, file: Path, image: Image.Image, **options: Any) -> Image.Image:
        image.save(file, **options)
        return read_image(file)

    def test_it_is_turned_upright(self, tmp_path: Path) -> None:
        image = Image.new("RGB", (8, 4), "black")
        image.putpixel((0, 0), (255, 255, 255))
        exif = Image.Exif()
        exif[0x0112] = 6  # the camera was turned: the first row is the right side
        read = self.save(tmp_path / "a.png", image, exif=exif)
        assert read.size == (4, 8)
        assert read.getpixel((3, 0)) == (255, 255, 255)

    def test_what_is_transparent_is_white(self, tmp_path: Path) -> None:
        clear, half, full = (0, 0, 0, 0), (0, 0, 0, 128), (10, 20, 30, 255)
        image = Image.new("RGBA", (3, 1))
        for column, pixel in enumerate((clear, half, full)):
            image.putpixel((column, 0), pixel)
        read = self.save(tmp_path / "a.png", image)
        assert [read.getpixel((column, 0)) for column in range(3)] == [(255,) * 3, (127,) * 3, (10, 20, 30)]
        grey = self.save(tmp_path / "grey.png", Image.new("LA", (1, 1), (40, 0)))
        assert (grey.mode, grey.getpixel((0, 0))) == ("L", 255)

    def test_a_palette_is_looked_up(self, tmp_path: Path) -> None:
        image = Image.new("P", (2, 1))
        image.putpalette([200, 100, 0, 9, 9, 9])
        image.putpixel((1, 0), 1)
        read = self.save(tmp_path / "a.png", image)
        assert [read.getpixel((column, 0)) for column in range(2)] == [(200, 100, 0), (9, 9, 9)]
        read = self.save(tmp_path / "clear.png", image, transparency=1)
        assert [read.getpixel((column, 0)) for column in range(2)] == [(200, 100, 0), (255,) * 3]

    def test_of_several_frames_the_first_is_read(self, tmp_path: Path) -> None:
        frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
        read = self.save(tmp_path / "a.png", frames[0], save_all=True, append_images=frames[1:])
        assert read.getpixel((0, 0)) == (255, 0, 0)

    def test_grey_ones_among_colours_are_colours(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "train", "test")
        Image.new("RGB", (5, 4), (1, 2, 3)).save(root / "train" / "999.png")
        source = open_dataset(str(root), tmp_path)
        assert source.spec.shape == (3, 4, 5)
        assert source.train.images[1, :, 0, 0].tolist() == [1, 1, 1]
        assert source.train.images[3, :, 0, 0].tolist() == [1, 2, 3]

    def test_the_centre_square_is_cut_out_and_resized(self) -> None:
        pixels = np.zeros((40, 100), np.uint8)
        pixels[:, 30:70] = np.arange(40)[:, None]
        square = centre_square(Image.fromarray(pixels), 40)
        assert np.array_equal(np.asarray(square), pixels[:, 30:70])
        assert np.array_equal(np.asarray(centre_square(Image.fromarray(pixels.T), 40)), pixels[:, 30:70].T)
        stripes = Image.fromarray((np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
        small = np.asarray(centre_square(stripes, 16)).astype(int)[2:-2, 2:-2]
        assert abs(small - 127.5).max() < 3  # every fourth pixel alone would be black, or white

    def test_images_of_many_sizes_take_an_image_size(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "a", "b", shape=(9, 7, 3))
        fill(root, "b", shape=(5, 6))
        line = refused(root, tmp_path)
        assert (
            "000.png is (5, 6, 1) (H, W, C); the images before it are (9, 7, 3) (H, W, C): make them alike; or give"
            in line
        )
        assert line.endswith("image_size, as in --set image_size=64")
        source = open_dataset(str(root), tmp_path, 8)
        assert source.spec == ImageSpec(3, 8, 8, ("a", "b"))
        assert source.resized == "centre square at 8x8, Pillow's Lanczos filter"
        files = [file for word in ("a", "b") for file in sorted((root / word).iterdir())]
        expected = [np.asarray(centre_square(read_image(file), 8).convert("RGB")) for file in files]
        found = torch.cat((source.train.images, source.test.images)).permute(0, 2, 3, 1).numpy()
        assert sorted(image.tobytes() for image in found) == sorted(image.tobytes() for image in expected)

    @pytest.mark.parametrize("name", ["digits", "own.npz"])
    def test_any_other_set_is_resized_alike(self, name: str, tmp_path: Path) -> None:
        colours = np.random.default_rng(0).integers(0, 255, (4, 6, 5, 3), np.uint8)
        np.savez(tmp_path / "own.npz", x_train=colours, x_test=colours[:2])
        where = name if name == "digits" else str(tmp_path / name)
        whole, small = open_dataset(where, tmp_path), open_dataset(where, tmp_path, 12)
        assert small.spec == replace(whole.spec, height=12, width=12)
        assert torch.equal(small.train.labels, whole.train.labels)
        image = whole.test.images[1].permute(1, 2, 0).squeeze(2).numpy()
        expected = np.asarray(centre_square(Image.fromarray(image), 12))
        assert np.array_equal(small.test.images[1].permute(1, 2, 0).squeeze(2).numpy(), expected)
        again = open_dataset(where, tmp_path, 12)
        assert torch.equal(again.train.images, small.train.images)
        assert len(list((tmp_path / KEPT).glob("*.safetensors"))) == 1

    @pytest.mark.parametrize("size", [0, -1, 1025])
    def test_a_size_that_is_none_is_one_line(self, size: int, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=f"image_size = {size}: must be from 1 to 1024 pixels"):
            open_dataset("digits", tmp_path, size)

    def test_more_than_memory_holds_is_one_line(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 8, "SC_PHYS_PAGES": 10}[name])
        root = fill(tmp_path / "own", "")
        expected = r"5 images of .*\(H, W, C\) take .* GiB, and this machine has .*; give image_size, as in --set image_size=64"
        fill(root, "", n=5)
        with pytest.raises(DataError, match=expected):
            open_dataset(str(root), tmp_path)


class Watched:
    """A `Track` that counts what is read, under its words."""

    def __init__(self) -> None:
        self.read: dict[str, int] = {}

    def __call__(self, items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
        count = 0
        for item in items:
            count += 1
            yield item
        assert count == total
        self.read[what] = count


class TestKept:
    """Files are read once, and read again where they are others."""

    @pytest.fixture(autouse=True)
    def settled(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Files are taken to have been there for long."""
        monkeypatch.setattr(_files, "SETTLED", -(10**18))

    def test_ten_files_are_one_the_second_time(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "", n=10)
        first, second = Watched(), Watched()
        one, two = (open_dataset(str(root), tmp_path / "data", track=track) for track in (first, second))
        assert first.read == {"looking through own": 10, "reading own": 10}
        assert second.read == {}
        assert torch.equal(one.train.images, two.train.images)
        assert torch.equal(one.test.images, two.test.images)
        assert one.fingerprint == two.fingerprint == fingerprint(str(root), tmp_path / "data")

    def test_a_change_of_any_file_is_seen(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "", n=10)
        file = root / "004.png"
        before = file.stat()
        first = fingerprint(str(root), tmp_path)
        time.sleep(0.02)  # more than one tick of the kernel's clock
        numbered(77).save(file)
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert (file.stat().st_size, file.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
        watched = Watched()
        source = open_dataset(str(root), tmp_path, track=watched)
        assert watched.read == {"looking through own": 1, "reading own": 10}
        assert source.fingerprint != first
        assert 77 in torch.cat([split.images for split in both(root, tmp_path)])[:, 0, 0, 0].tolist()

    def test_what_has_just_changed_is_looked_at_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_files, "SETTLED", 10**12)
        root = fill(tmp_path / "own", "", n=10)
        for _ in range(2):
            watched = Watched()
            fingerprint(str(root), tmp_path, watched)
            assert watched.read == {"looking through own": 10}

    @pytest.mark.parametrize(
        "damage", [b"", b"[]", b'{"000.png": [1]}', b'{"000.png": 3}', b"\xff", b'{"000.png": "fives"}']
    )
    def test_a_damaged_index_is_made_anew(self, damage: bytes, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "")
        first = fingerprint(str(root), tmp_path)
        (index,) = (tmp_path / KEPT).glob("*.json")
        sound = index.read_bytes()
        index.write_bytes(damage)
        assert fingerprint(str(root), tmp_path) == first
        assert index.read_bytes() == sound

    def test_where_nothing_can_be_kept_the_same_images_are_read(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        root = fill(tmp_path / "own", "", n=10)
        (tmp_path / "file").touch()
        kept, unkept = (open_dataset(str(root), tmp_path / place) for place in ("data", "file"))
        assert "cannot be kept" in caplog.text
        assert torch.equal(kept.train.images, unkept.train.images)
        assert kept.fingerprint == unkept.fingerprint

    def test_what_changes_while_it_is_read_is_not_kept(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "", n=10)

        def meddle(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
            yield from items
            if what == "reading own":
                numbered(77).save(root / "004.png")

        with pytest.raises(DataError, match="own has changed while it was read: run this again"):
            open_dataset(str(root), tmp_path, track=meddle)
        assert not list((tmp_path / KEPT).glob("*.safetensors"))
        assert 77 in torch.cat([split.images for split in both(root, tmp_path)])[:, 0, 0, 0].tolist()

    def test_a_trial_whose_images_have_changed_is_refused(self, tmp_path: Path) -> None:
        root = fill(tmp_path / "own", "")
        trial = Trial("a", "vae", str(root), 0, {section: {} for section in SECTIONS}, fingerprint="of other images")
        events = list(Work(Asked(), tmp_path, tmp_path, {})(trial))
        assert events == [Failure("data", f"{root} has changed since this study was started: run it again")]


@pytest.mark.usefixtures("inside")
class TestCommands:
    """As a user types it."""

    def test_a_smoke_run_takes_what_there_is_and_says_how_it_was_resized(self, inside: Paths) -> None:
        fill(inside.studies.parent / "own", "cat", "dog", n=4, shape=(9, 7, 3))
        words = ("run", "study", "smoke", "--seeds", "1", "--workers", "2", "--dataset", "own")
        without = bench(*words, "--smoke", "--set", "train_images=0")
        assert without.exit_code == 2
        assert "train_images = 0: data set own has 1 to 6" in without.output
        plain = bench(*words, "--set", "image_size=8")
        assert plain.exit_code == 2
        assert "train_images = 100: data set own has 1 to 6" in plain.output
        done = bench(*words, "--smoke", "--set", "image_size=8")
        assert done.exit_code == 0, done.output
        runs = api.table("smoke_smoke")
        assert {(protocol["resized"], protocol["images"]) for protocol in runs["protocol"]} == {
            ("centre square at 8x8, Pillow's Lanczos filter", "2")
        }
        assert "reports/smoke_smoke/README.md" in bench("report", "smoke", "--smoke", "--set", "image_size=8").output

    def test_a_path_in_a_study_is_seen_from_its_project_and_one_that_is_typed_from_where_that_was(
        self, inside: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home = inside.studies.parent
        fill(home / "own", "cat", "dog")
        assert bench("define", "own_images", "--model", "vae", "--dataset", "own", "--seeds", "1").exit_code == 0
        (home / "notes" / "digits").mkdir(parents=True)
        monkeypatch.chdir(home / "notes")
        for words in (["run", "study", "own_images"], ["run", "trial", "vae", "--dataset", "../own"]):
            done = bench(*words, "--dry-run", "--set", "image_size=28")
            assert done.exit_code == 0, done.output
            assert ", seed 0, own " in done.output
        assert [registry.seen(name) for name in ("../own", "../own/", "digits")] == ["own", "own", "digits"]
        monkeypatch.chdir(home)
        assert registry.seen("own/") == "own/"  # as it stands in the study's file
        monkeypatch.chdir(home / "notes")
        assert "../own" not in bench("define", "more", "--model", "vae", "--dataset", "../own").output
        assert tomllib.loads((home / "studies" / "more.toml").read_text())["datasets"] == ["own"]
        assert "seed 0, digits " in bench("run", "trial", "vae", "--dataset", "digits", "--dry-run").output
        assert "no data set '../none'" in bench("run", "trial", "vae", "--dataset", "../none", "--dry-run").output

    def test_a_bar_is_shown_on_a_terminal_and_nowhere_else(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert list(track(range(3), "reading own", 3)) == [0, 1, 2]
        assert capsys.readouterr() == ("", "")
        monkeypatch.setenv("FORCE_COLOR", "1")  # which rich takes for a terminal
        assert list(track(range(3), "reading own", 3)) == [0, 1, 2]
        shown = capsys.readouterr()
        assert shown.out == ""
        assert "reading own" in shown.err
