"""What docs/sources.md says makes each figure: every command of its table in the smallest form, and the files it names."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import bench
from bench import registry
from bench.cli import main

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "sources.md"
TITLE = "## Every figure and table, and what makes it"
FIGURES = {"000": 7, "001": 1, "002": 11, "003": 31, "004": 11}  # so many figures each document numbers
SMALL = {
    "train_images": 16,
    "batch_size": 16,
    "test_images": 64,  # a row names the 61st
    "samples": 16,
    "likelihood_draws": 2,
}
LABELLED = {"train_images": 64}  # of a semi-supervised study, whose smokes label 50
HERE = """
def run(trials, work, resources):
    for trial in trials:
        for event in work(trial):
            yield trial, event
"""  # an executor: a process of its own costs each trial more than it trains for
PUBLISHED = ("mnist", "cifar10", "svhn", "imagenette")
IMAGES = 64  # in each split of those: six of every class at least, of which semi-supervised smokes label five


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        document: its number.
        figures: the numbers of the figures that it is about.
        commands: what makes them, each without ``bench``; from the first on, which runs a study, where one is needed.
        variant: that RUN is of; empty where any serves.
        files: what is made, as the table names it.
        cell: the last one whole.
    """

    document: str
    figures: tuple[int, ...]
    commands: tuple[str, ...]
    variant: str
    files: tuple[str, ...]
    cell: str

    @property
    def study(self) -> str:
        """The study whose runs it shows; empty where it needs none."""
        return next((command.split()[2] for command in self.commands if command.startswith("run study")), "")


def figures(text: str) -> tuple[int, ...]:
    """The numbers in "003 figures 1, 2" or "002 figures 1 to 3"; none in "002 listings 1 to 3"."""
    _, word, numbers = text.split(" ", 2)
    if not word.startswith("figure"):
        return ()
    found: list[int] = []
    for part in numbers.split(", "):
        first, _, last = part.partition(" to ")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def read() -> list[Row]:
    """The table."""
    rows: list[Row] = []
    lines = PAGE.read_text().partition(TITLE)[2].partition("\n## ")[0].splitlines()
    for line in (line for line in lines if re.match(r"\| 00\d ", line)):
        what, _, how, cell = (each.strip() for each in line.strip("|").split("|"))
        document, own = what[:3], figures(what)
        commands = () if how.startswith("none") else tuple(re.findall(r"`bench ([^`]+)`", how))
        if how == "the same":
            commands = rows[-1].commands
        elif before := re.fullmatch(r"as figure (\d+)", how):
            commands = next(row.commands for row in rows if row.document == document and int(before[1]) in row.figures)
        elif any(" RUN" in command for command in commands) and not commands[0].startswith("run study"):
            study = next(row.commands[0] for row in reversed(rows) if row.study)
            commands = (study, *commands)
        variant = re.search(r"for the variant `([^`]+)`", how)
        named = [code or link for code, link in re.findall(r"`([^`]+/[^`]*)`|\]\(\.\./([^)]+)\)", cell)]
        rows.append(Row(document, own, commands, variant[1] if variant else "", tuple(named), cell))
    return rows


ROWS = read()
STUDIES = {study: list(rows) for study, rows in groupby(sorted(ROWS, key=lambda row: row.study), lambda row: row.study)}


def test_whatever_a_published_report_has_is_linked() -> None:
    named = re.findall(r"`(reports/\w+/[\w.-]+)`", PAGE.read_text())
    assert named
    assert not [file for file in named if (ROOT / file).exists()]


def test_every_figure_has_a_row() -> None:
    for document, count in FIGURES.items():
        found = sorted(figure for row in ROWS if row.document == document for figure in row.figures)
        assert found == list(range(1, count + 1)), document


def test_a_row_says_what_makes_it_and_which_file_it_makes() -> None:
    """Or it is a drawing, or layers, which are printed or tested and are no file."""
    for row in ROWS:
        made = any(command.startswith(("run", "apply")) for command in row.commands)
        assert made == bool(row.files), row


