"""The tracked runs on the command line: listed, named, compared, and what a finished run says to do next."""

from __future__ import annotations

import io
import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from bench import comparison
from bench.cli import main
from bench.cli.runs import _of_one
from bench.comparison import Compared, ahead, alike, sheet
from bench.images import WIDTH, png
from bench.paths import Paths
from bench.score import Metric, Score
from bench.tracking.database import settle
from bench.tracking.errors import StoreError
from bench.tracking.glance import Glimpse, glance
from bench.tracking.store import Store
from bench.tracking.words import title
from tests.conftest import SMOKE


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, empty_database: Path) -> tuple[Path, str]:
    """A folder in which the small study was run, with two seeds, and what that printed."""
    home = tmp_path_factory.mktemp("tracked")
    (home / "studies").mkdir()
    (home / "studies" / "smoke.toml").write_text(SMOKE)
    (home / "mlruns").mkdir()
    shutil.copy(empty_database, home / "mlruns" / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for name in ("MLFLOW_TRACKING_URI", "BENCH_DATA_DIR"):
            patch.delenv(name, raising=False)
        result = bench("run", "study", "smoke", "--workers", "2")
    assert result.exit_code == 0, result.output
    return home, result.output


@pytest.fixture
def paths(folder: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Paths:
    """Inside that folder, which no test changes."""
    monkeypatch.chdir(folder[0])
    for name in ("MLFLOW_TRACKING_URI", "BENCH_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return Paths.find(folder[0], environment={})


@pytest.fixture
def runs(paths: Paths) -> list[Glimpse]:
    """The runs, the narrower variant first, by seed."""
    found = glance(paths.store, None)
    return sorted(found, key=lambda run: (run.trial.variant, run.trial.seed))


class TestGlance:
    def test_it_tells_what_mlflow_does(self, paths: Paths, runs: list[Glimpse]) -> None:
        store = Store(paths.store, None, "smoke", "", create=False)
        records = {record.run_id: record for record in store.records().values()}
        assert len(runs) == len(records) == 4
        for run in runs:
            record = records[run.run_id]
            assert (run.study, run.trial, run.key, run.state) == ("smoke", record.trial, record.trial.key, "finished")
            assert run.started == record.started
            assert run.scores == {name: score.value for name, score in record.scores.items()}
            assert run.holder == run.run_id

    def test_it_asks_a_server_as_it_reads_a_file(self, paths: Paths, runs: list[Glimpse]) -> None:
        uri = f"sqlite:///{paths.store}/mlflow.db"
        assert sorted(glance(paths.store, uri), key=lambda run: run.run_id) == sorted(runs, key=lambda run: run.run_id)
        assert glance(paths.store, uri, "nope") == []
        begin = runs[0].key[:6]
        assert glance(paths.store, uri, begin=begin) == glance(paths.store, None, begin=begin) == [runs[0]]

    def test_it_takes_no_more_than_it_is_asked_for(self, paths: Paths, runs: list[Glimpse]) -> None:
        newest = max(runs, key=lambda run: run.started)
        assert glance(paths.store, None, most=1)[0].started == newest.started
        assert glance(paths.store, None, "nope") == []
        assert glance(paths.store, None, begin=runs[1].run_id[:12]) == [runs[1]]
        assert glance(paths.store, None, begin="%") == []

    def test_a_store_that_was_moved_is_read_as_it_is(
        self, paths: Paths, runs: list[Glimpse], tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        shutil.copytree(paths.store, tmp_path / "copy")
        settle(tmp_path / "copy")
        (tmp_path / "copy").rename(tmp_path / "moved")
        found = glance(tmp_path / "moved", None)  # the first to look at it
        assert sorted(found, key=lambda run: run.run_id) == sorted(runs, key=lambda run: run.run_id)
        assert not caplog.messages

    def test_what_cannot_be_read_is_left_out_or_a_line(self, paths: Paths, tmp_path: Path) -> None:
        assert glance(tmp_path, None) == []
        shutil.copy(paths.store / "mlflow.db", tmp_path)
        with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database, database:
            database.execute(
                "update tags set value = '{' where key = 'trial' and run_uuid = (select min(run_uuid) from runs)"
            )
        assert len(glance(tmp_path, None)) == 3
        (tmp_path / "mlflow.db").write_bytes(b"nothing of the kind" * 100)
        with pytest.raises(StoreError, match=r"mlflow\.db cannot be used: .*file is not a database"):
            glance(tmp_path, None)


class TestList:
    def test_a_study_s_runs_show_what_differs_and_what_they_share_once(self, paths: Paths, runs: list[Glimpse]) -> None:
        lines = bench("list", "runs", "smoke").output.splitlines()
        assert lines[0] == "smoke: 4 runs, all finished, of vae, on digits"
        assert lines[1].split() == ["run", "latent_dim", "seed", "test_loss", "started"]
        for line, run in zip(lines[2:], runs, strict=True):
            cells = [run.run_id[:8], run.trial.varied["latent_dim"], run.trial.seed, f"{run.scores['test_loss']:.4g}"]
            assert line.split()[:4] == list(map(str, cells))

    def test_all_runs_show_their_study_and_what_they_are(self, paths: Paths, runs: list[Glimpse]) -> None:
        output = bench("list", "runs").output
        for run in runs:
            words = rf"smoke +{run.trial.variant} +{run.trial.seed} +digits +finished  "
            assert re.search(rf"^  {run.run_id[:8]}  {words}", output, re.MULTILINE)

    def test_a_narrow_terminal_keeps_the_run_and_the_objective(
        self, paths: Paths, runs: list[Glimpse], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of 36 columns the age is the first to go; the objective was a column of one letter in 80."""
        monkeypatch.setattr("bench.cli.runs.terminal", lambda: 36)
        lines = bench("list", "runs", "smoke").output.splitlines()
        titles, rows = lines[2:4], lines[4:-1]
        assert [line.split() for line in titles] == [["latent_", "test_"], ["run", "dim", "seed", "loss"]]
        assert [row.split()[::3] for row in rows] == [[r.run_id[:8], f"{r.scores['test_loss']:.4g}"] for r in runs]
        assert lines[-1] == "  in a wider terminal also: started"
        assert max(map(len, lines)) <= 36

    def test_named_variants_come_before_the_settings_that_make_them(self, runs: list[Glimpse]) -> None:
        """Which are the first to go: settings that the data set tells already, then those that the variant does."""
        named = []
        for run, variant, dataset in zip(runs, ("wide", "wide", "thin", "thin"), ("digits", "mnist") * 2, strict=True):
            params = {**run.trial.settings["params"], "hidden_dims": [512 if variant == "wide" else 128]}
            training = {**run.trial.settings["training"], "epochs": 50 if dataset == "mnist" else 100}
            settings = {**run.trial.settings, "params": params, "training": training}
            trial = replace(run.trial, variant=variant, dataset=dataset, seed=0, settings=settings, varied={})
            named.append(replace(run, trial=trial))
        shown = [" ".join(_of_one(named, "test_loss", width)) for width in (None, 64, 54, 44)]
        left_out = ["", "started", "started, epochs", "started, epochs, hidden_dims"]
        assert [" ".join(text.partition("also: ")[2].split()) for text in shown] == left_out

    def test_what_is_not_tracked_is_a_line(self, paths: Paths, inside_nothing: None) -> None:
        assert "no run is tracked yet; begin with: bench run study latent_dim" in bench("list", "runs").output

    def test_the_nearest_study_is_told(self, paths: Paths) -> None:
        result = bench("list", "runs", "smoek")
        assert result.exit_code == 2
        assert "no tracked runs of study 'smoek' (did you mean 'smoke'?); there are: smoke" in result.output

    def test_only_runs_have_a_study(self, paths: Paths) -> None:
        result = bench("list", "models", "vae")
        assert result.exit_code == 2
        assert "bench list models takes no further word" in result.output


@pytest.fixture
def inside_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "studies").mkdir()
    monkeypatch.chdir(tmp_path)


class TestCompare:
    def test_settings_measures_and_pictures(self, paths: Paths, runs: list[Glimpse], tmp_path: Path) -> None:
        first, other = runs[0], runs[2]
        target = tmp_path / "pair.png"
        result = bench("compare", first.run_id[:8], other.key[:10], "--out", str(target))
        assert result.exit_code == 0, result.output
        lines = result.output.splitlines()
        assert next(line.split() for line in lines if line.startswith("  latent_dim ")) == ["latent_dim", "2", "3"]
        assert not any("hidden_dims" in line or "seed" in line for line in lines[3:6])
        row = next(line.split() for line in lines if "test_loss" in line)
        values = [first.scores["test_loss"], other.scores["test_loss"]]
        best = (first, other)[values.index(min(values))]
        assert row == ["test_loss", "↓", *(f"{value:.4g}" for value in values), best.run_id[:8]]
        assert "better" not in result.output
        assert "One run of each says nothing of its settings" in result.output
        assert "bench report smoke" in result.output
        assert lines[-1] == f"pictures: {target}"
        assert Image.open(io.BytesIO(target.read_bytes())).format == "PNG"

    def test_a_run_is_found_by_its_name_and_the_pictures_by_their_place(
        self, paths: Paths, runs: list[Glimpse]
    ) -> None:
        result = bench("compare", title(runs[0].trial), runs[1].trial.name)  # in words, and as earlier versions told it
        assert result.exit_code == 0, result.output
        assert "latent_dim=2, seed 0, digits, finished" in result.output
        assert "ld=002" not in result.output
        place = f"applied/compare-{runs[0].run_id[:8]}-{runs[1].run_id[:8]}.png"
        assert result.output.endswith(f"pictures: {place}\n")
        assert (Path.cwd() / place).is_file()
        shutil.rmtree("applied")

    def test_the_nearest_run_or_study_is_told(self, paths: Paths, runs: list[Glimpse]) -> None:
        run = runs[0]
        near = f"{run.run_id[:7]}x"
        for words in (
            ["compare", near, runs[1].run_id],
            ["apply", "generate", near],
            ["apply", "generate", f"{run.key}x"],
        ):
            result = bench(*words)
            assert result.exit_code == 2
            assert f"did you mean {run.run_id[:8]} (latent_dim=2, seed 0, digits)?" in result.output
        for words in (["ui", "smoek"], ["export", "smoek", "x.zip"]):
            assert "'smoek' (did you mean 'smoke'?); there are: smoke\n" in bench(*words).output

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["zzzz", "yyyy"], "no run 'zzzz': bench list runs shows those there are"),
            (["", ""], "no run ''"),
            (["{0}"], "name two runs or more"),
            (["{0}", "{0}"], "one run is named twice"),
        ],
    )
    def test_what_is_wrong_is_a_line(self, words: list[str], message: str, paths: Paths, runs: list[Glimpse]) -> None:
        result = bench("compare", *(word.format(runs[0].run_id[:8]) for word in words))
        assert result.exit_code == 2
        assert message in result.output
        assert "Traceback" not in result.output

    def test_what_several_answer_to_names_them(self, paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
        found = glance(paths.store, None)
        monkeypatch.setattr(comparison, "glance", lambda *_, **__: found)
        result = bench("compare", "a", "b")
        assert result.exit_code == 2
        assert "no run 'a': 4 trials answer to it: " in result.output

    def test_ahead_is_said_only_of_what_compares(self, runs: list[Glimpse]) -> None:
        loss, free = Metric("m", "lower"), Metric("m", "neither")

        def of(*values: float | None, protocols: tuple[str, ...] = ("a", "a", "a")) -> list[Compared]:
            scores = [Score(value, protocol={"extractor": p}) for value, p in zip(values, protocols, strict=False)]
            return [Compared(run, {"m": score}, {}) for run, score in zip(runs, scores, strict=False)]

        assert ahead(loss, of(3.0, 1.0, 2.0)) == 1
        assert ahead(Metric("m", "higher"), of(3.0, 1.0, 2.0)) == 0
        assert ahead(free, of(3.0, 1.0)) is None
        assert ahead(loss, of(1.0, 1.0, 2.0)) is None  # two share it
        assert ahead(loss, of(1.0, None)) is None
        assert ahead(loss, of(1.0, 2.0, protocols=("a", "b"))) is None
        assert not alike("m", of(1.0, 2.0, protocols=("a", "b")))
        assert alike("m", of(1.0, None, protocols=("a", "b")))
        elsewhere = replace(runs[1], trial=replace(runs[1].trial, dataset="mnist"))
        assert not alike("m", [of(1.0)[0], replace(of(1.0, 2.0)[1], run=elsewhere)])

    def test_the_sheet_has_a_column_a_run_and_a_row_a_picture_that_two_have(self, runs: list[Glimpse]) -> None:
        def picture(side: int) -> bytes:
            return png(np.zeros((side, side, 3), dtype=np.uint8))

        own = [{"samples.png": picture(200)}, {"samples.png": picture(200), "manifold.png": picture(300)}]
        both = [Compared(run, {}, pictures) for run, pictures in zip(runs, own, strict=False)]
        wide, high = Image.open(io.BytesIO(sheet(both))).size
        assert wide == WIDTH
        assert (
            3 * 200 < high < 4 * 200
        )  # half of the sheet is three times 200 wide; the manifold, which one has, is left out
        assert sheet([Compared(run, {}, {}) for run in runs]) == b""

    def test_pictures_that_one_run_has_are_shown_and_the_other_named(
        self, paths: Paths, runs: list[Glimpse], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As of an imported run beside one that came without its files: four pictures were called none."""
        first, other = runs[0], runs[2]
        whole = Store.pictures
        bare = {other.run_id: dict[str, bytes]()}
        monkeypatch.setattr(Store, "pictures", lambda store, ids: {**whole(store, ids), **bare})
        target = tmp_path / "one.png"
        result = bench("compare", first.run_id[:8], other.run_id[:8], "--out", str(target))
        assert result.output.splitlines()[-1] == f"pictures: {target}; {other.run_id[:8]} has none"
        assert Image.open(io.BytesIO(target.read_bytes())).size[0] == WIDTH


class TestEnding:
    """What the study's run printed last."""

    def test_best_is_said_where_it_was_tested_and_every_line_is_a_command(
        self, folder: tuple[Path, str], paths: Paths, runs: list[Glimpse]
    ) -> None:
        output = folder[1]
        best = re.search(r"^best on digits: latent_dim=(\d), test_loss (\S+) over 2 seeds", output, re.MULTILINE)
        assert best is not None
        means = {
            dim: sum(run.scores["test_loss"] for run in runs if run.trial.varied["latent_dim"] == dim) / 2
            for dim in (2, 3)
        }
        assert int(best[1]) == min(means, key=means.__getitem__)
        assert best[2] == f"{min(means.values()):.4g}"
        first, second = [
            next(r for r in runs if r.trial.varied["latent_dim"] == d) for d in sorted(means, key=means.__getitem__)
        ]
        assert f"  bench compare {first.run_id[:8]} {second.run_id[:8]}\n" in output
        assert "\nlook: bench ui smoke\n" in output
        assert output.endswith(f"use: bench apply generate {first.run_id[:8]}\n")

    def test_one_seed_has_no_best(self, paths: Paths) -> None:
        again = bench("run", "study", "smoke", "--seeds", "1", "--dataset", "digits")
        assert "nothing to train" in again.output
        assert "best on digits" in again.output  # of all that is tracked

    def test_nothing_is_best_of_what_was_not_tested(self, inside: Paths) -> None:
        output = bench("run", "study", "smoke", "--seeds", "1", "--set", "epochs=1").output
        assert "best" not in output.partition("report: ")[2]
        assert "use: bench apply generate " in output
