"""Bad input, as people and accidents make it: one line that says what is wrong, where, and what would be right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli import main
from bench.paths import Paths
from bench.text import LONGEST_LINE


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def refusal(*words: str) -> str:
    """What a command that is refused says: one line, however endless what was given."""
    result = bench(*words)
    assert result.exit_code == 2, result.output
    lines = result.output.splitlines()
    if lines[0].startswith("Usage: "):  # click's own, with the blank line after it
        lines = lines[lines.index("") + 1 :]
    assert len(lines) == 1, result.output
    assert lines[0].startswith("Error: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < LONGEST_LINE + 100
    return lines[0].removeprefix("Error: ")


def everything(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder, and what it holds."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["/etc/x", "..", "../x", "a/b", ".x", "a b", "a\nb", "\udcff", "x" * 101, "x" * 5000])
def test_a_name_that_could_lead_elsewhere_is_refused_by_whatever_makes_a_path_of_it(inside: Paths, name: str) -> None:
    before = everything(inside.studies.parent.parent)
    for words in (
        ("define", name, "--model", "vae"),
        ("run", "study", name, "--dry-run"),
        ("show", "study", name),
        ("report", name),
    ):
        assert "a name must be letters, digits, '.', '_' and '-'" in refusal(*words)
    assert everything(inside.studies.parent.parent) == before


def test_a_study_file_whose_name_is_none_is_told_and_harms_no_other(inside: Paths) -> None:
    text = (inside.studies / "smoke.toml").read_text()
    (inside.studies / "...toml").write_text(text)  # the study "..", whose report would be the project's README.md
    (inside.studies / "my study.toml").write_text(text)
    (inside.studies / "folder.toml").mkdir()
    (inside.studies / "broken.toml").write_text("question = ")
    (inside.studies / "deep.toml").write_text("question = " + 2000 * "[" + 2000 * "]")
    (inside.studies / "digits.toml").write_text("seeds = " + 5000 * "9")
    (inside.studies / "huge.toml").write_text("# " + 2**20 * "x")
    (inside.studies / "latin.toml").write_bytes(b'question = "\xe9"')
    listed = bench("list", "studies").output
    assert "Does it run?" in listed
    assert "'my study': a name must be" in listed
    for name, said in (
        ("folder", "is no file"),
        ("broken", "not TOML"),
        ("deep", "lie too deep in one another"),
        ("digits", "cannot be read"),
        ("huge", "holds 1,048,578 bytes; a study has at most 1,048,576"),
        ("latin", "not TOML"),
    ):
        assert said in refusal("run", "study", name, "--dry-run")
        assert said in listed
    os.mkfifo(inside.studies / "pipe.toml")
    assert "is no file" in refusal("show", "study", "pipe")


def test_a_component_whose_name_is_none_is_told(inside: Paths) -> None:
    (inside.studies.parent / "datasets").mkdir()
    (inside.studies.parent / "datasets" / "my data.py").write_text("")
    assert "data set 'my data': a name must be" in refusal("run", "trial", "vae", "--dataset", "my data", "--dry-run")
    assert "data set 'my data': a name must be" in bench("doctor").output


def test_an_application_of_ones_own_writes_nothing_beside_its_folder(inside: Paths) -> None:
    from bench.applications import Applied
    from bench.cli.apply import _write
    from bench.cli.common import UsageLine

    target = inside.studies.parent / "applied" / "mine"
    with pytest.raises(UsageLine, match=r"mine would write '\.\./\.\./README\.md', outside"):
        _write(Applied(b"", {"../../README.md": b""}, [{"file": ""}]), "mine", target)
    assert not target.exists()
