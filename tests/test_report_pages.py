"""What stands on a report's pages, in every format, and what becomes of the pages that stood there before."""

from __future__ import annotations

import base64
import io
import json
import math
import re
import threading
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.figure import Figure
from PIL import Image
from scipy import stats

from bench import results
from bench.images import png
from bench.paths import Paths
from bench.report import page
from bench.report.blocks import Cell, Page, Picture, Table
from bench.report.cells import measures
from bench.report.claims import Judgement
from bench.report.folder import lost, replace_files
from bench.report.html import html
from bench.report.illustrations import curve_plot, effect_plot
from bench.report.index import write_index
from bench.report.latex import latex
from bench.report.plots import _label
from bench.report.protocol import TRAINING, settings
from bench.report.ranking import found, leading, ranking
from bench.report.search_plots import history, shares, slices
from bench.report.tables import summary
from bench.score import TRAINED
from bench.study.catalogue import Catalogue
from bench.study.claims import Claim
from bench.study.definition import Study, StudyError
from bench.study.file import build
from tests.test_report import PROTOCOL, row, rows_of

NO_CURVES = pd.DataFrame(columns=["run_id", "name", "step", "value"])


def make(known: Catalogue, **changes: Any) -> Study:
    written = {
        "question": "Which?",
        "source": "Document 000: the first",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss", "psnr", "fid"],
        "vary": {"latent_dim": [2, 5, 10]},
        **changes,
    }
    return build({name: value for name, value in written.items() if value is not None}, Path("studies/x.toml"), known)


def three(losses: dict[int, tuple[float, ...]], **changes: Any) -> pd.DataFrame:
    """Runs of so many seeds each, by latent dimension."""
    return pd.DataFrame([row(n, s, value, **changes) for n, each in losses.items() for s, value in enumerate(each)])


FALLING: dict[int, tuple[float, ...]] = {2: (148.0, 150.0, 152.0), 5: (119.0, 120.0, 121.0), 10: (89.0, 90.0, 92.0)}


class Seen(HTMLParser):
    """The texts of a page's cells, headings and paragraphs, and the addresses in it by the kind of element."""

    BLOCKS = ("th", "td", "h1", "h2", "p", "li", "blockquote")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[tuple[str, str]] = []
        self.addresses: dict[str, str] = {}
        self.order: list[str] = []
        self._open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.order.append(tag)
        given = dict(attrs)
        if tag in self.BLOCKS:
            self._open.append(tag)
            self.texts.append((tag, ""))
        if tag == "a":
            self.addresses[str(given["download"])] = str(given["href"])
        if tag == "img" and "src" in given:
            self.addresses[str(given["alt"])] = str(given["src"])

    def handle_endtag(self, tag: str) -> None:
        if tag in self.BLOCKS:
            self._open.pop()

    def handle_data(self, data: str) -> None:
        if self._open:
            tag, text = self.texts[-1]
            self.texts[-1] = tag, text + data.replace("\N{NO-BREAK SPACE}", " ")

    def of(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]


@pytest.fixture
def folder(known: Catalogue, tmp_path: Path) -> Path:
    """The report of three seeds, with curves and pictures."""
    runs = three(FALLING)
    values = [(run, "test/kl", epoch, 9.0 / epoch) for run in runs["run_id"] for epoch in (1, 2, 3)]
    curves = pd.DataFrame(values, columns=["run_id", "name", "step", "value"])
    black = png(np.zeros((300, 300, 3), np.uint8))
    pictures = {
        run: {"samples.png": black, "reconstructions.png": black, "manifold.png": black} for run in runs["run_id"]
    }
    claims = [{"text": "the loss falls", "where": "figure 1", "metric": "test_loss", "order": "falls"}]
    return page.write(make(known, claims=claims), runs, curves, pictures, tmp_path / "x", with_latex=True).parent


def test_one_page_of_html_says_what_the_markdown_says_and_holds_all_that_lies_beside_it(folder: Path) -> None:
    html = Seen((folder / "report.html").read_text())
    reader = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown = Seen(re.sub(r"<a href", "<a download href", reader.render((folder / "README.md").read_text())))
    for kind in (("th", "td"), ("h1", "h2"), ("li",)):
        words = [text for text in markdown.of(*kind) if text and not text.startswith(("Samples,", "Held-out"))]
        words = [text for text in words if text != "What latent_dim does"]  # which is under the picture in HTML
        assert sorted(text for text in html.of(*kind) if text) == sorted(words)
    for name, address in html.addresses.items():
        media, _, content = address.partition(";base64,")
        assert media in ("data:image/png", "data:text/csv")
        if name.endswith(".csv"):
            assert base64.b64decode(content) == (folder / name).read_bytes()
    assert {"summary.csv", "runs.csv", "claims.csv"} <= set(html.addresses)
    pictures = {base64.b64decode(address.partition(";base64,")[2]) for address in html.addresses.values()}
    assert {file.read_bytes() for file in folder.glob("*.png")} <= pictures


