"""What trials share: made once, and made again where it is damaged."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from bench import cache
from bench.cache import cached, digest

CPU = torch.device("cpu")


class Maker:
    """Makes the same tensors every time, and counts how often."""

    def __init__(self, seconds: float = 0) -> None:
        self.made = 0
        self.seconds = seconds

    def __call__(self) -> dict[str, Tensor]:
        self.made += 1
        time.sleep(self.seconds)
        return {"b": torch.arange(6).view(2, 3).T, "a": torch.tensor(0.5)}


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    make = Maker()
    first, again = (cached(tmp_path / "new" / "x.safetensors", make, CPU) for _ in range(2))
    assert make.made == 1
    assert sorted(first) == sorted(again) == ["a", "b"]
    for found in (first, again):
        assert torch.equal(found["b"], torch.arange(6).view(2, 3).T)
        assert found["a"] == 0.5


@pytest.mark.parametrize("damage", ["a flipped bit", "the end missing", "something else", "no digest"])
def test_damage_is_found_and_mended(damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file, make = tmp_path / "x.safetensors", Maker()
    cached(file, make, CPU)
    content = bytearray(file.read_bytes())
    if damage == "a flipped bit":
        content[-1] ^= 1
    elif damage == "the end missing":
        del content[-5:]
    elif damage == "something else":
        content[:] = b"not tensors"
    else:
        content[:] = content.replace(b'"sha256"', b'"sha-00"')
    file.write_bytes(content)
    assert cached(file, make, CPU)["a"] == 0.5
    assert make.made == 2
    assert "x.safetensors is damaged" in caplog.text
    cached(file, make, CPU)
    assert make.made == 2


def test_those_who_ask_at_once_wait_for_the_one_that_makes_it(tmp_path: Path) -> None:
    make = Maker(seconds=0.2)
    threads = [threading.Thread(target=cached, args=(tmp_path / "x.safetensors", make, CPU)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.made == 1


def test_a_making_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail() -> dict[str, Tensor]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        cached(tmp_path / "x.safetensors", fail, CPU)
    assert [file.suffix for file in tmp_path.iterdir()] == [".lock"]
    assert cached(tmp_path / "x.safetensors", Maker(), CPU)["a"] == 0.5


def test_a_digest_is_of_every_byte_and_of_the_recipe() -> None:
    images = torch.zeros(10, 1, 4, 4, dtype=torch.uint8)
    other = images.clone()
    other[9, 0, 3, 3] = 1
    assert len({digest(images), digest(other), digest(images, recipe="two"), digest(images, images)}) == 4
    assert digest(images) == digest(images.clone())


@pytest.mark.parametrize("thing", ["a pipe", "a folder", "more than there is room for"])
def test_what_is_no_file_of_tensors_is_not_read(thing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.safetensors"
    match thing:
        case "a pipe":
            os.mkfifo(file)
        case "a folder":
            file.mkdir()
        case _:
            cached(file, Maker(), CPU)
            monkeypatch.setattr(cache, "available", lambda: file.stat().st_size - 1)
    make = Maker()
    if thing == "a folder":
        with pytest.raises(OSError, match="directory"):
            cached(file, make, CPU)
    else:
        assert cached(file, make, CPU)["a"] == 0.5
    assert make.made == 1


def test_where_there_is_no_room_to_keep_them_they_are_made_and_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    make = Maker()
    with monkeypatch.context() as patch:
        patch.setattr("bench.cache.save_file", full)
        assert cached(tmp_path / "x.safetensors", make, CPU)["a"] == 0.5
    assert caplog.messages == ["x.safetensors cannot be kept ([Errno 28] No space left on device)"]
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    cached(tmp_path / "x.safetensors", make, CPU)
    assert make.made == 2
