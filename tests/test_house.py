"""`docs/house.py`, which draws the picture of the house: on a house made up here, and on this one."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

MADE_UP = {
    "__init__.py": "",
    "ground.py": "import bench.ground\n",  # itself is no import
    "hall/__init__.py": "from bench import ground\n",
    "hall/door.py": "from bench.hall import open_it\nfrom bench.ground import a, b\n",
    "attic.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n"
        "    from bench.hall import door\n"
        "def climb():\n"
        "    import bench.ground\n"
        "    import json\n"
    ),
}


def build(root: Path, files: dict[str, str]) -> None:
    """A house of these files, with the script beside it."""
    for name, text in files.items():
        file = root / "bench" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "docs").mkdir(exist_ok=True)
    shutil.copy(ROOT / "docs" / "house.py", root / "docs")


def picture(root: Path, *arguments: str, status: int = 0) -> str:
    """What the script prints there, on whichever channel."""
    command = [sys.executable, str(root / "docs" / "house.py"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    return done.stdout + done.stderr


def git(root: Path, *words: str) -> None:
    """A git command that depends on nobody's settings."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *identity, *words], check=True, capture_output=True)


def rows(text: str) -> dict[str, str]:
    """The lines of the table by room."""
    table = text.split("\n\n")[0].splitlines()[1:]
    return {line.split()[0]: " ".join(line.split()[1:]) for line in table}


def test_every_import_is_counted_once_wherever_it_stands(tmp_path: Path) -> None:
    build(tmp_path, MADE_UP)
    text = picture(tmp_path)
    assert rows(text) == {
        "__init__": "1 0",
        "attic": "1 6 ground (hall)",
        "ground": "1 1",
        "hall": "2 3 ground",
    }
    assert "5 modules in 4 rooms, 10 lines" in text
    # attic: ground and hall.door; door: hall and ground; hall: ground. Of them door's of its own front door is within a room.
    assert "5 imports between modules, 3 between rooms" in text


def test_circles_are_found_between_modules_and_between_rooms(tmp_path: Path) -> None:
    build(tmp_path, MADE_UP | {"ground.py": "from bench.hall import door\n"})
    text = picture(tmp_path)
    assert "circles between rooms: ground hall\n" in text  # not attic, which nothing leads back to
    assert "circles between modules: bench.ground bench.hall bench.hall.door\n" in text


def test_an_import_for_the_type_checker_makes_no_circle(tmp_path: Path) -> None:
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from bench.hall import door\n"
    build(tmp_path, MADE_UP | {"ground.py": typed})
    text = picture(tmp_path)
    assert rows(text)["ground"] == "1 3 (hall)"
    assert "circles between rooms: none\n" in text


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_revision_is_read_from_git(tmp_path: Path) -> None:
    build(tmp_path, MADE_UP)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "a")
    before = picture(tmp_path)
    build(tmp_path, {"cellar.py": "import bench.attic\n"})
    assert picture(tmp_path, "HEAD") == before
    assert rows(picture(tmp_path))["cellar"] == "1 1 attic"
    assert picture(tmp_path, "nowhere", status=1).startswith("git cannot give nowhere: ")
    assert picture(tmp_path, "HEAD", "HEAD~1", status=1) == (
        "usage: python docs/house.py [REVISION], not HEAD HEAD~1\n"
    )


def test_no_import_of_this_house_goes_round_in_a_circle() -> None:
    text = picture(ROOT)
    assert "circles between rooms: none" in text
    assert "circles between modules: none" in text


def test_every_room_is_on_the_plan_and_imports_from_its_own_row_or_from_those_above() -> None:
    page = (ROOT / "docs" / "design.md").read_text()
    table = page.partition("| rooms |")[2].partition("\n\n")[0]
    plan = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    level = {room: number for number, row in enumerate(plan) for room in row}
    assert len(level) == sum(map(len, plan)), "a room stands twice in the table of docs/design.md"
    for room, text in rows(picture(ROOT)).items():
        assert room in level, f"{room}: a room without a place in the table of docs/design.md"
        below = [other for other in text.split()[2:] if "(" not in other and level[other] > level[room]]
        assert not below, f"{room} imports {', '.join(below)}, below it in the table of docs/design.md"