def test_photographs_are_smaller_within_a_page_and_nothing_else_is(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    files = {"a.png": png(colours), "b.png": png(colours[..., :1].repeat(3, axis=2)), "c.png": png(colours, plot=True)}
    blocks = tuple(Picture(name, name) for name in files)
    text = html(Page("x", "Which?", blocks, files, {}, ""))
    assert re.findall(r"data:(image/\w+);", text) == ["image/webp", "image/png", "image/png"]
    shown = base64.b64decode(text.partition("data:image/webp;base64,")[2].partition('"')[0])
    assert np.abs(np.asarray(Image.open(io.BytesIO(shown))).mean((0, 1)) - colours.mean((0, 1))).max() < 3


def test_settings_in_which_variants_differ_are_told_where_the_study_does_not_vary_them(known: Catalogue) -> None:
    """Those that all models have; a model's own between its variants. What another data set's trials take is no difference."""
    runs = pd.DataFrame([row(2, 0, 5.0, variant=name, configuration=name) for name in ("vae", "gan", "wide")])
    runs["model"] = ["vae", "gan", "vae"]
    runs["param.latent_dim"] = [2, 64, 2]  # by which two models need not mean the same
    runs["param.learning_rate"] = [1e-3, 1e-4, 1e-3]
    runs["param.optimizer"] = ['"adam"', '"sgd"', '"adam"']
    runs["param.hidden_dims"] = pd.Series(["[256]", math.nan, "[512]"])
    elsewhere = runs.iloc[:1].assign(dataset="mnist", **{"param.batch_size": 64})
    both = pd.concat([runs.assign(**{"param.batch_size": 32}), elsewhere])
    variants = [{"name": "vae"}, {"name": "gan", "model": "gan"}, {"name": "wide"}]
    study = make(known, vary=None, variants=variants, datasets=["digits", "mnist"])
    table = settings(study, both)
    assert table.columns == ("variant", "data set", "learning rate", "optimizer", "hidden dims")
    assert [[cell.text for cell in line] for line in table.rows] == [
        ["vae", "digits", "0.001", "adam", "[256]"],
        ["gan", "digits", "0.0001", "sgd", ""],
        ["wide", "digits", "0.001", "adam", "[512]"],
        ["vae", "mnist", "0.001", "adam", "[256]"],
    ]
    assert settings(study, elsewhere).rows == ()
    varied = settings(make(known, vary={"learning_rate": [1e-3, 1e-4]}), runs)
    assert varied.columns == ("variant", "data set", "optimizer", "hidden dims")


def test_a_page_goes_from_the_question_to_how_to_have_it_again(folder: Path) -> None:
    text = (folder / "README.md").read_text()
    parts = [
        "# Which?",
        "It holds on digits that the loss falls (150 → 120 → 90.33 nats).",
        "| source said ",
        "Study x: digits, n = 3, 2026-01-02.",
        "> Document 000: the first",
        "## What latent_dim does",
        "## digits",
        "| Samples, from the same noise in every variant | Held-out images over their reconstructions |",
        "| variant ",
        "### Losses",
        "<summary>More pictures</summary>",
        "## Blanks and failures",
        "## How it was measured",
        "## What it cost",
        "## How to have it again",
    ]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    facts = json.loads((folder / "report.json").read_text())
    assert facts == {
        "study": "x",
        "question": "Which?",
        "answer": "It holds on digits that the loss falls (150 → 120 → 90.33 nats).",
        "data": "digits",
        "n": "3",
        "date": "2026-01-02",
        "thumbnail": "effects.png",
    }


def test_five_measures_decide_and_the_others_are_folded(known: Catalogue, tmp_path: Path) -> None:
    """The objective, that of the claim, then the study's order; one that was taken of none is nowhere."""
    names = ["test_loss", "fid", "psnr", "ssim", "recall", "precision", "density"]
    claims = [{"text": "more", "where": "there", "metric": "density", "order": "rises"}]
    study = make(known, metrics=names, claims=claims)
    taken = {f"metric.{name}": 0.5 for name in names if name != "fid"} | {f"protocol.{n}": PROTOCOL for n in names}
    text = page.write(study, three(FALLING, **taken), NO_CURVES, {}, tmp_path).read_text()
    heads = [cell.split()[0].rstrip(",") for cell in rows_of(text, "| variant ")[0]]
    assert heads[:7] == ["variant", "test_loss", "95", "density", "psnr", "ssim", "recall"]
    folded = text[text.index("<summary>The other measures</summary>") :]
    assert rows_of(folded, "| variant ")[0] == ["variant", "precision ↑ (share)"]
    assert "fid" not in text[: text.index("## Blanks and failures")]


def test_what_is_a_diagnostic_is_not_among_those_that_decide_and_a_share_stands_beside_that_of_real_images(
    known: Catalogue, tmp_path: Path
) -> None:
    names = ["test_loss", "precision", "recall", "recognised", "recognised_held_out", "psnr", "ssim"]
    study = make(known, metrics=names)
    taken: dict[str, Any] = {f"metric.{name}": 0.5 for name in names} | {f"protocol.{n}": PROTOCOL for n in names}
    taken |= {f"protocol.{name}": json.dumps({"stands_as": "a diagnostic"}) for name in ("precision", "recall")}
    text = page.write(study, three(FALLING, **taken), NO_CURVES, {}, tmp_path).read_text()
    heads = [cell.split()[0].rstrip(",") for cell in rows_of(text, "| variant ")[0]]
    decide = ["variant", "test_loss", "95", "recognised", "recognised_held_out", "psnr", "ssim", "precision"]
    assert heads[: len(decide)] == decide


def test_a_column_of_other_seeds_or_epochs_says_so(known: Catalogue) -> None:
    study = make(known, metrics=["test_loss"])
    runs = three({2: (1.0, 2.0), 5: (3.0, 5.0), 10: (7.0,)})
    uneven = measures(study, summary(study, runs), study.metrics, "m")
    assert [r[1].text for r in uneven.rows] == ["1.50 ± 0.71", "4.0 ± 1.4 ≈", "7.000 untested (n = 1)"]
    assert "epochs" not in uneven.columns
    runs.loc[(runs["variant"] == "latent_dim=5") & (runs["seed"] == 1), "seed"] = 7
    runs.loc[runs["variant"] == "latent_dim=5", "epochs"] = 9
    other = measures(study, summary(study, runs), study.metrics, "m")
    marks = [re.sub(r"^\S+ ± \S+ |≈ |untested ", "", r[1].text) for r in other.rows]
    assert marks[:2] == ["(seeds 0 1)", "(seeds 0 7)"]
    place = other.columns.index("epochs")
    assert [r[place].text for r in other.rows] == ["50", "9", "50"]
    assert "n or seeds: from how many or from which" in other.note


def test_a_share_is_told_in_percent_where_its_source_has_percent(known: Catalogue, tmp_path: Path) -> None:
    claim = {"text": "12.5 % are wrong", "where": "table 1", "metric": "test_error", "equal": ["latent_dim=2", 0.125]}
    study = make(known, metrics=["test_error", "recall"], claims=[{**claim, "margin": "20 %"}])
    taken = {"protocol.test_error": PROTOCOL, "protocol.recall": PROTOCOL, "metric.recall": 0.5}
    runs = three(FALLING, **taken).assign(**{"metric.test_error": lambda rows: 0.12 + rows["seed"] / 1000})
    text = page.write(study, runs, NO_CURVES, {}, tmp_path).read_text()
    head, first, *_ = rows_of(text, "| variant ")
    assert head[1:4] == ["test_error ↓ (%)", "95 % interval (%)", "recall ↑ (share)"]
    assert first[1] == "**12.10 ± 0.10**"
    assert rows_of(text, "| source said ")[1][3].startswith("latent_dim=2: 12.1 %; latent_dim=2 against 12.5: ")


def test_nothing_that_is_blank_throughout_is_shown(known: Catalogue) -> None:
    table = Table("t", ("a", "b", "c"), ((Cell("x"), Cell("1"), Cell()), (Cell("y"), Cell(), Cell())))
    assert table.filled() == Table("t", ("a", "b"), ((Cell("x"), Cell("1")),))


def test_tables_of_latex_have_rules_and_no_sign_that_means_anything() -> None:
    cells = ((Cell("a_b & 5 %"), Cell("1.0 ± 0.1", strong=True, after=": ≈")),)
    text = latex(Page("x", "?", (Table("t", ("variant", "loss ↓"), cells, "≈: tied"),), {}))
    assert text.splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\begin{tabular}{ll}",
        r"\toprule",
        r"variant & loss $\downarrow$ \\",
        r"\midrule",
        r"a\_b \& 5 \% & \textbf{1.0 $\pm$ 0.1}: $\approx$ \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\caption{$\approx$: tied}",
        r"\label{tab:x-t}",
        r"\end{table}",
    ]


