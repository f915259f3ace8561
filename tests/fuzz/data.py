"""Images as they come: archives of arrays, IDX files, folders, published pickles, and what is kept of them."""

from __future__ import annotations

import hashlib
import io
import random
import struct
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bench.datasets import open_dataset
from tests.fuzz.mutations import as_json, changed, displaced, flipped, remove
from tests.fuzz.target import BYTES, PICKLES, PLACES, SMALL_PLACES, Broken, Target
from tests.fuzz.zips import bomb, lying, zipped

KINDS = ("uint8", "int8", "uint64", "int64", "float32", "bool", "complex64", "U5", "S3", "M8[s]")
SIDES = (-1, 0, 1, 6, 2**20, 2**31, 2**62)


class Npz(Target):
    """Archives of arrays."""

    NAMED = ".npz"
    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "arrays": "arrays of other types, shapes and values, or none",
        "headers": "headers that claim other arrays, more than there is memory for, or run on",
        "zips": "packed in other ways, names twice, sizes that lie, three gibibytes of zeros in three mebibytes",
        "pickles": PICKLES,
        "places": PLACES,
    }

    def make(self, mutation: str, draw: random.Random) -> None:
        file = self.folder / "own.npz"
        remove(file)
        remove(self.folder / "data")
        arrays: dict[str, Any] = {
            "x_train": np.zeros((6, 4, 5), np.uint8),
            "y_train": np.array([0, 1] * 3),
            "x_test": np.zeros((2, 4, 5), np.uint8),
            "y_test": np.array([0, 1]),
            "classes": np.array(["a", "b"]),
        }
        hit = draw.sample(sorted(arrays), draw.choice((1, 1, 2)))
        if mutation == "arrays":
            arrays |= {name: self._array(draw, arrays[name]) for name in hit}
        members = {f"{name}.npy": _npy(array) for name, array in arrays.items() if array is not None}
        if mutation == "headers":
            members |= {f"{name}.npy": self._header(draw, members[f"{name}.npy"]) for name in hit}
        if mutation == "pickles":
            whole = draw.random() < 0.2
            start = _npy(np.empty(6, "O"))
            end = 10 + struct.unpack("<H", start[8:10])[0]
            members |= {f"{name}.npy": self.payload if whole else start[:end] + self.payload for name in hit}
        content = zipped(members, draw.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
        if mutation == "zips":
            content = self._zipped(draw, members, f"{hit[0]}.npy")
        if mutation == "bytes":
            content = flipped(content, draw)
        if mutation == "pickles" and draw.random() < 0.2:
            content = self.payload
        file.write_bytes(content)
        if mutation == "places":
            displaced(file, draw)

    @staticmethod
    def _array(draw: random.Random, array: Any) -> Any:
        shape = tuple(draw.choice((0, 1, 2, 3, 6)) for _ in range(draw.randrange(5)))
        number = np.array(draw.choice([-1, 2**31, 10**9, 2**63 - 1]))
        other = draw.choice((None, array[:1], array[:0], array[None], number))
        filled = np.full(array.shape, draw.choice((1, 2, 255, 2**64 - 1)), np.uint64)
        return draw.choice((other, np.zeros(shape, draw.choice(KINDS)), filled))

    @staticmethod
    def _header(draw: random.Random, found: bytes) -> bytes:
        end = 10 + struct.unpack("<H", found[8:10])[0]
        shape = tuple(draw.choice(SIDES) for _ in range(draw.randrange(5)))
        kind = np.dtype(draw.choice(KINDS)).str
        sound = repr({"descr": kind, "fortran_order": draw.random() < 0.5, "shape": shape})
        header = draw.choice((sound, sound, sound, "(" * 5000, "1" * 9000, "{" + "'a':1," * 3000)).encode()
        if draw.random() < 0.5:
            return found[:8] + struct.pack("<H", len(header) % 2**16) + header + found[end:]
        claimed = draw.choice((len(header), 2**31, 2**32 - 1))
        return found[:6] + b"\x02\x00" + struct.pack("<I", claimed) + header + found[end:]

    @staticmethod
    def _zipped(draw: random.Random, members: dict[str, bytes], name: str) -> bytes:
        match draw.randrange(4):
            case 0:
                return zipped(members, draw.choice((zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
            case 1:
                return zipped(members, twice=name)
            case 2:
                return lying(zipped(members), draw)
            case _:
                start = members[name][: draw.choice((0, 6, 10, 60, len(members[name])))]
                if draw.random() < 0.5:  # a header of the second version may be so long
                    start = members[name][:6] + b"\x02\x00" + struct.pack("<I", 3 * 2**30)
                return bomb({**members, name: start}, name, draw)

    def read(self) -> None:
        own = self.folder / "own.npz"
        if not own.is_file():  # as one of a known set's, which is opened whatever it is
            (self.folder / "data").mkdir(exist_ok=True)
            own = own.rename(self.folder / "data" / "digits.npz")
        open_dataset("digits" if own.stem == "digits" else str(own), self.folder / "data")


class Idx(Target):
    """The four files of MNIST."""

    NAMED = "MNIST"
    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "headers": "headers that claim other arrays, with holes for as many bytes or without",
        "pickles": PICKLES,
        "places": PLACES,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.raw = folder / "data" / "MNIST" / "raw"
        images = bytes(range(256)) * 30 + bytes(160)
        self.sound = {}
        for part in ("train", "t10k"):
            self.sound[f"{part}-images-idx3-ubyte"] = struct.pack(">IIII", 2051, 10, 28, 28) + images
            self.sound[f"{part}-labels-idx1-ubyte"] = struct.pack(">II", 2049, 10) + bytes(range(10))
        self.raw.mkdir(parents=True)

    def make(self, mutation: str, draw: random.Random) -> None:
        hit = draw.sample(sorted(self.sound), draw.choice((1, 1, 2)))
        for name, content in self.sound.items():
            file = self.raw / name
            remove(file)
            file.write_bytes(content)
            if name not in hit:
                continue
            match mutation:
                case "bytes":
                    file.write_bytes(flipped(content, draw))
                case "headers":
                    sides = [draw.choice((0, 1, 10, 28, 2**16, 2**31, 2**32 - 1)) for _ in range(draw.choice((1, 3)))]
                    file.write_bytes(struct.pack(f">I{len(sides)}I", 2048 + len(sides), *sides))
                    if draw.random() < 0.7:
                        size = min(4 + 4 * len(sides) + int(np.prod(np.array(sides, "O"))), 2**43)
                        with file.open("r+b") as opened:
                            opened.truncate(size)
                case "pickles":
                    file.write_bytes(self.payload)
                case _:
                    displaced(file, draw)

    def read(self) -> None:
        open_dataset("mnist", self.folder / "data")


class Published(Target):
    """CIFAR-10 and SVHN, as pickles and MATLAB files, in the places that torchvision reads them from."""

    NAMED = "data"
    MUTATIONS: ClassVar = {"bytes": BYTES, "pickles": PICKLES, "places": SMALL_PLACES}
    CIFAR = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
    SVHN = ("train_32x32.mat", "test_32x32.mat")

    def make(self, mutation: str, draw: random.Random) -> None:
        remove(self.folder / "data")
        self.name, place, names = draw.choice(
            (("cifar10", "cifar-10-batches-py", self.CIFAR), ("svhn", "SVHN", self.SVHN))
        )
        folder = self.folder / "data" / place
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_bytes(flipped(self.payload, draw) if mutation == "bytes" else self.payload)
        if mutation == "places":
            displaced(folder / draw.choice(names), draw, large=False)

    def read(self) -> None:
        open_dataset(self.name, self.folder / "data")


class Images(Target):
    """Folders of images in every format."""

    NAMED = "own"
    FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000")
    ENDINGS = ("png", "jpg", "gif", "bmp", "tiff", "webp", "ppm", "jp2")
    NAMES = ("a", "b", "train", "test", "val", "c d", ".x", "é", "a\nb", "[red]", "<b>", "x" * 200, "a.png", "..png")
    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "sizes": "headers that claim up to 2^62 pixels, or that many in a few bytes",
        "names": "folders and files with names that nobody meant, too deep or beside one another",
        "pickles": PICKLES,
        "places": SMALL_PLACES,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.sound = {}
        for kind, ending in zip(self.FORMATS, self.ENDINGS, strict=True):
            for mode in ("L", "RGB"):
                content = io.BytesIO()
                Image.effect_noise((7, 6), 50).convert(mode).save(content, kind)
                self.sound[f"{mode}.{ending}"] = content.getvalue()

    def make(self, mutation: str, draw: random.Random) -> None:
        own = self.folder / "own"
        remove(own)
        remove(self.folder / "data")
        own.mkdir()
        self.size = draw.choice((None, None, 4))
        odd = mutation == "names"
        names = draw.sample(self.NAMES, draw.randrange(4)) if odd else ["a", "b"]
        part = draw.choice(("", "train", "x/y")) if odd else ""
        files = []
        for number, name in enumerate(names * 3):
            kind = draw.choice(sorted(self.sound))
            file = own / part / name / f"{draw.choice(self.NAMES) if odd else number}.{kind.partition('.')[2]}"
            file.parent.mkdir(parents=True, exist_ok=True)
            if odd and draw.random() < 0.2:
                file = file.parent.parent / file.name
            if not file.is_dir():
                file.write_bytes(self.sound[kind] + bytes([number]))
                files.append(file)
        for file in draw.sample(files, min(len(files), draw.choice((1, 1, 2)))):
            content = file.read_bytes()
            match mutation:
                case "bytes":
                    file.write_bytes(flipped(content, draw))
                case "sizes":
                    file.write_bytes(self._claiming(draw, content, file.suffix))
                case "pickles":
                    file.write_bytes(self.payload)
                case "places":
                    displaced(file, draw, large=False)
                case _:
                    pass

    @staticmethod
    def _claiming(draw: random.Random, content: bytes, ending: str) -> bytes:
        width, height = (draw.choice((1, 7, 9459, 2**16 - 1, 2**24, 2**31 - 1)) for _ in range(2))
        short = struct.pack("<HH", width % 2**16, height % 2**16)
        match ending:
            case ".png" if draw.random() < 0.03:  # as many as are read: decoded, and unlike the others
                return _png(9459, 9459, zlib.compress(bytes(9460 * 9459), 1))
            case ".png":
                return _png(width, height, zlib.compress(bytes(99)))
            case ".gif":
                content = content[:6] + short + content[10:]
                place = content.find(b",")
                return content[: place + 5] + short + content[place + 9 :] if draw.random() < 0.5 else content
            case ".bmp":
                return content[:18] + struct.pack("<ii", width, height) + content[26:]
            case ".ppm":
                return f"P{draw.choice((4, 5, 6))} {width} {height} {draw.choice((1, 255, 65535))}\n".encode() + content
            case ".jpg":
                place = content.find(b"\xff\xc0") + 5
                return content[:place] + struct.pack(">HH", height % 2**16, width % 2**16) + content[place + 4 :]
            case ".webp":
                return content[:26] + short + content[30:]
            case ".jp2":
                place = content.find(b"ihdr") + 4
                found = content[:place] + struct.pack(">II", height, width) + content[place + 8 :]
                place = found.find(b"\xff\x51") + 6
                return found[:place] + struct.pack(">II", width, height) + found[place + 8 :]
            case _:  # TIFF: width and height are entries 256 and 257 of a list of tags
                for tag, side in ((256, width), (257, height)):
                    place = content.find(struct.pack("<H", tag), 8)
                    content = content[: place + 2] + struct.pack("<HII", 4, 1, side) + content[place + 12 :]
                return content

    def read(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            open_dataset(str(self.folder / "own"), self.folder / "data", self.size)


class Kept(Target):
    """What is kept of a folder's images once they are read, and of the files' digests: made anew where it is damaged."""

    NAMED = "own"
    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "tensors": "other tensors, under a digest that is right",
        "digests": "other digests of the files, other marks",
        "pickles": PICKLES,
        "places": PLACES,
    }

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        own = folder / "own"
        for number in range(6):
            file = own / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((3, 4), number, np.uint8)).save(file)
        self.source = open_dataset(str(own), folder / "data")
        (self.tensors,) = (folder / "data").rglob("*.safetensors")
        self.digests = self.tensors.parent / f"{hashlib.sha256(str(own.resolve()).encode()).hexdigest()[:16]}.json"
        self.sound = self.tensors.read_bytes()

    def make(self, mutation: str, draw: random.Random) -> None:
        remove(self.tensors)
        remove(self.digests)
        self.tensors.write_bytes(self.sound)
        match mutation:
            case "bytes":
                self.tensors.write_bytes(flipped(self.sound, draw))
            case "tensors":
                self.tensors.write_bytes(self._others(draw))
            case "digests":
                marks = {f"{'ab'[number % 2]}/{number}.png": [70, 1, 1, 1, "0" * 64] for number in range(6)}
                written = as_json(changed(marks, draw))
                self.digests.write_bytes(flipped(written, draw) if draw.random() < 0.5 else written)
            case "pickles":
                self.tensors.write_bytes(self.payload)
                self.digests.write_bytes(self.payload)
            case _:
                displaced(draw.choice((self.tensors, self.digests)), draw)

    def _others(self, draw: random.Random) -> bytes:
        tensors = load_tensors(self.sound)
        images = tensors.pop("images")
        shape = tuple(draw.choice((0, 1, 3, 4, 6)) for _ in range(draw.randrange(6)))
        kind = draw.choice(("uint8", "int64", "float32", "bool"))
        other = draw.choice((images[:2], images[None], np.zeros(shape, kind), images.astype(kind)))
        tensors[draw.choice(("images", "images", "images", "x", ""))] = np.ascontiguousarray(other)
        whole = hashlib.sha256(" ".join(sorted(tensors)).encode())
        for name in sorted(tensors):
            whole.update(tensors[name].tobytes())
        return save_tensors(tensors, {"sha256": whole.hexdigest()})

    def read(self) -> None:
        found = open_dataset(str(self.folder / "own"), self.folder / "data")
        if found.spec != self.source.spec or len(found.train) != len(self.source.train):
            raise Broken(f"other images were taken for those of the folder: {found.spec}, {len(found.train)}")


def _npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, array, allow_pickle=True)
    return content.getvalue()


def _png(width: int, height: int, packed: bytes) -> bytes:
    """A grey PNG that claims to be so large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
