"""Names and questions that would be markup where they are shown: on a terminal, in a report, in MLflow and in a picture."""

from __future__ import annotations

import io
import json
import re
from functools import partial
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from rich.console import Console

import bench.cli.progress as progress
from bench.checkpoint import Progress
from bench.cli import main
from bench.images import png, side_by_side
from bench.paths import Paths
from bench.report import page
from bench.report.console import console
from bench.report.index import write_index
from bench.report.plots import curves
from bench.run.plan import Plan
from bench.run.worker import Epoch, Finished
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study
from bench.study.file import build
from bench.text import escaped
from bench.tracking.store import Store
from tests.test_report import row

HOSTILE = "wide [/layer] <script>alert(1)</script> $\\frac{ | `` :bug: *a*"
FENCE = "``` # not a heading"
TABLES = {
    "question": f"# {HOSTILE}\n\n## What?\n\n```",
    "source": "<img src=x onerror=alert(1)>\n\n---\n\n[a]: javascript:alert(1)",
    "model": "vae",
    "datasets": ["digits"],
    "metrics": ["test_loss"],
    "variants": [{"name": HOSTILE}, {"name": FENCE}, {"name": "_plain"}],
    "claims": [{"text": HOSTILE, "where": FENCE, "metric": "test_loss", "less": [HOSTILE, FENCE]}],
}


@pytest.fixture
def study(known: Catalogue) -> Study:
    return build(TABLES, Path("studies/x.toml"), known)