def test_how_a_model_was_trained_is_told_of_all_facts_that_tell_it() -> None:
    assert set(TRAINING) == set(TRAINED)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures that are drawn in the test."""
    kept: list[Figure] = []

    class Kept(Figure):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            kept.append(self)

    monkeypatch.setattr("bench.report.plots.Figure", Kept)
    return kept


def test_the_effect_plot_has_every_seed_its_mean_and_interval_and_all_data_sets_in_one_frame(
    known: Catalogue, drawn: list[Figure]
) -> None:
    study = make(known, metrics=["test_loss", "psnr"], datasets=["digits", "mnist"])
    runs = pd.concat([three(FALLING), three({2: (11.0, 12.0)}, dataset="mnist", run_id="m")], ignore_index=True)
    assert effect_plot(study, summary(study, runs), runs, study.metrics)
    loss, psnr = drawn[0].axes
    assert (loss.get_title(), loss.get_xlabel(), psnr.get_ylabel()) == ("test_loss ↓", "latent_dim", "dB")
    assert loss.get_ylabel() == "nats\nlogarithmic"  # from 11 to 152
    assert [text.get_text() for text in drawn[0].legends[0].texts] == ["digits", "mnist"]
    dots, means = (np.asarray(line.get_xydata()) for line in loss.lines[:2])
    assert sorted(map(tuple, dots.tolist())) == sorted((float(n), v) for n, each in FALLING.items() for v in each)
    assert means.tolist() == [[2, 150], [5, 120], [10, pytest.approx(271 / 3)]]
    low, high = np.asarray(loss.collections[0].get_paths()[1].vertices)[:, 1]
    assert (high - low) / 2 == pytest.approx(stats.t.ppf(0.975, 2) * 1 / 3**0.5)  # of 119, 120 and 121


def test_the_effect_plot_has_a_line_at_what_real_images_have(known: Catalogue, drawn: list[Figure]) -> None:
    """And no panel of that, which is the same whatever the model."""
    study = make(known, metrics=["test_loss", "recognised", "recognised_held_out"])
    taken = {"metric.recognised": 0.5, "metric.recognised_held_out": 0.9}
    runs = three(FALLING, **taken, **{f"protocol.{name.removeprefix('metric.')}": PROTOCOL for name in taken})
    assert effect_plot(study, summary(study, runs), runs, study.metrics)
    loss, recognised = drawn[0].axes
    assert recognised.get_title() == "recognised ↑"
    dotted = [[line for line in axes.lines if line.get_linestyle() == ":"] for axes in (loss, recognised)]
    assert [[np.asarray(line.get_ydata()).tolist() for line in lines] for lines in dotted] == [[], [[0.9, 0.9]]]


def test_variants_that_are_names_lie_beside_their_values(known: Catalogue, drawn: list[Figure]) -> None:
    study = make(known, metrics=["test_loss"], vary=None, variants=[{"name": "wide"}, {"name": "deep"}])
    runs = pd.DataFrame([row(2, n, 5.0 + n, variant=v, configuration=v) for v in ("wide", "deep") for n in range(2)])
    assert effect_plot(study, summary(study, runs), runs, study.metrics)
    (axes,) = drawn[0].axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["wide", "deep"]
    assert axes.get_ylim() == (1.5, -0.5)  # the first on top
    assert effect_plot(study, summary(study, runs[:2]), runs[:2], study.metrics) is None  # nothing to compare


def test_the_effect_plot_has_a_dash_at_what_the_source_says(
    known: Catalogue, drawn: list[Figure], tmp_path: Path
) -> None:
    """In percent, as the table beside it, and where one variant alone has the metric too; no threshold is a number of it."""
    said = {"where": "table 1", "metric": "test_error", "margin": "20 %"}
    claims = [
        {"text": "5.1 % are wrong", "equal": ["wide", 0.051], **said},
        {"text": "another has 3.6 %", "equal": ["wide", 0.036], **said},
        {"text": "fewer than all", "where": "table 1", "metric": "test_error", "less": ["wide", 0.9]},
        {"text": "elsewhere", "equal": ["wide", 0.07], **said, "datasets": ["mnist"]},
    ]
    variants = [{"name": "wide", "model": "ssl_vae"}, {"name": "deep"}, {"name": "flat"}]
    metrics = ["test_loss", "test_error"]
    study = make(known, metrics=metrics, vary=None, variants=variants, claims=claims, datasets=["digits", "mnist"])
    runs = pd.DataFrame([row(2, 0, 5.0, variant=v, configuration=v) for v in ("wide", "deep", "flat")])
    runs["metric.test_error"] = [0.1, math.nan, math.nan]
    runs.loc[0, "metric.test_loss"] = math.nan
    assert effect_plot(study, summary(study, runs), runs, study.metrics)
    loss, error = drawn[0].axes
    assert error.get_title() == "test_error ↓"
    assert [label.get_text() for label in loss.get_yticklabels()] == ["wide", "deep", "flat"]  # as the study has them
    dashes = [[line for line in axes.lines if line.get_color() == "black"] for axes in (loss, error)]
    assert [[np.asarray(line.get_ydata()).tolist() for line in lines] for lines in dashes] == [[], [[0, 0]]]
    assert np.asarray(dashes[1][0].get_xdata()).tolist() == [pytest.approx(5.1), pytest.approx(3.6)]
    low, high = error.get_xlim()
    assert low < 3.6 < 10 < high
    text = (page.write(study, runs, NO_CURVES, {}, tmp_path / "x").parent / "README.md").read_text()
    assert "A black dash is the number that the source has." in text
    assert (
        "A black dash"
        not in (
            page.write(replace(study, claims=()), runs, NO_CURVES, {}, tmp_path / "x").parent / "README.md"
        ).read_text()
    )


def test_a_name_that_is_too_long_lacks_its_middle() -> None:
    """Seeds and labels stand at the end, models at the beginning."""
    assert _label("fully connected from labels alone, 600 labels", 25) == "fully conne... 600 labels"
    assert _label("wide", 4) == "wide"


def test_a_row_of_panels_lists_the_variants_that_it_has_something_of(known: Catalogue, drawn: list[Figure]) -> None:
    """Two of fifteen systems classify: thirteen empty rows would say nothing of the others."""
    metrics = ["test_loss", "psnr", "reconstruction_mse", "test_error"]
    names = [f"v{number}" for number in range(15)]
    study = make(known, metrics=metrics, vary=None, variants=[{"name": name} for name in names])
    taken = {f"metric.{name}": 5.0 for name in metrics}
    rows = [row(2, 0, 5.0, variant=v, configuration=v, **taken) for v in names]
    runs = pd.DataFrame(rows)
    runs.loc[~runs["variant"].isin(["v3", "v9"]), "metric.test_error"] = None
    runs.loc[runs["variant"] == "v9", "metric.test_error"] = 6.0
    assert effect_plot(study, summary(study, runs), runs, study.metrics)
    first, *_, last = drawn[0].axes
    assert [label.get_text() for label in first.get_yticklabels()] == names
    assert [label.get_text() for label in last.get_yticklabels()] == ["v3", "v9"]
    means = [line for line in last.lines if line.get_linestyle() == "None"][-1]
    assert np.asarray(means.get_xydata()).tolist() == [[5, 0], [6, 1]]
    heights = [axes.get_subplotspec().get_gridspec().get_height_ratios() for axes in (first, last)]  # type: ignore[union-attr]
    assert heights[0] == heights[1] == [1.2 + 0.34 * 15, 1.2 + 0.34 * 4]


def test_a_picture_is_legible_in_grey(known: Catalogue, drawn: list[Figure]) -> None:
    """Data sets differ in mark and line, variants in their mark, so that colour tells nothing alone."""
    names = ["digits", "mnist", "cifar10"]
    study = make(known, metrics=["test_loss"], datasets=names)
    runs = pd.concat([three(FALLING, dataset=name) for name in names], ignore_index=True)
    assert effect_plot(study, summary(study, runs), runs, study.metrics)
    looks = [(line.get_marker(), line.get_linestyle()) for line in drawn[0].legends[0].get_lines()]
    assert len({mark for mark, _ in looks}) == len({style for _, style in looks}) == 3


def test_curves_begin_after_the_first_epoch_and_say_what_their_terms_are(known: Catalogue, drawn: list[Figure]) -> None:
    study = make(known)
    runs = three({2: (1.0,)})
    table = summary(study, runs)
    values = [("r2-0", f"test/{term}", step, 500.0 / step) for term in ("kl", "own") for step in (1, 2, 3)]
    curves = pd.DataFrame(values, columns=NO_CURVES.columns)
    shown = curve_plot(table, runs, curves, "digits-test")
    assert shown is not None
    assert [np.asarray(axes.lines[0].get_xdata()).tolist() for axes in drawn[0].axes] == [[2, 3], [2, 3]]
    assert "they begin after epoch 2. kl: the divergence of an image's codes from the prior" in shown[0].note
    assert "own:" not in shown[0].note  # a term of one model is described in its file
    shown = curve_plot(table, runs, curves[curves["step"] < 3], "digits-test")
    assert shown is not None
    assert "they begin after epoch 1." in shown[0].note  # two are no curve without the first


def ranked(known: Catalogue) -> tuple[Study, pd.DataFrame]:
    """A study that claims nothing, on two data sets: on digits b trails a by 1 to 3, c by far; on mnist one seed of c and a."""
    names = ("a", "b", "c")
    study = make(
        known, metrics=["test_loss"], vary=None, datasets=["digits", "mnist"], variants=[{"name": n} for n in names]
    )
    digits = {"a": (10.0, 20.0, 30.0), "b": (11.0, 21.0, 33.0), "c": (50.0, 60.0, 70.0)}
    mnist = {"c": (1.0,), "a": (2.0,)}
    rows = [
        row(2, seed, loss, variant=name, configuration=name, dataset=dataset)
        for dataset, values in (("digits", digits), ("mnist", mnist))
        for name, losses in values.items()
        for seed, loss in enumerate(losses)
    ]
    return study, summary(study, pd.DataFrame(rows))


def test_a_study_that_claims_nothing_says_who_leads_and_never_from_one_seed(known: Catalogue) -> None:
    study, table = ranked(known)
    half = stats.t.ppf(0.975, 2) * 10 / 3**0.5
    assert leading(study, table) == (
        f"On digits a has the lowest test_loss (20 ± {half:.2g} nats at 95 %, n = 3), tied with b; "
        "on mnist c has the lowest test_loss (1 nats, n = 1): one seed says nothing of which is best."
    )


def test_data_sets_that_agree_on_who_leads_share_a_clause(known: Catalogue) -> None:
    study, table = ranked(known)
    digits = table[table["dataset"] == "digits"]
    both = pd.concat((digits, digits.assign(dataset="mnist")))
    assert leading(study, both).startswith("On digits and mnist a has the lowest test_loss (20 ± ")
    assert leading(study, both).endswith(" nats at 95 %, n = 3), tied with b.")
    assert leading(study, digits[digits["variant"] != "c"]).endswith("n = 3), but it cannot be told from any other.")


def test_who_leads_comes_before_verdicts_that_are_not_about_the_objective(known: Catalogue) -> None:
    study, table = ranked(known)
    claim = Claim("the loss falls", "there", metric="test_loss")
    verdict = Judgement(
        claim, "holds", "digits", means=(("a", 2.0), ("b", 3.0)), pair=("a", "b"), effect=-1.0, half=0.1
    )
    assert found(study, table, [verdict]).startswith("It holds on digits that the loss falls")
    other = replace(verdict, claim=replace(claim, metric="psnr"))
    assert found(study, table, [other]).startswith(f"{leading(study, table)} It holds on digits that")
    untold = replace(verdict, verdict="cannot tell")
    assert found(study, table, [untold]).startswith(leading(study, table))
    assert found(study, table, []) == leading(study, table)


def test_a_study_that_claims_nothing_ranks_what_it_compares_by_data_set(known: Catalogue) -> None:
    study, table = ranked(known)
    places = ranking(study, table)
    assert places is not None
    assert places.columns == ("model", "digits: test_loss ↓ (nats)", "mnist: test_loss ↓ (nats)", "mean place")
    assert [tuple(cell.text for cell in each) for each in places.rows] == [
        ("a", "1. 20 ± 25", "2. 2", "1.5"),
        ("b", "2. 21.67 ± 27 ≈", "", "2.0"),
        ("c", "3. 60 ± 25", "1. 1", "2.0"),
    ]
    assert [[cell.strong for cell in each] for each in places.rows] == [
        [False, True, False, False],
        [False] * 4,
        [False] * 4,  # the lower of one seed each
    ]
    fewer = pd.DataFrame([row(2, n, 5.0 + n, variant=v, configuration=v) for v, n in (("a", 0), ("b", 0), ("b", 1))])
    one = ranking(study, summary(study, fewer))
    assert one is not None
    assert [each[1].text for each in one.rows] == ["1. 5 (n = 1)", "2. 5.5 ± 6.4"]
    claim = {"text": "less", "where": "there", "metric": "test_loss", "less": ["a", "b"]}
    claiming = build_with(known, claim)
    assert ranking(claiming, table) is None


def test_data_sets_whose_paths_end_alike_are_ranked_side_by_side(known: Catalogue) -> None:
    """And not one in the other's place."""
    study, _ = ranked(known)
    losses = {
        ("2024/flowers", "a"): 1.0,
        ("2024/flowers", "b"): 2.0,
        ("2025/flowers", "a"): 4.0,
        ("2025/flowers", "b"): 3.0,
    }
    rows = [row(2, 0, losses[d, v], dataset=d, variant=v, configuration=d + v) for d, v in losses]
    places = ranking(study, summary(study, pd.DataFrame(rows)))
    assert places is not None
    assert [tuple(cell.text for cell in each) for each in places.rows] == [
        ("a", "1. 1", "2. 4", "1.5"),
        ("b", "2. 2", "1. 3", "1.5"),
    ]
    assert [head.partition(":")[0] for head in places.columns[1:3]] == ["2024/flowers", "2025/flowers"]


