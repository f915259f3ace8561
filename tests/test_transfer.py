"""Runs carried from one store to another in a file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import bench
from bench.cli import main
from bench.files import sha256
from bench.paths import Paths
from bench.score import Score
from bench.study.definition import Trial
from bench.tracking import run_log
from bench.tracking.archive import Archive, ArchiveError
from bench.tracking.lookup import opened
from bench.tracking.run_files import put
from bench.tracking.run_log import write_applied, write_scores
from bench.tracking.thumbnails import thumbnail_of
from tests.conftest import SMOKE

FILE = "runs.zip"
Change = Callable[[dict[str, bytes]], None]


def command(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def place(folder: Path, empty_database: Path) -> Path:
    (folder / "studies").mkdir(parents=True)
    (folder / "studies" / "smoke.toml").write_text(SMOKE)
    (folder / "mlruns").mkdir()
    shutil.copy(empty_database, folder / "mlruns" / "mlflow.db")
    return folder


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> Path:
    """A folder in which half of the study has been run and exported."""
    folder = place(tmp_path_factory.mktemp("elsewhere") / "there", empty_database)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        bench.run("smoke", seeds=1)
        result = command("export", "smoke", FILE, "--origin", "the attic")
    assert result.output.startswith(f"2 runs: {FILE} (")
    return folder


def rewritten(source: Path, target: Path, change: Change, *, honest: bool = True) -> Path:
    """The file with its members changed, and where ``honest`` its checksums made right again."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if honest:
        sums = {name: hashlib.sha256(content).hexdigest() for name, content in members.items() if name != "SHA256SUMS"}
        members["SHA256SUMS"] = "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def of_runs(**changes: Any) -> Change:
    """Change fields of every run."""

    def change(members: dict[str, bytes]) -> None:
        for name in members:
            if name.endswith("/run.json"):
                members[name] = json.dumps({**json.loads(members[name]), **changes}).encode()

    return change


