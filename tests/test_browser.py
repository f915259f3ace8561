"""`bench ui` in a browser: what its index, both saved views, a run's page and a report show."""

from __future__ import annotations

import http.client
import io
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from bench.images import COLOURS
from bench.paths import Paths
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.file import load
from bench.tracking.run_log import RunLog
from bench.tracking.store import Store

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, of bench[test], is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; Debian's is the package chromium"),
    pytest.mark.xdist_group("browser"),
]

BENCH = [sys.executable, "-c", "from bench.cli import main; main()"]
QUESTION = "Is <img src=x onerror=document.title='run'> *wider* better?"
STUDY = f"""
question = {json.dumps(QUESTION)}
source = "none"
model = "vae"
datasets = ["digits"]
seeds = 2
metrics = ["psnr", "test_loss"]
[training]
epochs = 2
[vary]
latent_dim = [2, 10]
[[claims]]
text = "a wider one loses less"
where = "nowhere"
metric = "test_loss"
order = "falls"
"""
TABLE = "<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1</td></tr><tr><td>2</td></tr></tbody></table>"
ROWS = [("wider", "digits"), ("", "mnist"), ("longer", "digits"), ("", "mnist"), ("deeper", "digits")]
BODY = "".join(f"<tr><th>{a}</th><td>{b}</td></tr>" for a, b in ROWS)
CONTINUED = f"<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody>{BODY}</tbody></table>"
OWN = files("bench.report").joinpath("report.js").read_text(encoding="utf-8")
HOSTILE = "<script>document.title = 'run'</script>"
REPORT = (
    f"<title>report</title><h1>What was found</h1>{TABLE}<div>{CONTINUED}</div>"
    f"<dialog id=large><img></dialog>{HOSTILE}<script>{OWN}</script>"
)
PATIENCE = 60_000  # milliseconds that the UI may take; it takes three seconds on an idle machine
LOSSES = {0: 900.0, 1: 30.0, 2: 20.0}


@dataclass
class Seen:
    """A page, and what went wrong with it."""

    page: Any
    base: str
    wrong: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self._told(message.type, message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("response", lambda answer: self._answered(answer.status, answer.url))
        self.page.set_default_timeout(PATIENCE)

    def _told(self, kind: str, text: str) -> None:
        # What browsers say where a page is laid out twice for one change of its size, which MLflow's tables are.
        if kind == "error" and "ResizeObserver loop" not in text:
            self.wrong.append(text)

    def _asked(self, url: str) -> None:
        if not url.startswith((self.base, "data:", "blob:")):
            self.wrong.append(f"asked {url}")

    def _answered(self, status: int, url: str) -> None:
        if status >= 400:
            self.wrong.append(f"{status} {url}")

    def open(self, path: str) -> Any:
        self.page.goto(self.base + path)
        return self.page

    def all_drawn(self, selector: str, count: int) -> None:
        """Wait for so many pictures that are whole."""
        whole = f"[...document.querySelectorAll({selector!r})].filter(each => each.naturalWidth > 0).length === {count}"
        self.page.wait_for_function(whole)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, empty_database: Path, known: Catalogue) -> Paths:
    """A study of two variants and two seeds, as a driver would have written it, with a report beside its store."""
    home = tmp_path_factory.mktemp("browser")
    (home / "studies").mkdir()
    (home / "studies" / "width.toml").write_text(STUDY)
    (home / "mlruns" / "reports" / "width").mkdir(parents=True)
    (home / "mlruns" / "reports" / "width" / "report.html").write_text(REPORT)
    shutil.copy(empty_database, home / "mlruns" / "mlflow.db")
    paths = Paths.find(home, environment={})
    study = load(paths.study("width"), known)
    store = Store(paths.store, None, "width", study.question, create=True)
    for number, trial in enumerate(study.grid(known, {})):
        png = io.BytesIO()
        Image.fromarray(np.full((256, 256, 3), 60 * number + 20, np.uint8)).save(png, format="PNG")
        log = RunLog(store, trial, {"mlflow.source.name": "bench run study width"})
        log.start(1)
        log.facts({"device": "CPU"}, {**known.chosen(trial), "parameters": 9}, {"sha256": "f" * 64})
        for epoch, loss in LOSSES.items():
            metrics = {"test/loss": loss + number, "time/epoch_s": 0.5}
            log.epoch(epoch, metrics, {"samples": png.getvalue(), "reconstructions": png.getvalue()}, 1)
        log.finish({"test_loss": Score(20.0 + number), "psnr": Score(10.0 - number)}, {}, {}, 1)
    return paths