def build_with(known: Catalogue, claim: dict[str, Any]) -> Study:
    names = ("a", "b", "c")
    return make(known, metrics=["test_loss"], vary=None, variants=[{"name": n} for n in names], claims=[claim])


def test_a_search_has_its_history_its_slices_and_what_mattered(drawn: list[Figure]) -> None:
    history([5.0, None, 3.0, 4.0], "loss", "nats", lower=True)
    found, best, lost_ones = drawn[0].axes[0].lines
    assert np.asarray(found.get_xydata()).tolist() == [[1, 5], [3, 3], [4, 4]]
    assert np.asarray(best.get_ydata()).tolist() == [5, 3, 3]
    assert np.asarray(lost_ones.get_xdata()).tolist() == [2]
    slices({"rate": [0.1, 0.001], "dims": ["512", "128"]}, [2.0, 1.0], "loss", "nats", lower=True, logarithmic=["rate"])
    rate, dims = drawn[1].axes
    assert (rate.get_xscale(), rate.get_xlabel()) == ("log", "rate, logarithmic")
    assert np.asarray(rate.lines[1].get_xydata()).tolist() == [[0.001, 1]]  # the best
    assert [label.get_text() for label in dims.get_xticklabels()] == ["128", "512"]
    shares({"small": 0.25, "large": 0.75}, "importance")
    assert [label.get_text() for label in drawn[2].axes[0].get_yticklabels()] == ["large", "small"]
    assert [text.get_text() for text in drawn[2].axes[0].texts] == ["75 %", "25 %"]


