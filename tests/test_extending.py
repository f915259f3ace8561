"""The pages on adding something, followed to the letter in a project of one's own: the package is installed, not edited."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import bench
from bench import api
from bench.cli import main
from bench.measure.measurements import MEASURED_BY
from bench.paths import Paths
from bench.run.earlier import Code
from bench.score import Score

ROOT = Path(__file__).parent.parent
PAGES = {
    "model": "add-a-model.md",
    "dataset": "add-a-data-set.md",
    "metric": "add-a-metric.md",
    "study": "add-a-study.md",
    "application": "add-an-application.md",
}
FEW = ("--set", "train_images=200", "--set", "test_images=50", "--set", "epochs=2", "--set", "samples=50")


def command(*words: str) -> str:
    result = CliRunner().invoke(main, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("kind", PAGES)
def test_a_page_shows_what_bench_new_writes_and_names_the_commands(kind: str) -> None:
    text = (ROOT / "docs" / PAGES[kind]).read_text()
    template = next((ROOT / "bench" / "templates").glob(f"{kind}.*")).read_text()
    assert template in re.findall(r"```(?:python|toml)\n(.*?)```", text, re.DOTALL)
    assert f"bench new {kind} " in text
    assert "bench check" in text
    assert f"docs/{PAGES[kind]}" in (ROOT / "CONTRIBUTING.md").read_text()


def test_a_model_runs_and_its_run_is_put_to_use(inside: Paths) -> None:
    command("new", "model", "mine")
    assert "class Mine(" in (inside.studies.parent / "models" / "mine.py").read_text()
    command("run", "trial", "mine", *FEW)
    curves = bench.table("trials", wide=True)
    assert list(curves["model"]) == ["mine"]
    assert curves["metric.test_loss"].notna().all()
    assert "latent_dim = 8" in command("show", "model", "mine")
    command("new", "application", "again")
    assert "8 rows: applied/again-" in command("apply", "again", curves["key"].iloc[0])


def test_a_data_set_is_known_by_name(inside: Paths) -> None:
    command("new", "dataset", "boards")
    command("run", "trial", "vae", "--dataset", "boards", *FEW)
    assert list(bench.table("trials", wide=True)["dataset"]) == ["boards"]
    assert "boards" in bench.datasets()


def test_a_metric_is_taken_of_models_that_are_trained_already(inside: Paths) -> None:
    command("run", "study", "smoke", "--seeds", "1", "--set", "epochs=1")
    command("new", "metric", "shade")
    file = inside.study("smoke")
    file.write_text(file.read_text().replace('"reconstruction_mse"', '"reconstruction_mse", "shade"'))
    output = command("run", "study", "smoke", "--seeds", "1", "--set", "epochs=1")
    assert "2 finished already, nothing to train, 2 to measure again" in output
    runs = bench.table("smoke")
    shades = runs[runs["metric"] == "shade"]["value"]
    assert len(shades) == 2
    assert shades.between(0, 1).all()


def test_a_metric_whose_file_has_changed_is_taken_again_and_no_other(inside: Paths) -> None:
    """What was left blank since the file was wrong among it."""
    words = ("run", "study", "smoke", "--seeds", "1", "--set", "epochs=1")
    command("new", "metric", "shade")
    metric, file = inside.studies.parent / "metrics" / "shade.py", inside.study("smoke")
    file.write_text(file.read_text().replace('"reconstruction_mse"', '"reconstruction_mse", "shade"'))
    right = metric.read_text()
    wrong = right.replace("def measure(", "def measure(*_):\n    return 1 / 0\n\n\ndef never(")
    metric.write_text(wrong)
    command(*words)
    assert "nothing to train, 2 to measure again" not in command(*words)
    runs = bench.table("smoke")
    blank = runs[runs["metric"] == "shade"]
    assert blank["value"].isna().all()
    assert blank["reason"].tolist() == ["ZeroDivisionError: division by zero"] * 2
    metric.write_text(right)
    assert "nothing to train, 2 to measure again" in command(*words)
    runs = bench.table("smoke")
    assert runs[runs["metric"] == "shade"]["value"].between(0, 1).all()
    assert "to measure again" not in command(*words)


def test_a_metric_of_which_is_not_told_what_took_it_is_not_taken_again(inside: Paths) -> None:
    """Nor one of the suite's, whose file is the same for all."""
    command("new", "metric", "shade")
    code, of_another = Code(), {MEASURED_BY: "another state"}
    assert code.has_changed("shade", Score(0.5, protocol=of_another))
    assert not code.has_changed("shade", Score(0.5))
    assert not code.has_changed("psnr", Score(20.0, protocol=of_another))


def test_a_study_reads_and_has_as_many_trials_as_its_page_says(inside: Paths) -> None:
    command("new", "study", "mine")
    assert command("run", "study", "mine", "--dry-run").startswith("mine: 9 trials, 9 to train\n")
    assert command("run", "study", "mine", "--smoke", "--dry-run").startswith("mine_smoke: 3 trials, 3 to train\n")
    assert "claim: the smaller the batch, the lower the held-out loss (Keskar et al., section 2)" in command(
        "show", "study", "mine"
    )


def test_what_comes_from_where_is_listed(inside: Paths) -> None:
    for kind in PAGES:
        command("new", kind, "mine")
    for kind, folder in (("model", "models"), ("dataset", "datasets"), ("metric", "metrics")):
        assert re.search(rf"^  mine +{folder}/mine.py  ", command("list", folder), re.MULTILINE), kind
    assert Path(api.__file__).parent == ROOT / "bench"
    assert not list((ROOT / "bench").rglob("mine*"))
