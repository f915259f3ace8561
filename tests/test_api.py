"""The suite from Python, as a script and a notebook use it."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from click.testing import CliRunner, Result

import bench
from bench import api
from bench.cli import main
from bench.cli.common import parse_setting
from bench.contract import Generates
from bench.paths import Paths
from bench.run.command import set_words
from bench.study.definition import StudyError

NOTEBOOK = json.loads((Path(__file__).parent.parent / "docs" / "python.ipynb").read_text())
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
OWN = {"models": "mine.py", "metrics": "shade.py"}


def test_a_name_is_a_function_and_a_folder_of_the_package_at_once() -> None:
    import bench.models.vae

    assert bench.models.vae.VAE.__name__ == "VAE"  # type: ignore[attr-defined]
    assert {"vae", "wgan"} <= set(bench.models())
    assert "digits" in bench.datasets()
    assert "latent_dim" in bench.studies()
    assert set(bench.__all__) <= set(dir(bench))
    with pytest.raises(AttributeError, match="module 'bench' has no attribute 'modles'"):
        bench.modles  # noqa: B018


@pytest.mark.parametrize("name", bench.__all__)
def test_every_name_is_one_of_the_api_s_and_is_explained_and_shown(name: str) -> None:
    assert callable(getattr(bench, name))
    told = getattr(api, name).__doc__ or ""
    for parameter in set(inspect.signature(getattr(api, name)).parameters) - {"folder"}:  # which the module explains
        assert re.search(rf"\b{parameter}\b", told), f"{name}({parameter})"
    assert f"bench.{name}(" in "".join(CODE), "the notebook calls it"


def test_importing_the_package_reads_nothing_else() -> None:
    code = "import sys, bench; print(*sys.modules)"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {name.split(".")[0] for name in output.split()} & {"torch", "mlflow", "optuna", "pandas", "numpy"}


def test_a_study_from_python(inside: Paths) -> None:
    summary = bench.run("smoke", seeds=1, settings={"epochs": 1})
    assert list(summary["variant"]) == ["latent_dim=2", "latent_dim=3"]
    assert list(summary["finished"]) == [1, 1]
    assert summary["test_loss_mean"].notna().all()
    again = bench.run("smoke", seeds=1, settings={"epochs": 1})
    pd.testing.assert_frame_equal(again, summary)
    wide = bench.table("smoke", wide=True)
    assert list(wide["seed"]) == [0, 0]
    assert set(wide["command"]) == {"bench run study smoke --seeds 1 --set epochs=1"}
    runs = bench.table("smoke")
    assert list(runs) == [
        "run",
        "dataset",
        "split",
        "variant",
        "model",
        "seed",
        "metric",
        "value",
        "reason",
        "protocol",
    ]
    loss = runs[runs["metric"] == "test_loss"].set_index("variant")["value"]
    assert loss.to_dict() == summary.set_index("variant")["test_loss_mean"].to_dict()
    assert runs["protocol"].iloc[0]["split"] == "test"
    model = bench.load(runs["run"].iloc[0][:12])
    assert isinstance(model, Generates)
    images = model.sample(3)
    assert images.shape == (3, 1, 28, 28)
    folder = inside.store / "artifacts" / "smoke" / runs["run"].iloc[0] / "artifacts"
    ours, theirs = bench.load(folder).state_dict(), bench.load(runs["run"].iloc[0]).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    with pytest.raises(StudyError, match="trials of other settings are left out"):
        bench.report("smoke")


def test_nothing_tracked_is_an_empty_table(inside: Paths) -> None:
    assert bench.table("smoke").empty
    assert bench.table("smoke", wide=True).empty
    assert bench.table("smoke_smoke").empty
    with pytest.raises(StudyError, match=r"no study 'smok' \(did you mean 'smoke'\?\)"):
        bench.table("smok")


@pytest.mark.parametrize("named", ["digits", Path("digits")])
def test_one_data_set_may_be_named_without_a_list(named: str | Path, inside: Paths) -> None:
    bench.run("smoke", datasets=named, seeds=1, smoke=True)
    assert set(bench.table("smoke_smoke")["dataset"]) == {"digits"}


def test_a_failed_trial_is_a_row_and_a_logged_line(inside: Paths, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"optimizer": "sgd", "learning_rate": 1e18, "latent_dim": 2, "epochs": 9}
    summary = bench.run("smoke", seeds=1, settings=settings)
    assert list(summary["finished"]) == [0]
    assert list(summary["total"]) == [1]
    assert "diverged" in caplog.text


def test_what_is_wrong_is_an_error_with_one_line(inside: Paths) -> None:
    with pytest.raises(StudyError, match="no study 'nope'"):
        bench.run("nope")
    with pytest.raises(StudyError, match="no setting of vae 'latent'"):
        bench.run("smoke", settings={"latent": 2})


def test_settings_are_written_as_the_command_line_takes_them() -> None:
    settings = {
        "epochs": 5,
        "depth": "deep",
        "hidden_dims": [512, 256],
        "flip": True,
        "critic": {"learning_rate": 1e-4},
    }
    words = set_words(settings)
    assert [parse_setting(word) for word in words] == [
        ("epochs", 5),
        ("depth", "deep"),
        ("hidden_dims", [512, 256]),
        ("flip", True),
        ("critic.learning_rate", 1e-4),
    ]
    assert not any("\n" in word for word in words)


def test_the_notebook_runs_from_its_first_cell_to_its_last(inside: Paths) -> None:
    assert not any(cell.get("outputs") for cell in NOTEBOOK["cells"]), "a notebook is committed without its outputs"
    names: dict[str, Any] = {}
    for source in CODE:
        exec(source, names)
    assert list(names["summary"]["finished"]) == [1] * len(names["summary"])
    assert names["images"].shape == (16, 1, 28, 28)


def test_a_script_needs_no_guard(inside: Paths) -> None:
    """Where processes are started afresh, each would run a script without ``if __name__ == "__main__"`` again."""
    script = inside.studies.parent / "script.py"
    script.write_text("import bench\nprint(bench.run('smoke', seeds=1, settings={'epochs': 1})['finished'].sum())\n")
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, script], cwd=script.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "2\n", done.stderr
    assert done.returncode == 0


def test_what_other_code_trained_is_told_and_trained_again_where_that_is_asked(inside: Paths) -> None:
    """A user who mends a model and runs the study again must not take the old numbers for the new ones."""
    file = inside.studies.parent / "models" / "mine.py"
    file.parent.mkdir()
    file.write_text((Path(api.__file__).parent / "templates" / "model.py").read_text())
    study = inside.study("smoke").read_text().replace('"vae"', '"mine"').replace("hidden_dims = [16]", "")
    inside.study("smoke").write_text(study)

    def run(*options: str) -> Result:
        done = CliRunner().invoke(main, ["run", "study", "smoke", "--seeds", "1", *options])
        assert done.exit_code == 0, done.output
        return done

    assert "code" not in run().stderr
    file.write_text(file.read_text().replace('"""Descend', '# Not to be noticed.\n        """Go down'))
    assert "code" not in run("--dry-run").stdout
    file.write_text(file.read_text().replace('update("autoencoder", loss)', 'update("autoencoder", 2 * loss)'))
    assert run("--dry-run").stdout.startswith(
        "smoke: 2 trials, 2 finished already, 2 of them with other code, nothing to train"
    )
    told = (
        "trained with other code of mine than there is now: 2 of the finished trials; to train what has changed again: "
    )
    assert told + "--rerun-changed" in run().stderr.splitlines()
    assert run("--rerun-changed", "--set", "latent_dim=2").stdout.startswith("smoke: 1 trials, 1 to train")
    assert run("--rerun-changed", "--dry-run").stdout.startswith("smoke: 2 trials, 1 finished already, 1 to train")
    mixed = "runs of mine on digits were trained with 2 versions of its code, and may differ by that"
    assert mixed in run().stdout
    assert mixed in bench.report("smoke").read_text()
    assert run("--rerun-changed").stdout.startswith("smoke: 2 trials, 1 finished already, 1 to train")
    done = run("--rerun-changed")
    assert done.stdout.startswith("smoke: 2 trials, 2 finished already, nothing to train")
    assert "code" not in done.stdout + done.stderr