class Tags(HTMLParser):
    """The elements of a page, and the text between them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def runs_of(study: Study) -> pd.DataFrame:
    hostile = {
        "dataset": "a/<i>|\x1b.npz",
        "command": f"bench run study x --set 'a={FENCE}\n```'",
        "device": "<b>CPU</b>",
        "versions": json.dumps({"<b>torch</b>": "2"}),
        "guests": json.dumps({"models/<b>.py": "3fa9" * 16}),
        "origin": "<script>x</script>",
        "trained_in": "<b>other",
        "protocol.test_loss": json.dumps({"split": "<b>|test"}),
        "reason.test_loss": "",
    }
    failed = {"state": "failed", "failure": "error", "reason": "<b>\n# x", "metric.test_loss": None}
    rows = []
    for variant in study.variants:
        for seed, fate in enumerate(({}, failed)):
            names = {"run_id": f"{variant.name}-{seed}", "configuration": variant.name, "variant": variant.name}
            rows.append(row(1, seed, 3.0, **{**hostile, **names, **fate}))
    return pd.DataFrame(rows)


@pytest.fixture
def report(study: Study, tmp_path: Path) -> Path:
    """The folder of a report of it."""
    runs = runs_of(study)
    drawn = pd.DataFrame(
        [(run, f"test/{HOSTILE}", step, 1.0) for run in runs["run_id"] for step in range(3)],
        columns=["run_id", "name", "step", "value"],
    )
    blank = {run: {"samples.png": side_by_png()} for run in runs["run_id"]}
    return page.write(study, runs, drawn, blank, tmp_path / "x", with_latex=True).parent


def test_in_a_report_it_stays_text(study: Study, report: Path) -> None:
    runs = runs_of(study)
    text = (report / "README.md").read_text()
    shown = Tags(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text))
    ours = {"h1", "h2", "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "blockquote", "ul", "li"}
    assert shown.tags <= ours | {"a", "img", "strong", "pre", "code"}
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert [line for line in headings if not line.startswith("###")] == [
        f"# {escaped(str(TABLES['question']))}",
        "## How they compare",
        "## a/\\<i>\\|\\\\x1b.npz",
        "## Blanks and failures",
        "## How it was measured",
        "## What it cost",
        "## How to have it again",
    ]
    assert shown.text.count(HOSTILE) >= 4  # question, claim, table, legend of failures
    assert (report / "runs.csv").stat().st_size
    assert "alert(1)" in console(study, runs)
    assert "\x1b" not in console(study, runs)


def test_in_a_page_of_html_it_stays_text_and_nothing_is_asked_of_anybody(report: Path) -> None:
    text = (report / "report.html").read_text()
    shown = Tags(text)
    layout = {"html", "head", "meta", "link", "title", "style", "body", "main", "section", "div", "dialog", "script"}
    ours = {"h1", "h2", "p", "b", "table", "thead", "tbody", "tr", "th", "td", "blockquote", "ul", "li", "pre"}
    assert shown.tags <= layout | ours | {"a", "img", "figure", "figcaption", "button", "details", "summary"}
    assert not [name for name, _ in shown.attributes if name.startswith("on")]
    addresses = [value or "" for name, value in shown.attributes if name in ("src", "href", "srcset", "action")]
    assert addresses
    assert all(address.startswith("data:") for address in addresses)
    policy = next(value or "" for _, value in shown.attributes if "default-src" in (value or ""))
    assert policy.startswith("default-src 'none'; img-src data:; ")
    assert text.count("<script>") == text.count("</script>") == 1  # the page's own
    assert shown.text.count(HOSTILE) >= 4


def test_in_tables_of_latex_it_stays_text(report: Path) -> None:
    text = (report / "report.tex").read_text()
    bare = re.sub(
        r"\\\\$|\\[a-z]+\b|\\[&%$#_{}]|\$(\\[a-z]+|\^2)\$", "", text, flags=re.MULTILINE
    )  # what is written on purpose
    assert not set("%$#_~^`\\") & set(re.sub(r"\{tab:[\w-]+.*\}", "", bare))
    assert bare.count("{") == bare.count("}")
    for body in re.findall(r"(?<=midrule\n)(.*?)(?=\n\\bottomrule)", text, re.DOTALL):
        counts = {len(re.findall(r"(?<!\\)&", line)) for line in body.splitlines()}
        assert len(counts) == 1  # as many cells in every row


def test_in_the_index_it_stays_text(report: Path) -> None:
    text = write_index(report.parent).read_text()
    shown = Tags(MarkdownIt("commonmark", {"html": True}).enable(["table"]).render(text))
    assert shown.tags <= {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "a", "img", "code"}
    assert HOSTILE in shown.text
    assert [value for name, value in shown.attributes if name == "src"] == ["x/effects.png"]


def side_by_png() -> bytes:
    return png(curves({"loss": {HOSTILE: {"test": {1: [1.0]}}}}))


@pytest.mark.parametrize("name", [HOSTILE, FENCE, "_plain", "x" * 5000, "多重星系 \U0001f41b"])
def test_in_a_picture_it_stays_text(name: str) -> None:
    drawn = curves({name: {name: {"test": {1: [1.0], 2: [2.0]}}, "b": {"test": {1: [3.0]}}}})
    assert drawn.shape[1] < 2000
    assert side_by_side({name: drawn, "b": drawn}).shape[2] == 3


def test_on_a_terminal_it_stays_text(study: Study, known: Catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = io.StringIO()
    monkeypatch.setattr(progress, "Console", partial(Console, file=seen, force_terminal=True, width=400))
    trials = list(study.grid(known, {}))
    with progress.Display(Plan(trials, set(), {}, {}, 0, {})) as display:
        for trial in trials:
            display.show(trial, Epoch(Progress(1, {}, {}, {"loss [/b]": 1.0}, 1.0, 1.0, 1.0), {}))
            display.show(trial, Finished({"test_loss": Score(1.0)}, {}))
            display.show(trial, Failure("error", "[/red] :bug:"))
    assert HOSTILE in seen.getvalue()
    assert "[/red] :bug:" in seen.getvalue()
    list(progress.track([1], HOSTILE, 1))


def test_in_mlflow_s_note_it_stays_text(inside: Paths) -> None:
    store = Store(
        inside.store, None, "x", TABLES["question"] if isinstance(TABLES["question"], str) else "", create=True
    )
    note = store.client.get_experiment(str(store.experiment_id)).tags["mlflow.note.content"]
    assert Tags(MarkdownIt("commonmark", {"html": True}).render(note)).tags == {"p"}


def test_a_study_that_is_named_so_runs_and_nothing_is_written_elsewhere(inside: Paths) -> None:
    text = (inside.studies / "smoke.toml").read_text().partition("[vary]")[0].replace("seeds = 2", "seeds = 1")
    (inside.studies / "smoke.toml").write_text(f"{text}\n[[variants]]\nname = {json.dumps(HOSTILE)}\n")
    result = CliRunner().invoke(main, ["run", "study", "smoke", "--set", "epochs=1"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert HOSTILE in result.output
    run = str(Store(inside.store, None, "smoke", "", create=False).table()["run_id"].iloc[0])
    assert CliRunner().invoke(main, ["apply", "generate", run], catch_exceptions=False).exit_code == 0
    assert {entry.name for entry in inside.studies.parent.iterdir()} == {"studies", "mlruns", "applied"}
    for words in (["list", "runs"], ["show", "study", "smoke"], ["run", "study", "smoke", "--dry-run"]):
        assert HOSTILE in CliRunner().invoke(main, words, catch_exceptions=False).output
    assert "finished" in CliRunner().invoke(main, ["list", "runs", "smoke"], catch_exceptions=False).output
