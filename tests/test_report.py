"""Reports from tables made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench import figures, report
from bench.study import Catalogue, Study, StudyError
from bench.study_file import build

BETTER = {"test_loss": "lower", "psnr": "higher", "fid": "lower"}
PROTOCOL = json.dumps({"split": "test", "images": "9"})
LARGEST = 1.7976931348623157e308


@pytest.fixture
def study(known: Catalogue) -> Study:
    tables = {
        "question": "Which?",
        "source": "Document 000: the first",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss", "psnr", "fid"],
        "vary": {"latent_dim": [2, 5, 10]},
    }
    return build(tables, Path("studies/x.toml"), known)


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
        "data": json.dumps({"sha256": "f00" * 10, "train": "1433", "test": "364"}),
        "started": pd.Timestamp("2026-01-02 03:04", tz="UTC"),
        "duration_s": 3600.0,
        "parameters": 1000 * latent,
        "epochs": 50,
        "seconds_per_epoch": 2.0,
        "images_per_second": 100.0,
        "peak_megabytes": 512.0,
        "metric.test_loss": loss,
        "protocol.test_loss": PROTOCOL,
        "metric.psnr": 20.0 + latent,
        "protocol.psnr": PROTOCOL,
        "reason.fid": "no Inception weights",
        "protocol.fid": "{}",
        **changes,
    }


@pytest.fixture
def runs() -> pd.DataFrame:
    """Newest first, as they are tracked."""
    failed = {"state": "failed", "failure": "diverged", "reason": "loss is nan", "metric.psnr": None}
    rows = [row(10, 1, None, **failed), row(10, 0, 90.0), row(5, 0, 120.0), row(2, 1, 152.0), row(2, 0, 148.0)]
    return pd.DataFrame(rows)


def test_a_row_is_mean_deviation_and_n_over_the_finished_seeds(study: Study, runs: pd.DataFrame) -> None:
    table = report.summary(study, runs, BETTER)
    assert table["variant"].tolist() == ["latent_dim=2", "latent_dim=5", "latent_dim=10"]
    assert table["test_loss_mean"].tolist() == [150.0, 120.0, 90.0]
    assert table["test_loss_std"].iloc[0] == pytest.approx(8**0.5)  # of 148 and 152, as of a sample
    assert table["test_loss_std"].isna().tolist() == [False, True, True]
    assert table["test_loss_n"].tolist() == [2, 1, 1]
    assert list(zip(table["finished"], table["total"], strict=True)) == [(2, 2), (1, 1), (1, 2)]
    assert table["parameters"].tolist() == [2000, 5000, 10000]


def test_what_was_not_measured_is_blank_and_has_its_reason(study: Study, runs: pd.DataFrame) -> None:
    table = report.summary(study, runs, BETTER)
    assert table["fid_mean"].isna().all()
    assert table["fid_n"].tolist() == [0, 0, 0]
    assert "fid on digits is blank for vae: no Inception weights" in report.notes(study, runs)
    assert " 0 " not in report.markdown_table(study, table, BETTER)


def test_failures_are_named(study: Study, runs: pd.DataFrame) -> None:
    assert "latent_dim=10 seed 1 on digits failed: diverged: loss is nan" in report.notes(study, runs)


def test_an_infinity_that_was_stored_is_no_number(study: Study, runs: pd.DataFrame) -> None:
    runs["metric.test_loss"] = runs["metric.test_loss"].replace(152.0, LARGEST)
    table = report.summary(study, runs, BETTER)
    assert table["test_loss_mean"].iloc[0] == 148.0
    assert table["test_loss_n"].iloc[0] == 1


def test_two_protocols_do_not_share_a_column(study: Study, runs: pd.DataFrame) -> None:
    runs["protocol.test_loss"] = [json.dumps({"images": "10", "split": "test"}), *[PROTOCOL] * 4]
    assert report.summary(study, runs, BETTER)["test_loss_mean"].notna().all()  # that run has no value
    runs["protocol.test_loss"] = [PROTOCOL, json.dumps({"images": "10", "split": "test"}), *[PROTOCOL] * 3]
    assert report.summary(study, runs, BETTER)["test_loss_mean"].isna().all()
    assert any("2 protocols" in note for note in report.notes(study, runs))
    runs["protocol.test_loss"] = [PROTOCOL, '{"images": "9",  "split":"test"}', *[PROTOCOL] * 3]
    assert report.summary(study, runs, BETTER)["test_loss_mean"].notna().all()  # the same in another order


def test_the_best_is_bold_in_its_own_direction(study: Study, runs: pd.DataFrame) -> None:
    lines = report.markdown_table(study, report.summary(study, runs, BETTER), BETTER).splitlines()
    assert "test_loss ↓" in lines[0]
    assert "psnr ↑" in lines[0]
    assert "**90.00**" in lines[4]
    assert "**30.00**" in lines[4]
    assert "150.0 ± 2.8" in lines[2]


@pytest.mark.parametrize(
    ("mean", "std", "text"),
    [
        (123.456, 1.234, "123.5 ± 1.2"),
        (0.012345, 0.00012, "0.0123 ± 0.0001"),
        (1234.5, float("nan"), "1234"),
        (9.0, 0.5, "9.000 ± 0.500"),
    ],
)
def test_numbers_have_four_digits_and_their_spread_the_same_places(mean: float, std: float, text: str) -> None:
    assert report._with_spread(mean, std) == text


def test_a_report_is_a_page_two_tables_and_pictures_and_the_same_bytes_again(
    study: Study, runs: pd.DataFrame, tmp_path: Path
) -> None:
    curves = pd.DataFrame(
        [
            (run, f"{split}/loss", epoch, 100.0 / epoch if epoch else 900.0)
            for run in runs["run_id"]
            for split in ("train", "test")
            for epoch in range(4)
        ],
        columns=["run_id", "name", "step", "value"],
    )
    assert report.pictured(runs) == ["r10-0", "r5-0", "r2-0"]
    picture = figures.png(np.zeros((300, 300, 3), np.uint8))
    pictures = {run: {"samples.png": picture} for run in report.pictured(runs)}
    path = report.write(study, runs, curves, pictures, tmp_path / "x", BETTER)
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert set(files) == {"README.md", "summary.csv", "runs.csv", "digits-test-curves.png", "digits-test-samples.png"}
    text = files["README.md"].decode()
    for part in (
        "# x",
        "Which?",
        "> Document 000: the first",
        "seeds 0 and 1",
        "commit: abc",
        "digits, 1,433 train, 364 test images, sha256 f00f00f00f00",
        "bench run study x",
    ):
        assert part in text
    assert "4 finished of 5, 4.00 hours" in text
    table = pd.read_csv(path.parent / "runs.csv")
    assert table["variant"].tolist() == [
        "latent_dim=2",
        "latent_dim=2",
        "latent_dim=5",
        "latent_dim=10",
        "latent_dim=10",
    ]
    report.write(study, runs.iloc[::-1].reset_index(drop=True), curves, pictures, tmp_path / "x", BETTER)
    again = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    assert again["summary.csv"] == files["summary.csv"]
    assert again["README.md"] == files["README.md"]


def test_no_trial_is_one_line(study: Study) -> None:
    with pytest.raises(StudyError, match="no trial of study x is tracked yet; run: bench run study x"):
        report.summary(study, pd.DataFrame(), BETTER)


def test_a_search_shows_its_best_first_and_what_confirmed_them(
    known: Catalogue, runs: pd.DataFrame, tmp_path: Path
) -> None:
    tables = {
        "question": "Which?",
        "source": "none at all, really",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["test_loss"],
        "trials": 3,
        "vary": {"latent_dim": {"low": 2, "high": 20}},
    }
    search = build(tables, Path("studies/x.toml"), known)
    proposals = runs.iloc[1:4].assign(split="validation", seed=0)
    both = pd.concat([proposals, runs.iloc[[1]]], ignore_index=True)
    table = report.summary(search, both, BETTER)
    assert table["split"].tolist() == ["test", "validation", "validation", "validation"]
    assert table["test_loss_mean"].tolist() == [90.0, 90.0, 120.0, 152.0]
    empty = pd.DataFrame(columns=["run_id", "name", "step", "value"])
    text = report.write(search, both, empty, {}, tmp_path, BETTER).read_text()
    assert text.index("Confirmed:") < text.index("Proposals, the best 3 of 3 by test_loss")
