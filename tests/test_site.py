"""What `bench ui` serves before MLflow: an index that shows any text as it is, and reports that run nothing in them."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bench.paths import Paths
from bench.site.index import POLICY, Entry, Picture, html, page
from bench.site.reports import file, place
from bench.tracking.views import Link

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'&amp;\x1b[31m"


class Tags(HTMLParser):
    """The elements of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def entry(text: str) -> Entry:
    """A study all of whose texts are ``text``."""
    return Entry(
        name=text,
        question=text,
        answer=text,
        data=(text,),
        seeds=3,
        runs=Counter(finished=8, failed=1),
        last="2026-01-02 03:04 UTC",
        views=((text, [Link(text, f"#/experiments/1/runs?viewStateShareKey={text}")]),),
        pictures=(Picture(f"get-artifact?path={text}", text),),
        report="reports/x/report.html",
    )


def test_the_index_tells_of_every_study(paths: Paths) -> None:
    tags = Tags(html([entry("latent_dim"), entry("conditional")]))
    assert [each["id"] for each in tags.of("article")] == ["latent_dim", "conditional"]
    assert [each["href"] for each in tags.of("a")] == [
        *("mlflow#/experiments/1/runs?viewStateShareKey=latent_dim", "reports/x/report.html"),
        *("mlflow#/experiments/1/runs?viewStateShareKey=conditional", "reports/x/report.html"),
        "mlflow#/experiments",
    ]
    assert "latent_dim · 3 seeds · runs: 8 finished, 1 failed · 2026-01-02 03:04 UTC" in tags.text
    (answer,) = {(each.content, each.policy, each.status) for each in [page(paths)]}
    assert b"Nothing is tracked yet; begin with <code>bench run study latent_dim</code>" in answer[0]
    assert answer[1:] == (POLICY, 200)


def test_no_text_is_markup_in_the_index() -> None:
    plain, hostile = Tags(html([entry("x")])), Tags(html([entry(HOSTILE)]))
    assert [tag for tag, _ in hostile.found] == [tag for tag, _ in plain.found]
    for (_, attributes), (_, expected) in zip(hostile.found, plain.found, strict=True):
        assert attributes.keys() == expected.keys()
    assert hostile.of("script") == [{"src": "opening.js"}]
    assert "<script>alert(1)</script>" in hostile.text  # as a reader sees it
    assert "\x1b" not in hostile.text


@pytest.fixture
def folder(paths: Paths) -> Path:
    """A report beside the store."""
    folder = paths.store / "reports" / "smoke"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("<h1>new</h1>")
    (folder / "samples.png").write_bytes(b"\x89PNG")
    return folder


def test_a_report_is_found_beside_the_store_first(paths: Paths, folder: Path) -> None:
    published = paths.reports / "smoke"
    published.mkdir(parents=True)
    (published / "README.md").write_text("old")
    assert place(paths, "smoke") == "reports/smoke/report.html"
    assert file(paths, "smoke/").content == b"<h1>new</h1>"
    assert file(paths, "smoke/samples.png").kind == "image/png"
    found = file(paths, "smoke/README.md")
    assert (found.content, found.kind) == (b"old", "text/plain; charset=utf-8")
    (folder / "report.html").unlink()
    assert place(paths, "smoke") == "reports/smoke/README.md"
    assert place(paths, "other") == ""


def test_nothing_but_a_report_s_own_files_is_given_out(paths: Paths, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("secret")
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / ".hidden.csv").write_text("secret")
    (folder / "model.safetensors").write_text("secret")
    (folder / "deeper").mkdir()
    (folder / "deeper" / "a.csv").write_text("secret")
    (paths.store / "reports" / "elsewhere").symlink_to(tmp_path)
    for rest in (
        *("smoke/link.csv", "smoke/.hidden.csv", "smoke/model.safetensors", "smoke/deeper/a.csv", "smoke/deeper"),
        *("smoke/../../mlflow.db", "smoke/../smoke/report.html", "../smoke/report.html", "/etc/passwd", "", "smoke/\0"),
        *("elsewhere/secret.csv", "smoke/%2e%2e/x.csv", "./report.html", "smoke//report.html"),
    ):
        assert (file(paths, rest).status, file(paths, rest).content) == (404, b"no such file of a report"), rest


def test_a_report_runs_the_suite_s_own_script_at_most(paths: Paths, folder: Path) -> None:
    policy = dict(part.strip().partition(" ")[::2] for part in file(paths, "smoke/").policy.split(";"))
    assert policy["default-src"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert re.fullmatch(r"'none'|'sha256-[\w+/]{43}='", policy["script-src"])
    assert "allow-same-origin" not in policy["sandbox"]