@pytest.fixture(scope="module")
def base(place: Paths) -> Iterator[str]:
    """Where `bench ui` serves it."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = int(found.getsockname()[1])
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    process = subprocess.Popen(
        [*BENCH, "ui", "width", "--port", str(port)],
        cwd=place.studies.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        for _ in range(900):
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                connection.request("GET", "/health")
                connection.getresponse().read()
                connection.close()
                break
            except OSError:
                assert process.poll() is None, process.communicate()[0]
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all: it takes a second to start."""
    with playwright.sync_playwright() as driver:
        # Without its sandbox, which a container gives it no room for; it sees nothing but this machine's own pages.
        found = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def seen(browser: Any, base: str) -> Iterator[Seen]:
    """A browser that was never here, at whose end nothing may have gone wrong."""
    context = browser.new_context(viewport={"width": 1600, "height": 1400})
    seen = Seen(context.new_page(), base)
    yield seen
    context.close()
    assert seen.wrong == []


def link(page: Any, name: str) -> str:
    """Where a link of the index leads."""
    return "/" + str(page.get_by_role("link", name=name).get_attribute("href"))


def test_the_index_shows_the_study_and_what_was_found(seen: Seen) -> None:
    page = seen.open("/")
    assert page.locator("h2").inner_text() == QUESTION
    answer = page.locator(".answer").inner_text()
    assert answer.startswith("On digits latent_dim=2 has the highest psnr (9 ± ")
    assert " It does not hold on digits that a wider one loses less (" in answer
    assert page.locator(".facts").inner_text().startswith("digits · 2 seeds · runs: 4 finished · ")
    assert page.locator("figcaption").all_inner_texts() == ["latent_dim=2", "latent_dim=10"]
    seen.all_drawn("figure img", 2)
    assert page.locator("nav a").all_inner_texts() == ["Variants on digits", "Pictures on digits", "Report"]
    assert page.title() == "bench: tracked studies"  # nothing in the question has run


def test_the_first_view_compares_the_variants(seen: Seen) -> None:
    page = seen.open("/")
    page.get_by_role("link", name="Variants on digits").click()
    page.get_by_text("psnr (↑ higher is better), and what else was asked").wait_for()
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot').length === 3")
    charts = page.evaluate(
        """() => [...document.querySelectorAll('.js-plotly-plot')].map(each => ({
            kind: each._fullData[0].type,
            names: each._fullData.map(trace => trace.name),
            x: each._fullLayout.xaxis.range,
            y: each._fullLayout.yaxis.range,
        }))"""
    )
    assert [chart["kind"] for chart in charts] == ["bar", "bar", "scatter"]
    assert charts[2]["x"] == [1, 2]  # epochs
    low, high = charts[2]["y"]
    assert 15 < low < 20  # the least loss
    assert 33 < high < 40  # the greatest from epoch 1 on; at first it was 900
    fills = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')[0].querySelectorAll('.point path')].map(p => p.style.fill)"
    )
    expected = {f"rgb({int(c[1:3], 16)}, {int(c[3:5], 16)}, {int(c[5:], 16)})" for c in COLOURS[:2]}
    assert set(fills) == expected
    assert page.locator("body").inner_text().count("Group: latent_dim=") == 2
    kept = page.evaluate("localStorage.getItem('mlflow.workflowType_v1')")
    assert kept == '"machine_learning"'
    assert page.get_by_placeholder("Ask a question").count() == 0  # a panel that the UI opens by itself
    assert page.get_by_text("Traces 0").count() == 0
    assert page.get_by_text("It does not hold on digits that a wider one loses less (").count() == 1
    assert page.title() != "run"


def test_the_second_view_shows_the_last_pictures_of_one_seed(seen: Seen) -> None:
    page = seen.open("/")
    page.get_by_role("link", name="Pictures on digits").click()
    page.get_by_text("What it draws after epoch 2, seed 0").wait_for()
    seen.all_drawn("[data-testid='experiment-view-compare-runs-chart-area'] img, .ant-image-img, img[src^='blob:']", 4)
    for name in ("latent_dim=2, seed 0, digits", "latent_dim=10, seed 0, digits"):
        page.get_by_text(name, exact=True).first.wait_for()
    assert page.get_by_text("seed 1").count() == 0
    assert page.locator(".js-plotly-plot").count() == 0