def test_nothing_that_was_published_is_dropped_without_being_told(known: Catalogue, tmp_path: Path) -> None:
    study = make(known, datasets=["digits", "mnist"])
    both = pd.concat([three(FALLING), three(FALLING, dataset="mnist")], ignore_index=True)
    failed = pd.DataFrame([row(2, 9, None, state="failed", failure="diverged")])
    page.write(study, pd.concat([both, failed], ignore_index=True), NO_CURVES, {}, tmp_path)
    assert lost(tmp_path, both) == ""
    assert lost(tmp_path, both[both["dataset"] == "digits"]) == "mnist, 9 trials"
    fewer = both[(both["variant"] != "latent_dim=5") | (both["dataset"] == "mnist")]
    assert lost(tmp_path, fewer) == "latent_dim=5 on digits, 3 trials"
    assert lost(tmp_path, both[(both["seed"] == 0) | (both["dataset"] == "mnist")]) == "seeds 1, 2 on digits, 6 trials"
    assert lost(tmp_path, both.assign(state="failed")) == "digits, 9 trials; mnist, 9 trials"
    assert lost(tmp_path / "nowhere", both) == ""


def test_a_path_is_the_same_data_set_wherever_it_lies(known: Catalogue, tmp_path: Path) -> None:
    here, there = (three(FALLING, dataset=f"/{place}/faces.npz") for place in ("here", "there"))
    page.write(make(known), here, NO_CURVES, {}, tmp_path)
    assert lost(tmp_path, there) == ""


