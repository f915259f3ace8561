"""Reports from tables made by hand."""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from bench.images import COLOURS, WIDTH, Picture, picture, png
from bench.report import illustrations, markdown, page, plots
from bench.report.blocks import Cell, Table
from bench.report.cells import laid_out, legend, measures, with_spread
from bench.report.claims import Judgement
from bench.report.console import console
from bench.report.plain import plain_table
from bench.report.selection import selected
from bench.report.tables import UNTAKEN, notes, prepared, summary
from bench.score import Metric
from bench.study.catalogue import Catalogue
from bench.study.claims import Claim
from bench.study.definition import Study, StudyError
from bench.study.file import build
from bench.study.naming import nicknames

PROTOCOL = json.dumps({"split": "test", "images": "9"})
LARGEST = 1.7976931348623157e308


@pytest.fixture
def study(known: Catalogue) -> Study:
    written = {
        "question": "Which?",
        "source": "Document 000: the first",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss", "psnr", "fid"],
        "vary": {"latent_dim": [2, 5, 10]},
    }
    return build(written, Path("studies/x.toml"), known)


def row(latent: int, seed: int, loss: float | None, **changes: Any) -> dict[str, Any]:
    return {
        "run_id": f"r{latent}-{seed}",
        "key": f"k{latent}-{seed}",
        "configuration": f"c{latent}",
        "study": "x",
        "variant": f"latent_dim={latent}",
        "dataset": "digits",
        "model": "vae",
        "seed": seed,
        "split": "test",
        "state": "finished",
        "failure": "",
        "reason": "",
        "attempt": 1,
        "commit": "abc",
        "command": "bench run study x",
        "device": "CPU, 1 thread(s)",
        "versions": json.dumps({"torch": "2"}),
        "guests": json.dumps({"models/mine.py": "3fa9" * 16}),
        "origin": "",
        "trained_in": "",
        "data": json.dumps({"sha256": "f00" * 10, "train": "1433", "test": "364"}),
        "started": pd.Timestamp("2026-01-02 03:04", tz="UTC"),
        "duration_s": 3600.0,
        "parameters": 1000 * latent,
        "epochs": 50,
        "seconds_per_epoch": 2.0,
        "images_per_second": 100.0,
        "peak_megabytes": 512.0,
        "processor_wh_per_epoch": None,
        "gpu_wh_per_epoch": None,
        "metric.test_loss": loss,
        "protocol.test_loss": PROTOCOL,
        "metric.psnr": 20.0 + latent,
        "protocol.psnr": PROTOCOL,
        "reason.fid": "no Inception weights",
        "protocol.fid": "{}",
        **changes,
    }


def markdown_table(study: Study, rows: pd.DataFrame) -> str:
    """All measures of one data set as Markdown, few variants side by side."""
    return "\n".join(markdown.table(laid_out(measures(study, rows, study.metrics, "measures"))))


