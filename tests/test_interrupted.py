"""A search that is interrupted anywhere comes to the same, and two studies share what one has trained."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from bench.executors import Resources, local
from bench.paths import Paths
from bench.run import feed
from bench.run.driver import Driver, Outcome
from bench.run.worker import Finished
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study, Trial
from bench.study.file import build
from bench.tracking.lookup import finished_run
from bench.tracking.store import Store
from bench.tracking.transfer import export
from tests.player import FILES, Play, Player, Stop, dimension, drive, grid, rows, runs, stopping

TOTAL = 13  # of the proposals of a search; the last three hang on what those before them came to


def search(known: Catalogue, paths: Paths, metric: str = "psnr") -> Study:
    tables = {
        "question": "Which?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": [metric],
        "trials": TOTAL,
        "vary": {"latent_dim": {"low": 2, "high": 1000}, "learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}},
    }
    return build(tables, paths.study("search"), known)


def hill(trial: Trial) -> float:
    return 1000 - abs(dimension(trial) - 300)


@pytest.fixture(scope="module")
def undisturbed(known: Catalogue, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The keys in their order, by metric: the second one is followed while a trial trains, and trials given up."""
    found = {}
    for metric in ("psnr", "test_loss"):
        folder = tmp_path_factory.mktemp(metric)
        (folder / "studies").mkdir()
        paths = Paths.find(folder, environment={})
        player = Player(hill)
        outcome = drive(search(known, paths, metric), known, paths, player)
        found[metric] = [trial.key for trial in player.begun]
        assert len(outcome.finished) + len(outcome.pruned) == len(set(found[metric])) == TOTAL
        assert bool(outcome.pruned) == (metric == "test_loss")
    return found