def test_files_that_a_report_has_no_more_are_removed_and_nobody_else_s(tmp_path: Path) -> None:
    theirs = {"notes.md", "holiday.png", "digits.png", "data.csv"}
    for name in (*theirs, "mnist-test-samples.png", "faces-validation-2-slices.png", "claims.csv", "report.tex"):
        (tmp_path / name).write_text("old")
    replace_files(tmp_path, {"README.md": b"new", "digits-test-curves.png": b"new"})
    assert {file.name for file in tmp_path.iterdir()} == theirs | {"README.md", "digits-test-curves.png"}


def test_every_picture_of_a_report_is_one_that_it_can_remove(folder: Path) -> None:
    replace_files(folder, {})
    assert list(folder.iterdir()) == []


def test_the_index_has_a_line_for_every_report(folder: Path) -> None:
    (folder.parent / "draft").mkdir()  # without a report
    text = write_index(folder.parent).read_text()
    (line,) = [line for line in text.splitlines() if line.startswith("| [")]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "[x](x/README.md)",
        "Which?",
        "It holds on digits that the loss falls (150 → 120 → 90.33 nats).",
        '<img src="x/effects.png" width="240" alt="">',
        "digits",
        "3",
        "2026-01-02",
    ]
    assert "Whose distances compare" not in text  # no features were taken
    (folder / "report.json").write_text("{}")
    with pytest.raises(
        StudyError, match=r"reports/x/report.json: is no report's \(KeyError: 'question'\); publish it again"
    ):
        write_index(folder.parent)


