"""Files are whole or absent."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bench.files import remove_partial, write_whole

SIZE = 200_000
WRITES = """
import sys
from pathlib import Path
from bench.files import write_whole
for _ in range(100):
    write_whole(Path(sys.argv[1]), sys.argv[2].encode() * int(sys.argv[3]))
"""


def test_what_is_written_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    for content in (b"first", b"second"):
        write_whole(tmp_path / "new" / "file", content)
        assert (tmp_path / "new" / "file").read_bytes() == content
    assert os.listdir(tmp_path / "new") == ["file"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_where_the_disk_is_full_the_old_file_stands_and_nothing_is_left(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(os if call == "fsync" else Path, call, full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "file", b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_two_processes_and_two_threads_that_write_one_file_leave_it_whole(tmp_path: Path) -> None:
    file = tmp_path / "file"
    write_whole(file, b"0" * SIZE)
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITES, str(file), letter, str(SIZE)], stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    seen, wrong = set[bytes](), list[BaseException]()

    def write(letter: bytes) -> None:
        try:
            for _ in range(50):
                write_whole(file, letter * SIZE)
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in (b"c", b"d")]
    for thread in threads:
        thread.start()
    while any(writer.poll() is None for writer in writers) or any(thread.is_alive() for thread in threads):
        seen.add(file.read_bytes())
    assert [writer.communicate()[1] for writer in writers] == [b"", b""]
    assert wrong == []
    assert seen <= {letter * SIZE for letter in (b"0", b"a", b"b", b"c", b"d")}
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_has_the_permissions_of_any_other(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "file", b"content")
        (tmp_path / "other").touch()
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "other").stat().st_mode


def test_what_killed_writers_left_of_a_file_is_removed_and_of_no_other(tmp_path: Path) -> None:
    for name in (".a[1].partial", ".a[1].0123abcd.partial", ".a[1].b.0123abcd.partial", ".a1.0123abcd.partial", "a[1]"):
        (tmp_path / name).touch()
    remove_partial(tmp_path / "a[1]")
    assert sorted(os.listdir(tmp_path)) == [".a1.0123abcd.partial", ".a[1].b.0123abcd.partial", "a[1]"]