class TestSearch:
    """What an interrupted search proposes."""

    @pytest.mark.parametrize("stops", [(5,), (14, 3), (46, 1)])
    def test_an_interrupted_search_proposes_what_an_undisturbed_one_does(
        self, stops: tuple[int, ...], known: Catalogue, paths: Paths, undisturbed: dict[str, list[str]]
    ) -> None:
        proposed: list[str] = []
        for event in stops:
            player = Player(hill, stopping(event))
            with pytest.raises(Stop):
                drive(search(known, paths), known, paths, player)
            proposed += [trial.key for trial in player.begun]
        last = Player(hill)
        drive(search(known, paths), known, paths, last)
        proposed += [trial.key for trial in last.begun]
        assert list(dict.fromkeys(proposed)) == undisturbed["psnr"]
        assert sorted(rows(paths, "search")["state"]) == ["finished"] * TOTAL
        assert len(runs(paths, "search")) == TOTAL
        assert not drive(search(known, paths), known, paths, Player(hill)).finished

    def test_what_the_queue_has_finished_and_no_run_has_is_tried_again(
        self, known: Catalogue, paths: Paths, undisturbed: dict[str, list[str]]
    ) -> None:
        """Nothing can be stored at the first; later a run that was finished is gone."""
        (paths.store / "artifacts").write_text("in the way")
        player = Player(hill)
        assert "nothing can be stored" in drive(search(known, paths), known, paths, player).broken
        (paths.store / "artifacts").unlink()
        again = Player(hill)
        drive(search(known, paths), known, paths, again)
        assert [trial.key for trial in again.begun] == undisturbed["psnr"]
        assert len(player.begun) == 1
        store = Store(paths.store, None, "search", "", create=False)
        lost = undisturbed["psnr"][7]
        store.remove(store.records()[lost].run_id)
        once = Player(hill)
        drive(search(known, paths), known, paths, once)
        assert [trial.key for trial in once.begun] == [lost]
        assert not drive(search(known, paths), known, paths, Player(hill)).finished
        assert sorted(rows(paths, "search")["key"]) == sorted(undisturbed["psnr"])

    def test_a_second_attempt_that_could_not_be_put_in_line_is_made_later(
        self, known: Catalogue, paths: Paths, undisturbed: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise optuna.exceptions.StorageInternalError("database or disk is full")

        killed = Failure("killed", "the trial's process was ended by SIGKILL")
        with monkeypatch.context() as patch:
            patch.setattr(optuna.Study, "enqueue_trial", full)
            player = Player(hill, lambda trial, epoch: killed if len(player.begun) == 3 else None)
            assert "disk is full" in drive(search(known, paths), known, paths, player).broken
        last = Player(hill)
        drive(search(known, paths), known, paths, last)
        assert [trial.key for trial in last.begun] == undisturbed["psnr"][2:]

    @pytest.mark.parametrize("metric", ["psnr", "test_loss"])
    @pytest.mark.parametrize("damage", ["gone", "junk", "words"])
    def test_a_search_whose_queue_is_lost_goes_on_from_its_runs(
        self, damage: str, metric: str, known: Catalogue, paths: Paths, undisturbed: dict[str, list[str]]
    ) -> None:
        """Stopped in its twelfth proposal. The queue is gone, is no database, or holds words that make no sense."""
        player = Player(hill, lambda trial, epoch: stop() if len(player.begun) == 12 and epoch == 2 else None)

        def stop() -> None:
            raise Stop

        with pytest.raises(Stop):
            drive(search(known, paths, metric), known, paths, player)
        file = paths.store / "optuna.db"
        if damage == "gone":
            file.unlink()
        elif damage == "junk":
            file.write_bytes(b"junk" * 1000)
        else:
            with closing(sqlite3.connect(file)) as database:
                database.execute("update trial_user_attributes set value_json = '{\"x'")
                database.commit()
        last = Player(hill)
        drive(search(known, paths, metric), known, paths, last)
        proposed = [trial.key for trial in (*player.begun, *last.begun)]
        assert list(dict.fromkeys(proposed)) == undisturbed[metric]
        assert [trial.key for trial in last.begun] == undisturbed[metric][11:]

    def test_of_several_at_a_time_nothing_is_proposed_twice(self, known: Catalogue, paths: Paths) -> None:
        """Two workers, three stops: other proposals than one worker's, but each trained to its end once."""

        def pairs(trials: Iterator[Trial | None], work: Any, resources: Resources) -> Play:
            running: list[Trial] = []
            for trial in trials:
                if trial is not None:
                    begun.append(trial.key)
                    running.append(trial)
                if trial is None or len(running) == 2:
                    if countdown.pop() == 0:
                        raise Stop
                    ended = running.pop(0)
                    yield ended, Finished({"psnr": Score(hill(ended))}, FILES)
            for each in running:
                yield each, Finished({"psnr": Score(hill(each))}, FILES)

        begun: list[str] = []
        for countdown in ([0, 1, 1], [0, 1, 1, 1], [0], [1] * 99):
            with (
                pytest.MonkeyPatch.context() as patch,
                Driver(search(known, paths), known, paths, "test") as driver,
            ):
                patch.setattr(local, "run", pairs)
                events = driver.run(driver.plan(), "local", Resources(workers=2))
                if len(countdown) > TOTAL:
                    list(events)
                else:
                    with pytest.raises(Stop):
                        list(events)
        assert sorted(rows(paths, "search")["state"]) == ["finished"] * TOTAL
        assert len(set(begun)) == TOTAL


def queue_states(paths: Paths) -> list[TrialState]:
    storage = optuna.storages.RDBStorage(paths.queue)
    found = [t.state for summary in storage.get_all_studies() for t in storage.get_all_trials(summary._study_id)]
    storage.engine.dispose()
    return found


class TestShared:
    """A trial that any study of the store has finished is finished for all."""

    def test_it_is_not_trained_again_and_stands_in_the_reports_of_both(self, known: Catalogue, paths: Paths) -> None:
        one, two = grid(known, paths, "one", [2, 3]), grid(known, paths, "two", [3, 4])
        drive(one, known, paths, Player(dimension))
        player = Player(lambda trial: 9.0)
        with Driver(two, known, paths, "test") as driver:
            plan = driver.plan()
        assert {key: record.study for key, record in plan.borrowed.items()} == {plan.trials[0].key: "one"}
        assert [trial.name for trial in plan.todo] == ["ld=004 s0 digits"]
        drive(two, known, paths, player)
        assert [trial.name for trial in player.begun] == ["ld=004 s0 digits"]
        theirs = rows(paths, "one").set_index("variant")
        ours = rows(paths, "two").set_index("variant")
        assert ours["metric.psnr"].to_dict() == {"latent_dim=3": 3.0, "latent_dim=4": 9.0}
        assert ours.loc["latent_dim=3", "run_id"] == theirs.loc["latent_dim=3", "run_id"]
        assert ours["trained_in"].to_dict() == {"latent_dim=3": "one", "latent_dim=4": ""}
        assert set(ours["study"]) == {"two"}
        assert ours.loc["latent_dim=3", "command"] == "bench run study two"
        statuses = [(run.info.status, run.data.tags["state"]) for run in runs(paths, "two")]
        assert statuses == [("FINISHED", "finished")] * 2
        again = Player(dimension)
        drive(two, known, paths, again)
        assert not again.begun
        assert len(runs(paths, "two")) == 2

    def test_a_metric_that_the_other_study_did_not_ask_for_is_taken_of_its_model(
        self, known: Catalogue, paths: Paths
    ) -> None:
        drive(grid(known, paths, "one", [3]), known, paths, Player(dimension))
        two, player = grid(known, paths, "two", [3], ("test_loss", "psnr")), Player(dimension)
        drive(two, known, paths, player)
        assert not player.begun
        assert list(player.again.values()) == [("test_loss",)]
        table = rows(paths, "two")
        assert (table["metric.test_loss"].tolist(), table["metric.psnr"].tolist()) == ([7.0], [3.0])
        tags = runs(paths, "one")[0].data.tags
        assert (tags["study"], tags["state"], tags["attempt"]) == ("one", "finished", "1")

    def test_a_run_answers_under_either_study_s_id(self, known: Catalogue, paths: Paths) -> None:
        for name in ("one", "two"):
            drive(grid(known, paths, name, [3]), known, paths, Player(dimension))
        places = {finished_run(paths.store, None, runs(paths, name)[0].info.run_id) for name in ("one", "two")}
        assert len(places) == 1
        assert (places.pop() / "model.safetensors").read_bytes() == b"weights"

    def test_it_is_exported_with_the_study_that_asks(self, known: Catalogue, paths: Paths, tmp_path: Path) -> None:
        for name in ("one", "two"):
            drive(grid(known, paths, name, [3]), known, paths, Player(dimension))
        store = Store(paths.store, None, "two", "", create=False)
        assert export([store], tmp_path / "two.zip", "here", packing=dict) == ["latent_dim=3, seed 0, digits"]

    def test_where_the_other_run_is_deleted_it_is_trained(self, known: Catalogue, paths: Paths) -> None:
        for name in ("one", "two"):
            drive(grid(known, paths, name, [3]), known, paths, Player(dimension))
        store = Store(paths.store, None, "one", "", create=False)
        store.client.delete_run(runs(paths, "one")[0].info.run_id)
        player = Player(lambda trial: 9.0)
        drive(grid(known, paths, "two", [3]), known, paths, player)
        assert len(player.begun) == 1
        assert rows(paths, "two")["metric.psnr"].tolist() == [9.0]
        assert len(runs(paths, "two")) == 1

    def test_trained_again_on_purpose_it_is_the_study_s_own(self, known: Catalogue, paths: Paths) -> None:
        for name in ("one", "two"):
            drive(grid(known, paths, name, [3]), known, paths, Player(dimension))
        player = Player(lambda trial: 9.0)
        drive(grid(known, paths, "two", [3]), known, paths, player, rerun=True)
        assert len(player.begun) == 1
        assert rows(paths, "two")["metric.psnr"].tolist() == [9.0]
        assert rows(paths, "one")["metric.psnr"].tolist() == [3.0]

    def test_two_drivers_at_once_train_it_once(
        self, known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The second has all else done before it waits, and then finds the trial finished."""
        monkeypatch.setattr(feed, "LOOK_SECONDS", 0.01)
        one, two = grid(known, paths, "one", [3]), grid(known, paths, "two", [3, 4])
        first, second = Player(dimension), Player(lambda trial: 9.0)
        with Driver(one, known, paths, "one") as driver:
            with monkeypatch.context() as patch:
                patch.setattr(local, "run", first.run)
                events = driver.run(driver.plan(), "local", Resources())
                next(events)
                key = first.begun[0].key
                (paths.store / "checkpoints" / key).mkdir(parents=True)
            done: list[Outcome] = []
            other = threading.Thread(target=lambda: done.append(drive(two, known, paths, second)))
            other.start()
            while len(second.begun) < 1 or "waits: study one, process" not in caplog.text:
                assert other.is_alive()
            assert (paths.store / "checkpoints" / key).exists()
            list(events)
        other.join(60)
        assert [trial.name for trial in second.begun] == ["ld=004 s0 digits"]
        assert done[0].notes == ["latent_dim=3, seed 0, digits: finished in study one"]
        assert rows(paths, "two")["metric.psnr"].tolist() == [3.0, 9.0]
        assert not (paths.store / "checkpoints" / key).exists()
        assert set(queue_states(paths)) == {TrialState.COMPLETE}

    def test_what_another_study_s_driver_left_is_gone_on_with(self, known: Catalogue, paths: Paths) -> None:
        """Its lock ends with it, and the checkpoint is the trial's, whoever asks for it."""
        with pytest.raises(Stop):
            drive(grid(known, paths, "one", [3]), known, paths, Player(dimension, stopping(2)))
        checkpoint = paths.store / "checkpoints" / runs(paths, "one")[0].data.tags["key"]
        checkpoint.mkdir(parents=True)
        drive(grid(known, paths, "two", [3]), known, paths, Player(dimension))
        assert not checkpoint.exists()
        player = Player(dimension)
        drive(grid(known, paths, "one", [3]), known, paths, player)
        assert not player.begun
        assert rows(paths, "one")["metric.psnr"].tolist() == [3.0]