@pytest.fixture(scope="session")
def small_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a few images of every published set that the table needs: a bright stripe for each class, and noise."""
    folder = tmp_path_factory.mktemp("data")
    for seed, name in enumerate(PUBLISHED):
        spec = registry.load("datasets", name).SPEC
        random = np.random.default_rng(seed)
        labels = np.arange(IMAGES) % len(spec.classes)
        arrays: dict[str, Any] = {}
        for split in ("train", "test"):
            images = random.integers(0, 64, (IMAGES, spec.height, spec.width, spec.channels), dtype=np.uint8)
            for image, label in zip(images, labels, strict=True):
                image[2 * label : 2 * label + 4] += 150
            arrays |= {f"x_{split}": images.squeeze(3) if spec.channels == 1 else images, f"y_{split}": labels}
        np.savez(folder / f"{name}.npz", allow_pickle=False, **arrays)
    return folder


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A project of its own; what a study has trained there, or a data set's classifier, the next one finds."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("studies", "executors", "mlruns"):
        (folder / name).mkdir()
    (folder / "executors" / "here.py").write_text(HERE)
    shutil.copy(empty_database, folder / "mlruns" / "mlflow.db")
    return folder


@pytest.mark.parametrize("study", [study for study in STUDIES if study])
def test_every_command_of_a_study_makes_the_files_that_its_rows_name(
    study: str, project: Path, small_sets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.setenv("BENCH_DATA_DIR", str(small_sets))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    small = SMALL | (LABELLED if study == "semi_supervised" else {})
    text = (ROOT / "studies" / f"{study}.toml").read_text()
    if text != (shorter := re.sub(r"^pictures = \[.*?\]", "pictures = [1]", text, flags=re.MULTILINE)):
        Path("studies", f"{study}.toml").write_text(shorter)  # an epoch that is not the last, of two
        small["epochs"] = 2

    @cache
    def runs_of(command: str) -> pd.DataFrame:
        settings = " ".join(f"--set {name}={value}" for name, value in small.items())
        call(f"{command} --smoke --seeds 1 --executor here --gpus '' {settings}")
        return bench.table(f"{study}_smoke", wide=True).sort_values("started")

    call_once = cache(call)
    for row in STUDIES[study]:
        runs = runs_of(row.commands[0])
        run = runs[(runs["variant"] == row.variant) | (not row.variant)].iloc[0]
        for command in row.commands[1:]:
            call_once(command.replace("RUN", run["key"]))
        for file in row.files:
            assert exists(file, row, run), f"{file}, of {row.commands}"


@pytest.mark.parametrize("command", [command for row in STUDIES[""] for command in row.commands])
def test_a_command_that_prints_ends_well(command: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project)
    call(command)


def call(command: str) -> None:
    """``bench`` with these words, in this process; it must end well."""
    result = CliRunner().invoke(main, shlex.split(command), catch_exceptions=False)
    assert result.exit_code == 0, f"bench {command}\n{result.output}"


def exists(file: str, row: Row, run: pd.Series[Any]) -> bool:
    """Whether the table's file is there, of a study that ran as its smoke."""
    if file.startswith("reports/"):
        return Path("mlruns", file.replace(f"/{row.study}/", f"/{row.study}_smoke/")).is_file()
    if file.startswith("applied/"):
        return Path(file.replace("KEY", run["key"][:8])).exists()
    own = Path("mlruns", "artifacts", f"{row.study}_smoke", run["run"], "artifacts")
    if not file.startswith("images/"):
        return (own / file).is_file()
    kept = [path.name for path in (own / "images").iterdir()]  # "images#samples%step%1%timestamp%..."
    found = {int(match[1]) for name in kept if (match := re.match(rf"{file.replace('/', '.')}.step.(\d+)", name))}
    named = re.search(rf"`{file}` at ([\d, and]+)", row.cell)
    epochs = {int(epoch) for epoch in re.findall(r"\d+", named[1])} if named else set()
    return bool(found) and {epoch for epoch in epochs if epoch <= max(found)} <= found