def test_a_run_says_what_it_is(seen: Seen, place: Paths) -> None:
    store = Store(place.store, None, "width", "", create=False)
    record = next(each for each in store.records().values() if each.trial.variant == "latent_dim=10")
    page = seen.open(f"/mlflow#/experiments/{store.experiment_id}/runs/{record.run_id}")
    page.get_by_role("heading", name=f"latent_dim=10, seed {record.trial.seed}, digits").wait_for()
    page.get_by_text("Other than by default: latent_dim = 10, epochs = 2.").wait_for()
    page.get_by_text(f"To put it to use: bench apply APPLICATION {record.trial.key}").wait_for()
    page.get_by_text("Parameters (6)").wait_for()  # model, data set, seed, those two, and how many weights it has
    beside = page.get_by_text("Tags", exact=True).locator("xpath=../..").inner_text()
    assert beside.count("protocol") == 2  # one tag, and the file that it names
    assert "reason" not in beside


def test_a_link_into_mlflow_as_it_is_elsewhere_leads_there(seen: Seen) -> None:
    page = seen.open("/#/experiments")
    page.wait_for_url(re.compile(r"/mlflow#/experiments"))
    page.get_by_role("link", name="width").wait_for()


def test_a_report_runs_the_suite_s_own_script_and_nothing_else_in_it(seen: Seen) -> None:
    page = seen.open("/")
    page.get_by_role("link", name="Report").click()
    page.get_by_role("heading", name="What was found").wait_for()
    assert page.title() == "report"
    assert page.locator("th.sorts").count() == 1
    for words, left in (("longer", ["longer\tdigits", "\tmnist"]), ("mnist LONG", ["longer\tmnist"])):
        page.get_by_role("searchbox").fill(words)
        assert page.locator("tbody tr:visible:has(th)").all_inner_texts() == left
    page.get_by_role("searchbox").fill("")
    assert page.locator("tbody tr:has(th)").all_inner_texts() == ["\t".join(row) for row in ROWS]
    assert [text for text in seen.wrong if "violates the following Content Security Policy" in text] == seen.wrong != []
    seen.wrong.clear()


PUBLISHED = Path(__file__).parent.parent / "reports"


@pytest.fixture
def published(browser: Any) -> Iterator[Seen]:
    """A browser for the committed pages, which are files and may ask for no other."""
    context = browser.new_context(viewport={"width": 640, "height": 900})
    seen = Seen(context.new_page(), PUBLISHED.as_uri())
    yield seen
    context.close()
    assert seen.wrong == []


@pytest.mark.parametrize("study", sorted(file.parent.name for file in PUBLISHED.glob("*/report.html")))
def test_a_published_page_asks_for_nothing_and_fits_half_a_window(study: str, published: Seen) -> None:
    page = published.open(f"/{study}/report.html")
    facts = json.loads((PUBLISHED / study / "report.json").read_text())
    assert page.locator("h1").inner_text() == facts["question"]
    assert page.locator("p.lead").inner_text() == facts["answer"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    assert page.evaluate("[...document.images].every(each => each.id || !each.src || each.naturalWidth > 0)")


def test_a_published_page_has_tabs_and_tables_that_sort_and_pictures_that_enlarge(published: Seen) -> None:
    page = published.open("/latent_dim/report.html")
    assert page.get_by_role("tab").all_inner_texts() == ["digits", "mnist", "cifar10"]
    digits, mnist = page.locator("#measures-digits-test"), page.locator("#measures-mnist-test")
    assert (digits.is_visible(), mnist.is_visible()) == (True, False)
    page.get_by_role("tab", name="mnist").click()
    assert (digits.is_visible(), mnist.is_visible()) == (False, True)
    losses = "rows => rows.map(row => Number(row.cells[1].dataset.value))"
    found = mnist.locator("tbody tr").evaluate_all(losses)
    mnist.locator("thead th").nth(1).click()
    assert mnist.locator("tbody tr").evaluate_all(losses) == sorted(found) != found
    mnist.evaluate("table => { table.parentElement.scrollLeft = 9999 }")  # the variant's name stays
    assert mnist.locator("tbody th").first.evaluate("cell => cell.getBoundingClientRect().left") >= 0
    claims = pd.read_csv(PUBLISHED / "latent_dim" / "claims.csv")
    told = claims[claims["claim"].str.startswith("generated images get better") & claims["test"].notna()]
    page.get_by_role("searchbox").first.fill("generated images get better")
    assert 0 < page.locator("#claims tbody tr:visible").count() == len(told) < claims["test"].notna().sum()
    page.locator("button.picture:visible").first.click()
    assert page.locator("dialog#large[open] img").evaluate("each => each.naturalWidth") > 640