def rows_of(text: str, head: str) -> list[list[str]]:
    """The cells of the table in Markdown that begins with ``head``, without the rule below the headings."""
    lines = text[text.index(head) :].split("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in (lines[0], *lines[2:])]


def legend_of(study: Study, rows: pd.DataFrame, best: str) -> str:
    """What the marks of that table mean."""
    return legend(rows, study.metrics, best)


@pytest.fixture
def runs() -> pd.DataFrame:
    """Newest first, as they are tracked."""
    failed = {"state": "failed", "failure": "diverged", "reason": "loss is nan", "metric.psnr": None}
    rows = [row(10, 1, None, **failed), row(10, 0, 90.0), row(5, 0, 120.0), row(2, 1, 152.0), row(2, 0, 148.0)]
    return pd.DataFrame(rows)


def test_a_row_is_mean_deviation_and_n_over_the_finished_seeds(study: Study, runs: pd.DataFrame) -> None:
    table = summary(study, runs)
    assert table["variant"].tolist() == ["latent_dim=2", "latent_dim=5", "latent_dim=10"]
    assert table["test_loss_mean"].tolist() == [150.0, 120.0, 90.0]
    assert table["test_loss_std"].iloc[0] == pytest.approx(8**0.5)  # of 148 and 152, as of a sample
    assert table["test_loss_std"].isna().tolist() == [False, True, True]
    assert table["test_loss_n"].tolist() == [2, 1, 1]
    assert list(zip(table["finished"], table["total"], strict=True)) == [(2, 2), (1, 1), (1, 2)]
    assert table["parameters"].tolist() == [2000, 5000, 10000]


def test_what_was_not_measured_is_blank_and_has_its_reason(study: Study, runs: pd.DataFrame) -> None:
    table = summary(study, runs)
    assert table["fid_mean"].isna().all()
    assert table["fid_n"].tolist() == [0, 0, 0]
    assert "fid on digits is blank for vae: no Inception weights" in notes(study, runs)
    later = dataclasses.replace(study, metrics=(*study.metrics, Metric("recall", "higher")))
    (told,) = (note for note in notes(later, runs) if "recall" in note)
    assert told == f"recall on digits is blank for vae: {UNTAKEN}"
    assert "| fid" not in markdown_table(study, table)  # never a zero


def test_failures_are_named(study: Study, runs: pd.DataFrame) -> None:
    assert "latent_dim=10 seed 1 on digits failed: diverged: loss is nan" in notes(study, runs)


def test_an_infinity_that_was_stored_is_no_number(study: Study, runs: pd.DataFrame) -> None:
    runs["metric.test_loss"] = runs["metric.test_loss"].replace(152.0, LARGEST)
    table = summary(study, runs)
    assert table["test_loss_mean"].iloc[0] == 148.0
    assert table["test_loss_n"].iloc[0] == 1


def test_two_protocols_do_not_share_a_column(study: Study, runs: pd.DataFrame) -> None:
    runs["protocol.test_loss"] = [json.dumps({"images": "10", "split": "test"}), *[PROTOCOL] * 4]
    assert summary(study, runs)["test_loss_mean"].notna().all()  # that run has no value
    runs["protocol.test_loss"] = [PROTOCOL, json.dumps({"images": "10", "split": "test"}), *[PROTOCOL] * 3]
    table = summary(study, runs).set_index("variant")
    assert table["test_loss_mean"].isna().all()
    ten, nine = ({v: n for v, n in table[f"test_loss ({n})_mean"].items() if n == n} for n in (1, 2))
    assert (ten, nine) == ({"latent_dim=10": 90.0}, {"latent_dim=2": 150.0, "latent_dim=5": 120.0})
    assert not table[["test_loss (1)_best", "test_loss (1)_tied"]].any().any()  # alone there
    assert (
        "test_loss on digits was taken under 2 protocols, a column for each: (1) images 10, split test; "
        "(2) images 9, split test"
    ) in notes(study, runs)
    shown = console(study, runs)
    assert "test_loss (1) ↓" in shown
    assert "test_loss ↓" not in shown
    runs["protocol.test_loss"] = [PROTOCOL, '{"images": "9",  "split":"test"}', *[PROTOCOL] * 3]
    assert summary(study, runs)["test_loss_mean"].notna().all()  # the same in another order


def test_rows_that_were_trained_otherwise_share_a_column_and_the_page_says_so(
    study: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    trained = {
        "float32": {"precision": "float32", "threads": "1"},
        "bfloat16": {"precision": "bfloat16", "binarise": "dynamic"},
    }
    full, half = (json.dumps({**json.loads(PROTOCOL), **facts}) for facts in trained.values())
    runs["protocol.test_loss"] = [half, half, full, half, half]  # of latent_dim 10, 10, 5, 2, 2
    assert summary(study, runs)["test_loss_mean"].notna().all()
    assert not any("protocols" in note for note in notes(study, runs))
    text = page.write(study, runs, no_curves, {}, tmp_path).read_text()
    assert rows_of(text, "| measures ")[1:] == [
        ["training", "digits", "", "in bfloat16, on binarised images: dynamic", "latent_dim=2, latent_dim=10"],
        ["training", "digits", "", "in float32, with 1 thread of a processor", "latent_dim=5"],
        ["test_loss, psnr", "digits", "9 held-out images, test split", "", ""],
    ]


@pytest.mark.parametrize(
    ("codes", "told"),
    [
        (("a", "a"), ""),
        (("a", "b"), "runs of vae on digits were trained with 2 versions of its code, and may differ by that"),
        (("a, b", "b"), "runs of vae on digits were trained with 2 versions of its code, and may differ by that"),
        (("a", None), "not all runs of vae on digits tell with what version of its code they were trained"),
        ((", a", "a"), "not all runs of vae on digits tell with what version of its code they were trained"),
        (("c", "c"), "runs of vae on digits were trained with other code of it than there is here"),
        (("c", None), "runs of vae on digits were trained with other code of it than there is here"),
        ((None, None), ""),
    ],
)
def test_runs_of_several_versions_of_a_models_code_are_told_and_of_one_that_is_not_here(
    study: Study, codes: tuple[str | None, str | None], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.report.tables.code_of", lambda model, dataset: "a")
    runs = pd.DataFrame([row(2, seed, 100.0, code=code) for seed, code in enumerate(codes)])
    assert [note for note in notes(study, runs) if "code" in note] == ([told] if told else [])


def test_runs_have_the_names_that_the_study_gives_them_now(known: Catalogue) -> None:
    """Not those under which they were trained: variants are renamed, and ``--set`` leaves one without what it was called for."""
    tables = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
    variants = [{"name": "narrow", "params": {"hidden_dims": [16]}}, {"name": "wide", "params": {"hidden_dims": [64]}}]
    study = build({**tables, "variants": variants}, Path("studies/x.toml"), known)
    runs = pd.DataFrame([row(2, seed, 1.0, fingerprint="") for seed in range(3)])
    narrow, wide = (study.trial(known, v, "digits", 0, {}, "").configuration for v in study.variants_on("digits"))
    runs["configuration"], runs["variant"] = [wide, narrow, "of other settings"], ["narrow", "latent_dim=2", "wide"]
    assert selected(study, known, runs)[["configuration", "variant"]].to_numpy().tolist() == [
        [wide, "wide"],
        [narrow, "narrow"],
    ]


def test_what_several_models_cannot_is_told_in_one_line(study: Study) -> None:
    reasons = {"gan": "GAN is not something that infers", "acai": "ACAI is not something that infers", "vae": ""}
    rows = [row(2, n, 1.0, model=m, **{"reason.fid": reasons[m], "metric.fid": 1.0}) for n, m in enumerate(reasons)]
    told = [line for line in notes(study, pd.DataFrame(rows)) if "blank" in line]
    assert told == ["fid on digits is blank for acai, gan: not something that infers"]


def test_of_a_folder_whose_images_have_changed_the_runs_on_the_last_are_compared(known: Catalogue) -> None:
    """Means over two contents would be of no data set that there ever was."""
    tables = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
    study = build(tables, Path("studies/x.toml"), known)
    configurations = [study.trial(known, study.variants[0], "digits", 0, {}, of).configuration for of in ("old", "new")]
    days = [pd.Timestamp(f"2026-01-0{day}", tz="UTC") for day in (1, 3, 2)]
    contents = [("old", configurations[0]), ("new", configurations[1]), ("old", configurations[0])]
    runs = pd.DataFrame(
        [
            row(2, seed, 1.0, fingerprint=fingerprint, configuration=configuration, started=day)
            for seed, ((fingerprint, configuration), day) in enumerate(zip(contents, days, strict=True))
        ]
    )
    assert selected(study, known, runs)["seed"].tolist() == [1]
    runs["state"] = ["finished", "interrupted", "finished"]
    assert selected(study, known, runs)["seed"].tolist() == [0, 2]


@pytest.mark.parametrize(
    ("datasets", "names"),
    [
        (["digits", "own/flowers/", "mnist"], ["digits", "flowers", "mnist"]),
        (["a/flowers", "b/flowers"], ["a/flowers", "b/flowers"]),
        (["a/x/flowers", "b/x/flowers", "b/y/flowers"], ["a/x/flowers", "b/x/flowers", "y/flowers"]),
        (["mnist", "own/mnist"], ["mnist", "own/mnist"]),
        (["/mnist", "mnist", "mnist"], ["/mnist", "mnist"]),
        (["own/", "own"], ["own/", "own"]),
    ],
)
def test_data_sets_whose_paths_end_alike_are_told_apart(datasets: list[str], names: list[str]) -> None:
    assert list(nicknames(datasets).values()) == names


def test_the_best_is_bold_in_its_own_direction(study: Study, runs: pd.DataFrame) -> None:
    runs = pd.concat([runs[1:], pd.DataFrame([row(10, 1, 90.0)])])
    lines = markdown_table(study, summary(study, runs)).splitlines()
    assert "test_loss ↓" in lines[0]
    assert "psnr ↑" in lines[0]
    assert "**90.00 ± 0**" in lines[4]
    assert "**30.00 ± 0**" in lines[4]
    assert "150.0 ± 2.8" in lines[2]


def test_what_is_tied_with_the_best_is_marked_and_what_is_not_is_not(study: Study) -> None:
    """Seeds differ by 10: 5 trails 10 by 1 on every seed, which settles it; 2 by 1, -2 and 4, which does not."""
    losses = {10: (90.0, 100.0, 110.0), 5: (91.0, 101.0, 111.01), 2: (91.0, 98.0, 114.0)}
    runs = pd.DataFrame([row(latent, seed, loss) for latent, each in losses.items() for seed, loss in enumerate(each)])
    table = summary(study, runs)
    assert table["test_loss_best"].tolist() == [False, False, True]
    assert table["test_loss_tied"].tolist() == [True, False, False]
    assert table["test_loss_interval"].iloc[2] == pytest.approx(4.302653 * 10 / 3**0.5, rel=1e-6)  # t of two degrees
    assert table["success_rate"].tolist() == [1, 1, 1]
    lines = markdown_table(study, table).splitlines()
    assert "101 ± 12 ≈" in lines[2]
    assert "≈" not in lines[3].split("|")[2]
    assert "± 24.8 " in lines[4]
    assert "100 ± 10 *" in console(study, runs)


def test_ties_are_corrected_for_the_number_of_variants(study: Study) -> None:
    """5 trails 10 by 1, 1.8 and 1: alone that is settled at 5 %, beside a second comparison it is not."""
    losses = {10: (90.0, 100.0, 110.0), 5: (91.0, 101.8, 111.0)}
    worse = {2: (91.0, 98.0, 114.0)}

    def table(each: Mapping[int, Sequence[float]]) -> pd.DataFrame:
        rows = [row(latent, seed, loss) for latent, values in each.items() for seed, loss in enumerate(values)]
        return summary(study, pd.DataFrame(rows)).set_index("variant")

    alone, beside = table(losses), table({**losses, **worse})
    p = stats.ttest_rel(losses[5], losses[10]).pvalue
    assert alone["test_loss_p"]["latent_dim=5"] == pytest.approx(p)
    assert beside["test_loss_p"]["latent_dim=5"] == pytest.approx(2 * p)
    assert p < 0.05 < 2 * p
    assert not alone["test_loss_tied"]["latent_dim=5"]
    assert beside["test_loss_tied"]["latent_dim=5"]
    assert math.isnan(beside["test_loss_p"]["latent_dim=10"])
    assert "after Holm's correction over the variants" in legend_of(study, beside, best="Bold")


TIME = "s/epoch: time that passed, more of it where other work ran beside"


def test_of_one_seed_nothing_is_called_best(study: Study) -> None:
    runs = pd.DataFrame([row(10, 0, 90.0), row(5, 0, 120.0), row(2, 0, 150.0)])
    table = summary(study, runs)
    assert not table[["test_loss_best", "test_loss_tied", "psnr_best", "psnr_tied"]].any(axis=None)
    assert table["test_loss_untested"].tolist() == [True, True, False]  # nothing is compared with itself
    lines = markdown_table(study, table).splitlines()
    assert "test_loss ↓, untested" in lines[0]
    assert "psnr ↑, untested" in lines[0]
    assert not any(mark in line for line in lines for mark in ("**", "≈"))
    assert legend_of(study, table, best="Bold") == f"untested: one seed says nothing of which is best; {TIME}"
    assert "untested: one seed" in console(study, runs)


def test_what_alone_could_not_be_tested_says_so_in_its_cell(study: Study) -> None:
    losses = {10: (90.0, 100.0), 5: (120.0,), 2: (150.0, 160.1)}
    runs = pd.DataFrame([row(latent, seed, loss) for latent, each in losses.items() for seed, loss in enumerate(each)])
    table = summary(study, runs)
    assert table["test_loss_untested"].tolist() == [False, True, False]
    lines = markdown_table(study, table).splitlines()
    assert "test_loss ↓ " in lines[0]
    assert "120.0 untested" in lines[3]
    assert "**95.0 ± 7.1**" in lines[4]
    legend = legend_of(study, table, best="Bold")
    assert legend == (
        "Bold: best mean; untested: one seed says nothing of which is best; n or seeds: from how many or from which, where not "
        f"all are from the same; {TIME}"
    )


def test_few_variants_with_many_measures_stand_side_by_side(study: Study, runs: pd.DataFrame) -> None:
    """Eleven metrics of three variants are columns of variants; of seven variants, or three metrics, they stay rows."""
    many = [f"m{n}" for n in range(8)]
    wide = dataclasses.replace(study, metrics=(*study.metrics, *(Metric(name, "lower") for name in many)))
    runs = pd.concat([runs[1:], pd.DataFrame([row(10, 1, 90.0)])])
    runs = runs.assign(**{f"metric.{name}": runs["metric.psnr"] for name in many})
    page = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in markdown_table(wide, summary(wide, runs)).splitlines()
    ]
    assert page[0] == ["measure", "latent_dim=2", "latent_dim=5", "latent_dim=10"]
    assert page[2] == ["test_loss ↓ (nats)", "150.0 ± 2.8", "120.0 untested (n = 1)", "**90.00 ± 0**"]
    assert not any(row[0].startswith("fid") for row in page)  # which was taken of none
    lines = console(wide, runs, width=80).splitlines()
    assert " ".join(lines[3].split()) == "test_loss ↓ (nats) 150.0 ± 2.8 120.0 untested (n = 1) 90.00 ± 0 *"
    assert not any(line.startswith("fid ↓") for line in lines)
    several = pd.concat([runs[:1].assign(variant=f"v{n}", configuration=f"{n}", seed=0) for n in range(7)])
    assert markdown_table(wide, summary(wide, several)).startswith("| variant ")
    assert markdown_table(study, summary(study, runs)).startswith("| variant ")


def test_a_metric_without_a_better_direction_has_no_best(study: Study, runs: pd.DataFrame) -> None:
    study = dataclasses.replace(study, metrics=(study.objective, Metric("psnr", "neither"), *study.metrics[2:]))
    lines = markdown_table(study, summary(study, runs)).splitlines()
    assert "| psnr " in lines[0]
    assert "**30.00**" not in lines[4]


def test_a_column_that_few_images_bias_says_so(study: Study, runs: pd.DataFrame) -> None:
    runs = pd.concat([runs[1:], pd.DataFrame([row(10, 1, 90.0)])])
    runs["protocol.psnr"] = json.dumps({"split": "test", "biased": "upwards, by few images; kernel is not"})
    table = markdown_table(study, summary(study, runs))
    assert "psnr ↑, biased" in table
    assert "test_loss ↓ " in table


def test_a_diagnostic_is_named_one(study: Study, runs: pd.DataFrame) -> None:
    runs["protocol.psnr"] = json.dumps({"split": "test", "stands_as": "a diagnostic"})
    table = markdown_table(study, summary(study, runs))
    assert "psnr ↑, diagnostic" in table
    assert "test_loss ↓, untested" in table


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (123.456, 1.234, "123.5 ± 1.2"),
        (0.012344, 0.00012, "0.01234 ± 0.00012"),
        (0.01352, 0.00004, "0.01352 ± 0.00004"),
        (0.00024, 0.00001, "0.000240 ± 0.000010"),
        (1234.5, float("nan"), "1234"),
        (9.0, 0.5, "9.00 ± 0.50"),
        (104.6, 0.04, "104.60 ± 0.04"),  # one place more, where the deviation would be 0
        (5.0, 1e-16, "5.000 ± 0"),
        (0.9286, 0.0, "0.9286 ± 0"),
        (0.0003, 0.5, "0.00 ± 0.50"),
        (0.0, float("nan"), "0.000"),
        (3.25e20, 1e19, "3.250e+20 ± 1.000e+19"),
    ],
)
def test_numbers_have_four_digits_at_most_and_no_more_than_two_of_their_spread(
    mean: float, std: float, text: str
) -> None:
    assert with_spread(mean, std) == text