def test_the_index_tells_which_reports_have_distances_in_the_same_features(known: Catalogue, tmp_path: Path) -> None:
    """Of one classifier on the same images, however many were generated; a value that is blank was taken of none."""
    study = make(known, metrics=["test_loss", "fd_classifier", "recall", "fid"])
    taken = {"images": "9", "split": "test", "extractor": "its classifier"}
    for name, weights in {"a": "old", "b": "new", "c": "new"}.items():
        told = json.dumps({**taken, "weights": weights, "generated": str(ord(name))})
        facts = {"metric.fd_classifier": 5.0, "metric.recall": 0.5, "reason.fid": "no weights"}
        runs = three(FALLING, **facts, **{f"protocol.{n}": told for n in ("fd_classifier", "recall", "fid")})
        page.write(study, runs, NO_CURVES, {}, tmp_path / name)
    text = write_index(tmp_path).read_text()
    lines = [line.strip("| ").split(" | ") for line in text[text.index("| data set |") :].splitlines() if line]
    assert lines[2:] == [
        ["digits", "9 of test", "its classifier", "new", "[b](b/README.md), [c](c/README.md)"],
        ["digits", "9 of test", "its classifier", "old", "[a](a/README.md)"],
    ]
    (tmp_path / "b" / "runs.csv").write_text("protocol.fd,metric.fd\nno JSON,1\n")
    with pytest.raises(
        StudyError, match=r"reports/b/runs.csv: is no report's \(JSONDecodeError: .+\); publish it again"
    ):
        write_index(tmp_path)