def test_a_study_finished_in_two_places_reports_as_one_that_ran_in_one(
    inside: Paths, elsewhere: Path, tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> None:
    assert "smoke: 2 runs taken in, 0 known already" in command("import", str(elsewhere / FILE)).output
    assert "smoke: 4 trials, 2 finished already, 2 to train" in command("run", "study", "smoke", "--dry-run").output
    here = bench.run("smoke")
    at_once = bench.run("smoke", folder=place(tmp_path_factory.mktemp("one") / "place", empty_database))
    costs = [name for name in map(str, here) if "second" in name or "megabytes" in name]
    pd.testing.assert_frame_equal(here.drop(columns=costs), at_once.drop(columns=costs))
    bench.report("smoke")
    page = (inside.store / "reports" / "smoke" / "README.md").read_text()
    assert "* imported: 2 from the attic\n" in page
    assert "bench run study smoke --seeds 1\n" in page


def test_a_run_arrives_whole(inside: Paths, elsewhere: Path) -> None:
    command("import", str(elsewhere / FILE))
    stores = [opened(folder / "mlruns", None, "smoke") for folder in (elsewhere, inside.studies.parent)]
    there, here = ({run.tags["key"]: run for run in store.chosen()} for store in stores)
    assert there.keys() == here.keys()
    for key, run in there.items():
        other = here[key]
        assert {**run.tags, "origin": "the attic"} == other.tags
        assert run.params == other.params
        assert run.metrics == other.metrics
        assert (run.started, run.ended) == (other.started, other.ended)
        assert (run.name, run.status) == (other.name, other.status)
        assert run.data == other.data
        inputs = [store.client.get_run(each.run_id).inputs for store, each in zip(stores, (run, other), strict=True)]
        assert inputs[0] is not None
        assert inputs[1] is not None
        assert inputs[0].to_dictionary() == inputs[1].to_dictionary()
        files = []
        for store, each in zip(stores, (run, other), strict=True):
            folder = store.artifacts(each.run_id)
            found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
            files.append({name: path.read_bytes() for name, path in found.items()})
        assert files[0] == files[1]
        assert Path("model.safetensors") in files[0]
    key = next(iter(here))
    assert "10 rows" in command("apply", "generate", key, "--set", "count=10").output


def test_pictures_that_came_without_thumbnails_get_them(inside: Paths, elsewhere: Path, tmp_path: Path) -> None:
    """A published file holds the pictures alone, and MLflow's UI lays out their thumbnails; what is no picture has none."""

    def published(members: dict[str, bytes]) -> None:
        for name in [name for name in members if name.endswith("compressed.webp")]:
            del members[name]
        start = next(name for name in members if "/artifacts/images/" in name).rpartition("/")[0]
        header = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (2**20).to_bytes(4, "big") * 2
        for name, content in {"empty": b"", "text": b"none" * 9, "cut": header[:20], "endless": header}.items():
            members[f"{start}/{name}.png"] = content
        members[f"{start}/folder.png/file"] = b""

    file = rewritten(elsewhere / FILE, tmp_path / "published.zip", published)
    result = command("import", str(file))
    assert "smoke: 2 runs taken in" in result.output
    there, here = (
        {run.tags["key"]: store.artifacts(run.run_id) for run in store.chosen()}
        for store in (opened(elsewhere / "mlruns", None, "smoke"), opened(inside.store, None, "smoke"))
    )
    for key, folder in there.items():
        drawn = {each.name: each.read_bytes() for each in (folder / "images").glob("*.webp")}
        assert drawn
        assert {each.name: each.read_bytes() for each in (here[key] / "images").glob("*.webp")} == drawn
        for each in (here[key] / "images").glob("*.webp"):  # as an earlier version took them in
            each.unlink()
    assert command("report", "smoke").exit_code == 0  # which has the UI show what the runs are for
    assert all(list((folder / "images").glob("*.webp")) for folder in here.values())


def test_a_file_is_taken_in_once_and_handed_on(inside: Paths, elsewhere: Path) -> None:
    command("import", str(elsewhere / FILE))
    assert "smoke: 0 runs taken in, 2 known already" in command("import", str(elsewhere / FILE)).output
    assert command("export", "smoke", "again.zip", "--origin", "the cellar").exit_code == 0
    with Archive(Path("again.zip")) as archive:
        assert {archive.run(run).origin for runs in archive.studies().values() for run in runs} == {"the attic"}
    assert not list(Path().glob(".*partial"))


def test_a_run_that_two_studies_have_travels_under_both_and_is_one_again(
    inside: Paths, tmp_path_factory: pytest.TempPathFactory, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (inside.studies / "twin.toml").write_text(SMOKE)
    there = bench.run("smoke", seeds=1)
    bench.run("twin", seeds=1)
    assert command("export", "twin", "smoke", FILE).output.startswith("4 runs: ")
    other = place(tmp_path_factory.mktemp("other") / "place", empty_database)
    (other / "studies" / "twin.toml").write_text(SMOKE)
    monkeypatch.chdir(other)
    output = command("import", str(inside.studies.parent / FILE)).output
    assert "smoke: 2 runs taken in" in output
    assert "twin: 2 runs taken in" in output
    for study in ("smoke", "twin"):
        assert list(bench.table(study, wide=True)["metric.test_loss"].sort_values()) == sorted(there["test_loss_mean"])
        assert "2 finished already, nothing to train" in command("run", "study", study, "--seeds", "1").output
    assert len(list((other / "mlruns").rglob("model.safetensors"))) == 2


def test_what_another_study_of_the_store_has_not_measured_comes_with_the_file(
    inside: Paths, elsewhere: Path, tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> None:
    """Both train the same trials; the twin's file has a measure of them that the study of this store never took."""
    (inside.studies / "twin.toml").write_text(SMOKE)
    command("import", str(elsewhere / FILE))
    command("run", "study", "twin", "--seeds", "1")
    store = opened(inside.store, None, "twin")
    for run in store.chosen():
        write_scores(store, run, {"ssim": Score(0.5, "", {"split": "test"})})
    command("export", "twin", "twin.zip")
    other = place(tmp_path_factory.mktemp("other") / "place", empty_database)
    (other / "studies" / "twin.toml").write_text(SMOKE)
    file = Path("twin.zip").resolve()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(other)
        command("import", str(elsewhere / FILE))
        assert command("import", str(file)).output.count("ssim added") == 2
        for study in ("smoke", "twin"):
            assert list(bench.table(study).query("metric == 'ssim'")["value"]) == [0.5, 0.5]


def test_a_run_that_comes_in_another_study_s_file_is_called_and_told_of_by_its_own(
    inside: Paths, tmp_path_factory: pytest.TempPathFactory, empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The twin borrows a run under another variant's name; where its file is taken in first, the run lies with the twin."""
    twin = SMOKE.replace("hidden_dims = [16]", "latent_dim = 2").replace("latent_dim = [2, 3]", "hidden_dims = [[16]]")
    (inside.studies / "twin.toml").write_text(twin)
    bench.run("smoke", seeds=1)
    bench.run("twin", seeds=1)
    command("export", "twin", FILE)
    command("export", "smoke", "own.zip")

    def older(members: dict[str, bytes]) -> None:  # which wrote the name that the run has in the study that trained it
        of_runs(name="latent_dim=2, seed 0, digits")(members)

    file = rewritten(Path(FILE), Path("older.zip"), older).resolve()
    other = place(tmp_path_factory.mktemp("other") / "place", empty_database)
    (other / "studies" / "twin.toml").write_text(twin)
    monkeypatch.chdir(other)
    command("import", str(file))
    command("import", str(inside.studies.parent / "own.zip"))
    own, borrowed = (opened(Path("mlruns"), None, study) for study in ("smoke", "twin"))
    (run,) = borrowed.chosen()
    assert run.name == "hidden_dims=16, seed 0, digits"
    notes = [each.tags["mlflow.note.content"] for each in own.reader.runs([str(own.experiment_id)])]
    (told,) = (note for note in notes if "copy" in note)
    where = f"it lies in the study twin, in its run {run.run_id}. What stands here is a copy."
    assert told.endswith(f"Trained in the study smoke; {where}")
    assert list(bench.table("smoke", wide=True)["trained_in"]) == ["", ""]
    assert list(bench.table("twin", wide=True)["trained_in"]) == ["smoke"]
    assert command("export", "twin", "smoke", "again.zip").output.startswith("3 runs: ")
    with Archive(Path("again.zip")) as archive:
        assert {study: len(ids) for study, ids in archive.studies().items()} == {"smoke": 2, "twin": 1}


def test_a_run_that_failed_is_told_of_and_begins_anew(inside: Paths, elsewhere: Path) -> None:
    """Its epochs of another machine and those of this one would be one curve."""
    command("import", str(elsewhere / FILE))
    store = opened(inside.store, None, "smoke")
    failed, cut = (run.run_id for run in store.chosen())
    for run_id, state in ((failed, "failed"), (cut, "interrupted")):
        store.client.set_tag(run_id, "state", state)
        store.client.set_terminated(run_id, {"failed": "FAILED"}.get(state, "KILLED"))
    assert command("export", "smoke", "again.zip").output.startswith("1 runs: ")
    with Archive(Path("again.zip")) as archive:
        (run,) = (archive.run(run_id) for run_id in archive.studies()["smoke"])
    assert (run.tags["state"], run.metrics) == ("failed", {})


def test_what_was_measured_elsewhere_is_added_and_other_values_are_shown(inside: Paths, elsewhere: Path) -> None:
    command("import", str(elsewhere / FILE))
    store = opened(inside.store, None, "smoke")
    for run in store.chosen():
        write_scores(store, run, {"ssim": Score(0.5, "", {"split": "test"})})
    command("export", "smoke", "measured.zip")
    for run in store.chosen():
        write_scores(store, run, {"ssim": Score(None, "no time")})
    result = command("import", "measured.zip")
    assert result.exit_code == 0
    assert result.output.count("ssim added") == 2
    values = bench.table("smoke").query("metric == 'ssim'")
    assert list(values["value"]) == [0.5, 0.5]
    assert list(values["reason"]) == ["", ""]
    for run in store.chosen():
        write_scores(store, run, {"test_loss": Score(1.25, "")})
    result = command("import", "measured.zip")
    assert result.exit_code == 1
    assert result.output.count("test_loss is 1.25 here and 5") == 2
    assert result.output.count("the run here is kept") == 2


def test_without_weights_a_file_is_smaller_and_its_runs_still_stand_in_reports(inside: Paths, elsewhere: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        command("export", "smoke", "light.zip", "--weights", "none")
    light = elsewhere / "light.zip"
    assert light.stat().st_size < (elsewhere / FILE).stat().st_size
    command("import", str(light))
    assert command("report", "smoke").exit_code == 0
    result = command("apply", "generate", str(bench.table("smoke", wide=True)["key"].iloc[0]))
    assert result.exit_code == 2
    assert "without its weights" in result.output


def test_what_a_model_was_put_to_elsewhere_is_added(inside: Paths, elsewhere: Path) -> None:
    command("import", str(elsewhere / FILE))
    store = opened(inside.store, None, "smoke")
    path, picture = "final/applied_generate.png", b"a picture"
    for run in store.chosen():
        write_applied(store, run, {"generate": "", "classify": "VAE does not classify", "mine": ""}, {path: picture})
    command("export", "smoke", "applied.zip")
    for run in store.chosen():
        store.remove(run.run_id)
    command("import", str(elsewhere / FILE))
    before = {key: record.files for key, record in store.records().items()}
    assert command("import", "applied.zip").output.count("classify, generate added") == 2
    for key, record in store.records().items():
        assert record.applied == {"generate": "", "classify": "VAE does not classify"}
        assert record.files == {**before[key], path: sha256(picture)}
        assert store.artifact(record.run_id, path).read_bytes() == picture
    assert "added" not in command("import", "applied.zip").output


def test_models_in_half_precision_are_used_and_measured_and_that_is_told(inside: Paths, elsewhere: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        command("export", "smoke", "half.zip", "--weights", "half")
    half = elsewhere / "half.zip"
    assert half.stat().st_size < (elsewhere / FILE).stat().st_size
    command("import", str(half))
    before = bench.table("smoke", wide=True)
    assert "10 rows" in command("apply", "generate", str(before["key"].iloc[0]), "--set", "count=10").output
    assert "sound" in command("doctor").output
    assert command("run", "study", "smoke", "--seeds", "1", "--remeasure").exit_code == 0
    after = bench.table("smoke", wide=True)
    assert list(after["metric.test_loss"]) == pytest.approx(list(before["metric.test_loss"]), rel=1e-4)
    assert list(after["metric.test_loss"]) != list(before["metric.test_loss"])
    facts = [[json.loads(text).get("weights_in") for text in rows["protocol.test_loss"]] for rows in (before, after)]
    assert facts == [[None, None], ["float16", "float16"]]
    command("report", "smoke")
    assert "of weights that were kept in float16" in (inside.store / "reports" / "smoke" / "README.md").read_text()


def partly(elsewhere: Path, weights: str) -> Path:
    """The runs in a file with their weights so."""
    file = elsewhere / f"{weights}.zip"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(elsewhere)
        command("export", "smoke", file.name, "--weights", weights)
    return file


@pytest.mark.parametrize(("weights", "other"), [("full", "half"), ("half", "full")])
def test_weights_that_a_run_came_without_come_with_a_later_file(
    weights: str, other: str, inside: Paths, elsewhere: Path
) -> None:
    command("import", str(partly(elsewhere, "none")))
    output = command("import", str(partly(elsewhere, weights))).output
    assert "smoke: 0 runs taken in, 2 known already" in output
    assert output.count("model.safetensors added\n") == 2
    with Archive(partly(elsewhere, weights)) as archive:
        there = {run.key: json.loads(run.tags["files"]) for run in map(archive.run, archive.studies()["smoke"])}
    store = opened(inside.store, None, "smoke")
    for file in (weights, other):  # a run that has weights keeps its own
        assert "added" not in command("import", str(partly(elsewhere, file))).output
        for key, record in store.records().items():
            assert record.files == there[key]
            for name, digest in record.files.items():
                assert sha256(store.artifact(record.run_id, name).read_bytes()) == digest
    assert "sound" in command("doctor").output
    key = str(bench.table("smoke", wide=True)["key"].iloc[0])
    assert "10 rows" in command("apply", "generate", key, "--set", "count=10").output


@pytest.mark.parametrize("name", ["trial.toml", "model.safetensors"])
@pytest.mark.parametrize("after", ["half", "full"])
def test_what_was_cut_off_between_two_of_its_files_is_completed(
    name: str, after: str, inside: Paths, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(run_id: str, address: str, path: str, *rest: Any) -> None:
        if path == name:
            raise KeyboardInterrupt
        put(run_id, address, path, *rest)

    command("import", str(partly(elsewhere, "none")))
    with monkeypatch.context() as patch:
        patch.setattr(run_log, "put", cut)
        with pytest.raises(click.Abort):
            main(["import", str(partly(elsewhere, "half"))], standalone_mode=False)
    assert command("import", str(partly(elsewhere, after))).output.count("model.safetensors added\n") == 2
    assert "sound" in command("doctor").output
    key = str(bench.table("smoke", wide=True)["key"].iloc[0])
    assert "10 rows" in command("apply", "generate", key, "--set", "count=10").output


def test_a_run_that_was_trained_here_too_takes_what_it_lacks_and_no_picture_twice(
    inside: Paths, elsewhere: Path
) -> None:
    """Each of the two calls a picture of an epoch otherwise."""
    bench.run("smoke", seeds=1)
    store = opened(inside.store, None, "smoke")
    run = store.chosen()[0]
    folder = store.artifacts(run.run_id)
    whole = sorted(file for file in folder.rglob("*") if file.is_file())
    assert "added" not in command("import", str(elsewhere / FILE)).output
    samples = Path(store.drawn(run.run_id)["images/samples", 1])
    for lost in (Path("model.safetensors"), Path("final/samples.png"), samples):
        (folder / lost).unlink()
    (folder / thumbnail_of(samples.as_posix())).unlink()
    output = command("import", str(elsewhere / FILE)).output
    assert output.endswith(f"  {run.name}: model.safetensors, 2 pictures added\n")
    now = sorted(file for file in folder.rglob("*") if file.is_file())
    assert len(now) == len(whole)
    assert len(set(whole) - set(now)) == 2
    assert store.drawn(run.run_id).keys() >= {("images/samples", 0), ("images/samples", 1)}
    assert "sound" in command("doctor").output


def test_weights_that_were_damaged_where_they_were_exported_are_not_taken(
    inside: Paths, elsewhere: Path, tmp_path: Path
) -> None:
    def damaged(members: dict[str, bytes]) -> None:
        for name in members:
            if name.endswith("/model.safetensors"):
                members[name] = members[name][:-1] + b"x"

    command("import", str(partly(elsewhere, "none")))
    file = rewritten(elsewhere / FILE, tmp_path / "damaged.zip", damaged)
    assert "added" not in command("import", str(file)).output
    assert not list(inside.store.rglob("model.safetensors"))


def test_what_was_cut_off_while_it_was_taken_in_is_taken_in_again(
    inside: Paths, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(self: Archive, *_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Archive, "unpack", cut)
        with pytest.raises(click.Abort):
            main(["import", str(elsewhere / FILE)], standalone_mode=False)
    assert opened(inside.store, None, "smoke").unfinished_imports()
    assert "smoke: 2 runs taken in" in command("import", str(elsewhere / FILE)).output
    assert opened(inside.store, None, "smoke").unfinished_imports() == []
    assert len(list((inside.store / "artifacts" / "smoke").iterdir())) == 2


def _without_sums(members: dict[str, bytes]) -> None:
    del members["SHA256SUMS"]


def _outside(members: dict[str, bytes]) -> None:
    run = next(name for name in members if name.endswith("/run.json")).removesuffix("run.json")
    members[f"{run}artifacts/../../../../evil.txt"] = b"out"


def _newer(members: dict[str, bytes]) -> None:
    members["export.json"] = json.dumps({**json.loads(members["export.json"]), "format": 2}).encode()


def _deep(members: dict[str, bytes]) -> None:
    members["export.json"] = b"[" * 100_000


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_without_sums, "no SHA256SUMS in it"),
        (_newer, "it has format 2, and this is bench"),
        (_deep, "it is not what bench export writes (RecursionError"),
        (_outside, "is no name for a file of a run"),
        (of_runs(study="../../x"), "'../../x' is no name for a study"),
        (of_runs(metrics={"final/test_loss": [["one", 2]]}), "it is not what bench export writes"),
        (of_runs(tags={}), "it is not what bench export writes (KeyError"),
        (of_runs(run_id="other"), "it says that it is run 'other'"),
        (of_runs(surplus=1), "fields 'surplus' are missing or none of a run's"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_file_that_is_not_what_it_says_is_one_line_and_changes_nothing(
    change: Change, message: str, inside: Paths, elsewhere: Path, tmp_path: Path
) -> None:
    honest = change is not _without_sums
    file = rewritten(elsewhere / FILE, tmp_path / "changed.zip", change, honest=honest)
    result = command("import", str(file))
    assert result.exit_code == 2
    assert message in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert bench.table("smoke").empty
    assert not list(tmp_path.rglob("evil.txt"))


@pytest.mark.parametrize(
    ("ending", "count", "told"), [("model.safetensors", 2, " and 1 more, which"), ("trial.toml", 1, ", which")]
)
def test_a_file_that_lacks_what_its_checksums_list_is_refused_with_all_of_its_runs(
    ending: str, count: int, told: str, inside: Paths, elsewhere: Path, tmp_path: Path
) -> None:
    gone: list[str] = []

    def change(members: dict[str, bytes]) -> None:
        gone.extend([name for name in members if name.endswith(f"/{ending}")][:count])
        for name in gone:
            del members[name]

    file = rewritten(elsewhere / FILE, tmp_path / "cut.zip", change, honest=False)
    result = command("import", str(file))
    assert result.exit_code == 2
    line = f"{file}: it lacks {gone[0]!r}{told} its SHA256SUMS lists: get it again as bench export wrote it"
    assert result.output == f"Error: {line}\n"
    assert bench.table("smoke").empty


@pytest.mark.parametrize("weights", ["full", "half", "none"])
def test_the_checksums_of_a_file_are_of_what_it_holds(weights: str, elsewhere: Path) -> None:
    with zipfile.ZipFile(partly(elsewhere, weights)) as archive:
        lines = archive.read("SHA256SUMS").decode().splitlines()
        assert {line[66:] for line in lines} == set(archive.namelist()) - {"SHA256SUMS"}


def test_a_trial_under_the_key_of_another_is_refused(inside: Paths, elsewhere: Path, tmp_path: Path) -> None:
    def change(members: dict[str, bytes]) -> None:
        for name in members:
            if name.endswith("/run.json"):
                run = json.loads(members[name])
                run["tags"]["trial"] = run["tags"]["trial"].replace('"seed": 0', '"seed": 1')
                members[name] = json.dumps(run).encode()

    file = rewritten(elsewhere / FILE, tmp_path / "changed.zip", change)
    result = command("import", str(file))
    assert result.exit_code == 2
    assert "its trial has key" in result.output


def _no_epochs(run: dict[str, Any], trial: dict[str, Any]) -> None:
    del trial["settings"]["training"]["epochs"]


def _seed_of_words(run: dict[str, Any], trial: dict[str, Any]) -> None:
    trial["seed"] = "zero"


def _unknown_status(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["status"] = "GLORIOUS"


def _versions_of_lists(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["versions"] = json.dumps({"torch": [2]})


def _other_study(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["study"] = "other"


def _refers(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["refers to"] = "0" * 32


def _names_no_tag_can_have(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["../x"] = "y"


def _names_no_metric_can_have(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["metrics"]["a\nb"] = [[0, 1.0, 1]]


def _digests_in_a_list(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["files"] = "[1]"


def _application_that_leads_elsewhere(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["applied"] = json.dumps({"x/../../../evil": ""})


def _applications_in_a_list(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["applied"] = "[1]"


def _protocol_of_lists(run: dict[str, Any], trial: dict[str, Any]) -> None:
    run["tags"]["protocol.test_loss"] = '{"split": ["test"]}'


def _endless_trial(run: dict[str, Any], trial: dict[str, Any]) -> None:
    trial["variant"] = "x" * 9000
    run["tags"]["variant"] = "x" * 9000


@pytest.mark.parametrize(
    "change",
    [
        _refers,
        _names_no_tag_can_have,
        _names_no_metric_can_have,
        _digests_in_a_list,
        _application_that_leads_elsewhere,
        _applications_in_a_list,
        _protocol_of_lists,
        _endless_trial,
        _no_epochs,
        _seed_of_words,
        _unknown_status,
        _versions_of_lists,
        _other_study,
    ],
    ids=lambda each: each.__name__,
)
def test_a_run_that_no_report_could_read_is_refused_with_all_of_its_file(
    change: Callable[[dict[str, Any], dict[str, Any]], None], inside: Paths, elsewhere: Path, tmp_path: Path
) -> None:
    def changed(members: dict[str, bytes]) -> None:
        name = max(name for name in members if name.endswith("/run.json"))
        run = json.loads(members[name])
        trial = json.loads(run["tags"]["trial"])
        change(run, trial)
        now = Trial.from_dict(trial)
        run["tags"] |= {"trial": json.dumps(trial), "key": now.key, "configuration": now.configuration}
        members[name] = json.dumps(run).encode()

    file = rewritten(elsewhere / FILE, tmp_path / "changed.zip", changed)
    result = command("import", str(file))
    assert result.exit_code == 2
    assert "it is not what bench export writes (" in result.output
    assert str(file) in result.output
    assert len(result.output.strip().splitlines()) == 1
    assert bench.table("smoke").empty


@pytest.mark.parametrize("where", [0.1, 0.5, 0.9])
def test_a_damaged_file_is_one_line_and_changes_nothing(
    where: float, inside: Paths, elsewhere: Path, tmp_path: Path
) -> None:
    content = bytearray((elsewhere / FILE).read_bytes())
    content[int(where * len(content))] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(content)
    for file in (tmp_path / "damaged.zip", tmp_path / "absent.zip", inside.study("smoke")):
        result = command("import", str(file))
        assert result.exit_code == 2
        assert str(file) in result.output
        assert "Errno" not in result.output
        assert len(result.output.strip().splitlines()) == 1
    assert bench.table("smoke").empty
    with pytest.raises(ArchiveError, match=r"damaged\.zip: "), Archive(tmp_path / "damaged.zip") as archive:
        archive.studies()


def test_what_cannot_be_exported_is_one_line(inside: Paths) -> None:
    result = command("export", "smoke", FILE)
    assert (result.exit_code, result.output) == (2, f"Error: no run of a study 'smoke' in {inside.store}\n")
    assert command("export", FILE).exit_code == 2


def test_what_a_member_unpacks_to_is_never_in_memory_whole(elsewhere: Path, tmp_path: Path) -> None:
    """64 MiB of zeros, which take 64 KiB packed: as a picture of a run, and behind a size that is not true."""

    def larger(members: dict[str, bytes]) -> None:
        run = next(name for name in members if name.endswith("/run.json")).removesuffix("run.json")
        members[f"{run}artifacts/zeros.png"] = bytes(2**26)

    file = rewritten(elsewhere / FILE, tmp_path / "larger.zip", larger)
    with (
        zipfile.ZipFile(file) as archive,
        zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in archive.namelist():
            packed.writestr(name, archive.read(name))
    tracemalloc.start()
    with Archive(tmp_path / "packed.zip") as opened_file:
        for run_id in (each for ids in opened_file.studies().values() for each in ids):
            opened_file.unpack(opened_file.run(run_id), tmp_path / run_id)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**24
    assert [each.stat().st_size for each in tmp_path.rglob("zeros.png")] == [2**26]


def test_a_pipe_is_no_file_of_runs(inside: Paths, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.zip")
    result = command("import", str(tmp_path / "pipe.zip"))
    assert result.exit_code == 2
    assert result.output == f"Error: {tmp_path / 'pipe.zip'}: it is no file\n"