def test_old_code_is_not_borrowed_from_another_study_and_new_code_is(inside: Paths) -> None:
    file = inside.studies.parent / "models" / "mine.py"
    file.parent.mkdir()
    file.write_text((Path(api.__file__).parent / "templates" / "model.py").read_text())
    study = inside.study("smoke").read_text().replace('"vae"', '"mine"').replace("hidden_dims = [16]", "")
    for name in ("one", "two"):
        inside.study(name).write_text(study)

    def run(name: str, *options: str) -> Result:
        done = CliRunner().invoke(main, ["run", "study", name, "--seeds", "1", "--set", "latent_dim=2", *options])
        assert done.exit_code == 0, done.output
        return done

    run("one")
    file.write_text(file.read_text().replace('update("autoencoder", loss)', 'update("autoencoder", 2 * loss)'))
    assert run("two", "--rerun-changed").stdout.startswith("two: 1 trials, 1 to train\n")
    assert set(bench.table("two", wide=True)["trained_in"]) == {""}
    borrowed = run("one", "--rerun-changed")
    assert borrowed.stdout.startswith("one: 1 trials, 1 finished already (1 in study two), nothing to train\n")
    assert "code" not in borrowed.stderr
    assert set(bench.table("one", wide=True)["trained_in"]) == {"two"}


def test_a_guest_is_remembered_with_its_runs_and_printed_in_their_report(inside: Paths) -> None:
    home = inside.studies.parent
    for kind, name in (("models", "mine"), ("metrics", "shade")):
        (home / kind).mkdir()
        (home / kind / f"{name}.py").write_text(
            (Path(api.__file__).parent / "templates" / f"{kind[:-1]}.py").read_text()
        )
    study = inside.study("smoke").read_text().replace('"vae"', '"mine"').replace("hidden_dims = [16]", "")
    inside.study("smoke").write_text(study.replace('"reconstruction_mse"', '"brightness"'))
    summary = bench.run("smoke", seeds=1)
    assert summary["brightness_mean"].notna().all()
    digests = {kind: hashlib.sha256((home / kind / name).read_bytes()).hexdigest() for kind, name in OWN.items()}
    runs = bench.table("smoke", wide=True)
    assert set(runs["guests"]) == {json.dumps({"models/mine.py": digests["models"]})}
    values = bench.table("smoke")
    protocol = values[values["metric"] == "brightness"]["protocol"].iloc[0]
    assert protocol["measured by"] == f"metrics/shade.py, sha256 {digests['metrics'][:12]}"
    page = bench.report("smoke").read_text()
    assert f"* of the user's own: models/mine.py, sha256 {digests['models'][:12]}\n" in page
    assert f"measured by metrics/shade.py, sha256 {digests['metrics'][:12]}" in page