def test_a_report_is_a_page_two_tables_and_pictures_and_the_same_bytes_again(
    study: Study, runs: pd.DataFrame, tmp_path: Path
) -> None:
    curves = pd.DataFrame(
        [
            (run, f"{split}/loss", epoch, 100.0 / epoch if epoch else 900.0)
            for run in runs["run_id"]
            for split in ("train", "train_eval", "test")
            for epoch in range(4)
        ],
        columns=["run_id", "name", "step", "value"],
    )
    assert illustrations.pictured(study, runs, summary(study, runs)) == ["r10-0", "r5-0", "r2-0"]
    black = png(np.zeros((300, 300, 3), np.uint8))
    pictures = {run: {"samples.png": black} for run in illustrations.pictured(study, runs, summary(study, runs))}
    path = page.write(study, runs, curves, pictures, tmp_path / "x")
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert set(files) == {
        *("README.md", "report.html", "report.json", "summary.csv", "runs.csv"),
        *("effects.png", "digits-test-curves.png", "digits-test-samples.png"),
    }
    assert {picture(files[name]).shape[1] for name in files if name.endswith(".png")} == {WIDTH}
    text = files["README.md"].decode()
    for part in (
        "# Which?",
        "Study x: digits",
        "> Document 000: the first",
        "seeds 0 and 1",
        "commit: abc",
        "digits, 1,433 train, 364 test images, sha256 f00f00f00f00",
        "of the user's own: models/mine.py, sha256 3fa93fa93fa9",
        "bench run study x",
    ):
        assert part in text
    assert "4 finished of 5 trials, about 0.11 device-hours" in text  # 50 epochs of 2 seconds each
    assert "started 2026-01-02 03:04 to 03:04 UTC" in text
    assert "| CPU, 1 thread " in text
    table = pd.read_csv(path.parent / "runs.csv")
    assert table["variant"].tolist() == [
        "latent_dim=2",
        "latent_dim=2",
        "latent_dim=5",
        "latent_dim=10",
        "latent_dim=10",
    ]
    page.write(study, runs.iloc[::-1], curves.iloc[::-1], pictures, tmp_path / "x")
    assert {file.name: file.read_bytes() for file in path.parent.iterdir()} == files


