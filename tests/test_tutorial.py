"""docs/tutorial.md, from its first command to its last, in one folder; and what docs/questions.md says that the suite says."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import CliRunner

from bench.cli import main
from bench.paths import Paths
from tests.test_sources import HERE

ROOT = Path(__file__).parent.parent
# In what is quoted: names and files, and what click, the system and SQLite say.
NAMES = {
    "study",
    "latent",  # of latent_dim
    "process",
    "port",
    "trials",
    "shapes",
    "digits",
    "mnist",
    "MNIST",
    "inception",
    "samples",
    "data",
    "mlruns",
    "mlflow",
    "damaged",
}
OTHERS = {"Error", "OSError", "Errno", "space", "left", "device", "file"}
OTHERS |= {"urlopen", "error", "Connection", "refused", "Address", "already"}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TUTORIAL, QUESTIONS = (BLOCK.findall((ROOT / "docs" / f"{name}.md").read_text()) for name in ("tutorial", "questions"))
# Not run here: an installation, and a server, which tests/test_browser.py opens.
ELSEWHERE = ("python3 -m venv ", "source ", "mkdir ", "bench ui ")
VARYING = re.compile(r"\b(?=\w*\d)[0-9a-f]{8}\b|\d+(\.\d+)?")  # numbers and the beginnings of keys


class Reader:
    """Whoever goes through the page, in the working directory."""

    def __init__(self) -> None:
        self.output = ""  # of the last run
        self.run_id = ""  # that RUN was last
        self.names: dict[str, Any] = {}

    def read(self, kind: str, text: str) -> None:
        """Do what a block says."""
        if kind == "python":
            exec(text, self.names)
        elif kind == "toml":
            with Path("studies/shapes.toml").open("a") as file:
                file.write(f"\n{text}")
        elif kind == "text":
            for line in text.splitlines():
                assert VARYING.sub("#", line) in VARYING.sub("#", self.output).splitlines(), line
        else:
            for line in text.splitlines():
                if not line.startswith(ELSEWHERE):
                    self.run(shlex.split(line))

    def run(self, words: list[str]) -> None:
        """A command, the trials of a study without processes of their own."""
        if "RUN" in words:
            self.run_id, other = re.findall(r"bench compare (\w+) (\w+)", self.output)[-1]
            words = [{"RUN": self.run_id, "OTHER": other}.get(word, word) for word in words]
        if words[1:3] == ["run", "study"]:
            words += ["--executor", "here", "--gpus", ""]
        assert words[0] == "bench"
        result = CliRunner().invoke(main, words[1:], catch_exceptions=False, terminal_width=200)
        assert result.exit_code == 0, f"{shlex.join(words)}: {result.output}"
        if words[1:3] == ["run", "study"]:
            self.output = result.output


def test_the_tutorial_runs_from_its_first_command_to_its_last(inside: Paths) -> None:
    (inside.studies.parent / "executors").mkdir()
    (inside.studies.parent / "executors" / "here.py").write_text(HERE)
    reader = Reader()
    for kind, text in TUTORIAL:
        reader.read(kind, text)
    table = pd.read_csv("reports/shapes/summary.csv").set_index("variant")
    assert list(table["finished"]) == [3, 3]
    assert pd.read_csv("reports/shapes/claims.csv")["verdict"].tolist() == ["holds"]
    assert "[shapes](shapes/README.md)" in Path("reports/README.md").read_text()
    assert reader.names["images"].shape == (16, 1, 24, 24)
    assert Path("shapes.zip").is_file()
    assert Path("mlruns/reports/shapes_smoke/report.html").is_file()  # of the array
    for kind, text in QUESTIONS:
        if kind != "text":
            reader.read(kind, text.replace("RUN", reader.run_id))
    assert len(list(Path("samples").glob("*.png"))) == 1000


def templates() -> list[re.Pattern[str]]:
    """Every text of the suite's own code of more than a word, a group for each part that is fixed, anything for what is open."""
    found = []
    for file in (ROOT / "bench").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            said = "\0".join(str(part.value) if isinstance(part, ast.Constant) else "" for part in parts)
            pieces = re.split("\0+|%[sd]", said)
            if any(" " in piece.strip() for piece in pieces):
                found.append(".+?".join(f"({re.escape(piece)})" for piece in pieces))
    return [re.compile(pattern) for pattern in dict.fromkeys(found)]


def test_what_is_quoted_is_what_the_suite_says() -> None:
    told = templates()
    lines = [line for kind, text in QUESTIONS if kind == "text" for line in text.splitlines()]
    assert len(lines) > 12
    for line in lines:
        fixed: set[int] = set()
        for found in (match for pattern in told for match in pattern.finditer(line)):
            fixed |= {place for group in range(1, found.re.groups + 1) for place in range(*found.span(group))}
        open_words = {
            word[0] for word in re.finditer(r"[A-Za-z]{4,}", line) if not fixed.issuperset(range(*word.span()))
        }
        assert open_words <= NAMES | OTHERS, line