def test_one_process_at_a_time_reads_the_reports_and_writes_their_index(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the one that has read before another published could write after it."""
    at_work, most = list[int](), list[int]()

    def slow(reports: Path, studies: list[Study]) -> Path:
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.1)
        at_work.pop()
        return write_index(reports, studies)

    monkeypatch.setattr(results, "write_index", slow)
    paths.reports.mkdir()
    (paths.reports / ".README.md.0123abcd.partial").touch()  # of one that was killed
    threads = [threading.Thread(target=results.publish_index, args=(known, paths)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1, 1, 1]
    assert [file.name for file in paths.reports.iterdir()] == ["README.md"]


def test_the_index_names_studies_without_a_report_and_counts_the_verdicts_by_source(
    folder: Path, known: Catalogue
) -> None:
    """Of the study without one, what is judged is open on both of its data sets, what is not is said once."""
    claims = [
        {"text": "the loss falls", "where": "document 004, figure 2", "metric": "test_loss", "order": "falls"},
        {"text": "it looks well", "where": "document 004, section 1", "why": "judged by eye"},
        {
            "text": "86.76 nats",
            "where": "Burda et al., 2016, table 1",
            "metric": "test_loss",
            "less": ["latent_dim=2", 90],
        },
    ]
    other = replace(make(known, datasets=["digits", "mnist"], claims=claims), name="y")
    text = write_index(folder.parent, [make(known), other]).read_text()
    assert text.count("| Which? |") == 2  # x has its report
    assert "| y | Which? | no report yet |  |  |  |  |" in text
    counts = [line.strip("| ").split(" | ") for line in text[text.index("| source") :].splitlines() if line]
    del counts[1]
    assert counts == [
        ["source", "claims", "holds", "does not hold", "cannot tell", "not judged", "open"],
        ["Burda et al., 2016", "2", "0", "0", "0", "0", "2"],
        ["document 004", "2", "0", "0", "0", "1", "1"],
        ["figure 1", "1", "1", "0", "0", "0", "0"],
        ["repeated on digits", "1", "0", "0", "0", "0", "1"],
        ["all", "6", "1", "0", "0", "1", "4"],
    ]
    assert "No document uses `digits`" in text
    assert "No document uses" not in write_index(folder.parent, [make(known)]).read_text()
    upper = replace(other, claims=tuple(replace(each, where=each.where.replace("d", "D", 1)) for each in other.claims))
    assert "| repeated on digits | 1 |" in write_index(folder.parent, [upper]).read_text()
    damaged = {
        "a,b\n1,2\n": "KeyError: 'where'",
        "where,dataset,verdict\nfigure 1\n": "ValueError: no verdict: ''",
        "where,dataset,verdict\nfigure 1,digits,maybe\n": "ValueError: no verdict: 'maybe'",
    }
    for text, why in damaged.items():
        (folder / "claims.csv").write_text(text)
        with pytest.raises(StudyError, match=rf"reports/x/claims.csv: is no report's \({why}\); publish it again"):
            write_index(folder.parent)