@pytest.mark.parametrize(
    ("named", "drawn", "shown"),
    [
        ((), [0, 1, 2, 5, 10, 20, 30], [1, 10, 30]),  # the first, one in the middle, the last
        ((), [0, 1, 2, 5, 10, 20, 50, 100], [1, 50, 100]),
        ((), [0, 1], [1]),
        ((), [], []),  # of a model that makes no images
        ((20, 45), [0, 1, 2, 5, 10, 20, 45, 50], [20, 45, 50]),
        ((20, 45), [0, 1, 2, 5, 10, 20, 50], [20, 50]),  # trained before 45 was named
        ((20, 45), [0, 1], [1]),
    ],
)
def test_a_report_follows_samples_through_training(
    study: Study, named: tuple[int, ...], drawn: list[int], shown: list[int]
) -> None:
    assert illustrations.followed(dataclasses.replace(study, pictures=named), drawn) == shown


def test_of_a_searchs_proposals_the_best_are_pictured_and_of_its_confirmation_all(known: Catalogue) -> None:
    tables = {"question": "Which?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
    space = {"latent_dim": {"low": 2, "high": 64}}
    search = build({**tables, "trials": 5, "vary": space}, Path("studies/x.toml"), known)
    proposed = [row(n, 0, 100.0 - n, split="validation", run_id=f"p{n}", configuration=f"p{n}") for n in range(2, 7)]
    confirmed = [row(n, seed, 90.0 - n) for n in (6, 5, 4, 3) for seed in (1, 2)]
    runs = prepared(search, pd.DataFrame([*proposed, *confirmed]))
    found = illustrations.pictured(search, runs, summary(search, runs))
    assert sorted(found) == ["p4", "p5", "p6", "r3-1", "r4-1", "r5-1", "r6-1"]


def test_samples_of_one_run_are_in_a_row_and_those_of_each_variant_in_a_row_of_its_own(
    study: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    def shade(number: int) -> Picture:
        return np.broadcast_to(np.array([number, 200, 100], np.uint8), (80, 80, 3))  # no grey, which captions have

    rows = {}
    for place, run in enumerate(illustrations.pictured(study, runs, summary(study, runs))):
        rows[run] = illustrations.while_training({epoch: png(shade(10 * place + epoch)) for epoch in (9, 1, 5)})
    page.write(study, runs, no_curves, rows, tmp_path)
    sheet = picture((tmp_path / "digits-test-training.png").read_bytes())
    corners = {}
    for number in (21, 25, 29, 11, 15, 19, 1, 5, 9):  # latent_dim 2 is the last of `pictured` and the first row
        down, across = np.nonzero((sheet == shade(number)[0, 0]).all(axis=2))
        assert len(down) == (6 * 80) ** 2  # a third of the sheet has room for six times the 80 pixels
        corners[number] = down.min(), across.min()
    tops = [sorted({corners[number][0] for number in (base + 1, base + 5, base + 9)}) for base in (20, 10, 0)]
    assert all(len(top) == 1 for top in tops)
    assert tops == sorted(tops)
    assert corners[21][1] < corners[25][1] < corners[29][1]
    assert illustrations.while_training({1: png(shade(1))}) == {}


def test_no_trial_is_one_line(study: Study) -> None:
    with pytest.raises(StudyError, match="no trial of study x is tracked yet; run: bench run study x"):
        summary(study, pd.DataFrame())


@pytest.fixture
def search(known: Catalogue) -> Study:
    """A study that searches for a latent dimension, without confirming."""
    written = {
        "question": "Which?",
        "source": "none at all, really",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss"],
        "trials": 3,
        "vary": {"latent_dim": {"low": 2, "high": 20}},
    }
    return build(written, Path("studies/x.toml"), known)


def test_a_search_shows_its_best_first_and_what_confirmed_them(
    search: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    proposals = runs.iloc[1:4].assign(split="validation", seed=0)
    both = pd.concat([proposals, runs.iloc[[1]]], ignore_index=True)
    table = summary(search, both)
    assert table["split"].tolist() == ["test", "validation", "validation", "validation"]
    assert table["test_loss_mean"].tolist() == [90.0, 90.0, 120.0, 152.0]
    text = page.write(search, both, no_curves, {}, tmp_path).read_text()
    assert text.index("Confirmed:") < text.index(
        "3 proposals, the best 3 by test_loss (lower is better): 3 finished, 0 pruned, 0 failed."
    )
    assert rows_of(text, "| proposals ") == [  # of 152, 120 and 90: their mean; then 1/3 120 and 2/3 90
        ["proposals", "test_loss (nats)"],
        ["1", "120.7"],
        ["2", "100"],
        ["3", "90"],
    ]


def test_the_expected_best_takes_what_was_pruned_for_the_worst_and_leaves_infinities_out(
    search: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    proposals = runs.iloc[[1, 2, 3, 3]].assign(split="validation", seed=0)
    proposals["state"] = ["finished", "finished", "finished", "pruned"]
    proposals["metric.test_loss"] = [152.0, 90.0, 1.8e308, 100.0]
    text = page.write(search, proposals, no_curves, {}, tmp_path).read_text()
    prospects = text[text.index("The expected best test_loss") :].splitlines()
    assert [line.split()[1:4:2] for line in prospects[4:7]] == [
        ["1", "131.3"],
        ["2", "110.7"],
        ["3", "90"],
    ]  # of 152, 152, 90
    nothing = proposals.assign(state="failed").drop(columns="metric.test_loss")
    assert "expected best" not in page.write(search, nothing, no_curves, {}, tmp_path).read_text()


def test_a_study_of_which_nothing_finished_has_a_report_too(
    study: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    early = {
        "data": "{}",
        "versions": "{}",
        "guests": "{}",
        "device": "",
        "parameters": None,
        "seconds_per_epoch": None,
    }
    text = page.write(study, runs.iloc[:1].assign(**early), no_curves, {}, tmp_path).read_text()
    assert "| latent_dim=10 |" in text
    assert "| 0/1 " in text
    assert "latent_dim=10 seed 1 on digits failed: diverged: loss is nan" in text
    assert "* commit: abc\n" in text
    assert "0 finished of 1 trials" in text
    assert "* data:" not in text
    assert "```\nbench run study x\n```" in text


@pytest.fixture
def no_curves() -> pd.DataFrame:
    return pd.DataFrame(columns=["run_id", "name", "step", "value"])


def test_configurations_that_share_a_name_are_told_apart(study: Study, runs: pd.DataFrame) -> None:
    short = row(5, 1, 130.0, configuration="other")
    both = pd.concat([runs.assign(**{"param.epochs": "50"}), pd.DataFrame([{**short, "param.epochs": "5"}])])
    table = summary(study, both)
    assert table["variant"].tolist() == [
        "latent_dim=2",
        "latent_dim=5 (epochs=5)",
        "latent_dim=5 (epochs=50)",
        "latent_dim=10",
    ]
    assert table["test_loss_mean"].tolist() == [150.0, 130.0, 120.0, 90.0]
    assert table["test_loss_n"].tolist() == [2, 1, 1, 1]


def test_curves_leave_out_epoch_0_and_infinities_and_go_by_seed(
    study: Study, runs: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("r2-1", "test/loss", 1, 7.0), ("r2-0", "test/loss", 1, 5.0), ("r2-0", "test/loss", 0, 900.0)]
    rows += [("r2-0", "train/kl", 1, 1.0), ("r2-0", "train/loss", 1, LARGEST), ("r10-1", "test/loss", 1, 3.0)]
    rows += [("r2-0", "validation/kl", 1, 2.0), ("r2-0", "train_eval/kl", 1, 3.0)]
    seen: list[Any] = []

    def curves(panels: Any) -> Picture:
        seen.append(panels)
        return np.zeros((9, 9, 3), np.uint8)

    monkeypatch.setattr(illustrations, "curves", curves)
    page.write(study, runs, pd.DataFrame(rows, columns=["run_id", "name", "step", "value"]), {}, tmp_path)
    assert seen == [
        {
            "loss": {"latent_dim=2": {"test": {1: [5.0, 7.0]}}},
            "kl": {"latent_dim=2": {"train": {1: [1.0]}, "train_eval": {1: [3.0]}, "validation": {1: [2.0]}}},
        }
    ]
    assert list(seen[0]) == ["loss", "kl"]
    assert list(seen[0]["kl"]["latent_dim=2"]) == ["train", "train_eval", "validation"]


def test_of_many_variants_held_out_curves_are_drawn_alone(
    known: Catalogue, study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the caption tells of those lines that there are."""
    seen: list[Any] = []
    captions: list[str] = []

    def curves(panels: Any) -> Picture:
        seen.append({term: {tuple(own) for own in panel.values()} for term, panel in panels.items()})
        return np.zeros((9, 9, 3), np.uint8)

    monkeypatch.setattr(illustrations, "curves", curves)
    for most in (7, 8):
        wide = dataclasses.replace(study, vary={"latent_dim": tuple(range(1, most + 1))})
        runs = pd.DataFrame([row(n, 0, 100.0 + n) for n in range(1, most + 1)])
        rows = [(f"r{n}-0", f"{s}/loss", 1, 7.0) for n in range(1, most + 1) for s in ("train", "train_eval", "test")]
        rows.append(("r1-0", "train/penalty", 1, 7.0))  # which is of training alone
        for kept in (rows, [each for each in rows if "train_eval" not in each[1]]):
            values = pd.DataFrame(kept, columns=["run_id", "name", "step", "value"])
            text = page.write(wide, runs, values, {}, tmp_path).read_text()
            captions.append(text[text.index("Held-out images (") : text.index(" Lines are means")])
    assert seen == [
        {"loss": {("train", "train_eval", "test")}, "penalty": {("train",)}},
        {"loss": {("train", "test")}, "penalty": {("train",)}},
        *[{"loss": {("test",)}}] * 2,
    ]
    dotted = "dotted as the training steps took them (train)."
    assert captions == [
        f"Held-out images (test) solid; training images dashed in eval mode (train_eval), which compares with them, {dotted}",
        f"Held-out images (test) solid; training images {dotted}",
        *["Held-out images (test) alone, of so many variants."] * 2,
    ]


def test_no_two_of_forty_nine_variants_look_alike() -> None:
    look = list(zip(plots._colours(49), plots._marks(49), strict=True))
    assert len(set(look)) == 49
    assert look[:7] == list(zip(COLOURS, plots.MARKERS, strict=True))


def test_a_printed_table_fits_a_terminal_and_lacks_no_row(known: Catalogue, study: Study, runs: pd.DataFrame) -> None:
    wide = dataclasses.replace(study, vary={"latent_dim": tuple(range(2, 16))})
    many = pd.DataFrame([row(n, 0, 100.0 + n) for n in range(2, 16)])
    text = console(wide, many)
    assert all(f"latent_dim={n} " in text for n in range(2, 16))
    assert "fid ↓" not in text  # blank in every row, which the notes explain
    assert "fid on digits is blank for vae: no Inception weights" in text
    name = "latent_dim=10 hidden_dims=512-256 learning_rate=0.00123 batch_size=64 weight_decay=0.000321 dropout=on"
    lines = console(study, runs.assign(variant=name, configuration="c")).splitlines()
    table = lines[: lines.index("")]
    assert max(map(len, table)) <= 120
    assert " ".join(" ".join(line[:60].split("  ")[0] for line in table[3:]).split()) == name


def test_what_is_printed_is_what_decides_and_where_the_rest_is(study: Study, runs: pd.DataFrame) -> None:
    """Five measures of eleven, the verdicts with a test, how many have none; with all measures it was pages."""
    many = [f"m{n}" for n in range(8)]
    wide = dataclasses.replace(study, metrics=(*study.metrics, *(Metric(name, "lower") for name in many)))
    taken = runs[1:].assign(**{f"metric.{name}": runs["metric.psnr"] for name in many})
    judged = [
        Judgement(Claim("claim 0", "p. 1"), "holds", "digits", test="a test", p=0.01, effect=2.0),
        Judgement(Claim("claim 1", "p. 1"), "open", "mnist"),
        Judgement(Claim("claim 2", "p. 1"), "open", "mnist"),
        Judgement(Claim("claim 3", "p. 1"), "not judged"),
    ]
    text = console(wide, taken, "What was found.", judged, 80)
    assert text.startswith("What was found.\n\nsource said")
    assert "claim 0" in text
    assert "claim 1" not in text
    assert "what else the source says: 2 open and 1 not judged; on the page" in text
    assert "m2" in text
    assert "m3" not in text
    assert "parameters" not in text
    assert text.endswith("on the page: 5 more measures, curves, pictures, costs")
    assert max(map(len, text.splitlines())) <= 80
    nothing_told = console(wide, taken, "Nothing can be told.", judged[1:], 80)
    assert nothing_told.startswith("Nothing can be told.\nwhat else the source says: 2 open")
    assert console(wide, taken).startswith(f"{study.name} on digits")


def test_words_are_wrapped_where_all_columns_have_room_then() -> None:
    """A number holds together with its interval; of columns that have no room in any way nothing is wrapped."""
    cells = (
        "the training loss falls as the latent dimension grows",
        "+0.163 ± 0.034 times held-out (n = 3)",
        "cannot tell",
    )
    table = Table("x", ("source said", "here", "verdict"), (tuple(map(Cell, cells)),))
    lines = plain_table(table, 66).splitlines()
    assert lines[2].endswith("+0.163 ± 0.034 times  cannot tell")
    assert lines[3].endswith("held-out (n = 3)")
    assert max(map(len, lines)) <= 66
    assert len(plain_table(table, 120).splitlines()) == 3
    assert plain_table(table, 50).count("source said") == 2


def test_no_place_of_this_machine_is_in_a_report(
    study: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    faces = "/home/someone/my data/faces.npz".replace(" ", "_")
    own = runs.assign(
        dataset=faces,
        command=f"bench run study x --dataset {faces}",
        **{"reason.fid": "no weights at /home/someone/.cache/inception.pth, see https://example.org/a/b"},
    )
    path = page.write(study, own, no_curves, {}, tmp_path)
    for file in path.parent.iterdir():
        assert b"/home" not in file.read_bytes()
    text = path.read_text()
    assert "## faces.npz\n" in text
    assert "bench run study x --dataset faces.npz" in text
    assert "no weights at inception.pth, see https://example.org/a/b" in text


def test_two_data_sets_of_one_name_keep_their_own_pictures(
    study: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    both = pd.DataFrame([row(2, 0, 1.0, dataset=f"{place}/faces.npz", run_id=place) for place in ("a", "b")])
    pictures = {
        place: {"samples.png": png(np.full((9, 9, 3), shade, np.uint8))} for place, shade in (("a", 7), ("b", 99))
    }
    path = page.write(study, both, no_curves, pictures, tmp_path)
    for name, shade in (("faces-test-samples.png", 7), ("faces-test-2-samples.png", 99)):
        assert f"]({name})" in path.read_text()
        assert (picture((tmp_path / name).read_bytes()) == shade).all(axis=2).sum() >= 81


def test_a_report_that_cannot_be_written_leaves_the_old_one(
    study: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.write(study, runs, no_curves, {}, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write_bytes = Path.write_bytes

    def until_full(file: Path, content: bytes) -> int:
        if file.name == "README.md":
            raise OSError(errno.ENOSPC, "No space left on device")
        return write_bytes(file, content)

    monkeypatch.setattr(Path, "write_bytes", until_full)
    with pytest.raises(OSError, match="No space left"):
        page.write(study, runs.iloc[:1], no_curves, {}, tmp_path)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_what_a_report_that_was_killed_had_written_is_removed_and_what_another_writes_is_not(
    study: Study, runs: pd.DataFrame, no_curves: pd.DataFrame, tmp_path: Path
) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    for process in (ended.pid, os.getppid()):
        (tmp_path / f".partial-{process}").mkdir()
        (tmp_path / f".partial-{process}" / "README.md").write_text("half")
    page.write(study, runs, no_curves, {}, tmp_path)
    assert [file.name for file in tmp_path.glob(".*")] == [f".partial-{os.getppid()}"]
