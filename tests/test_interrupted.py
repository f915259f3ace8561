"""Studies that were interrupted, disturbed or run beside others, with an executor that plays trials of known values."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner, Result
from optuna.trial import TrialState

from bench.checkpoint import Progress
from bench.cli import main
from bench.executors import Resources, local
from bench.paths import Paths
from bench.run import feed
from bench.run.driver import Driver, Outcome
from bench.run.worker import Epoch, Finished, Started
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study, Trial
from bench.study.file import build
from bench.tracking.lookup import finished_run
from bench.tracking.store import Store
from bench.tracking.transfer import export

Play = Generator[tuple[Trial, Any], bool | None, None]
FILES = {"trial.toml": b"x = 1\n", "model.safetensors": b"weights"}


class Player:
    """Trials that come to values known beforehand; ``before`` may disturb any of them, at any event.

    Attributes:
        begun: the trials, in the order in which they were begun.
        again: what was asked for again of trials that are trained already.
    """

    def __init__(self, value: Callable[[Trial], float], before: Callable[[Trial, int], object] | None = None) -> None:
        self.value = value
        self.before = before or (lambda trial, epoch: None)
        self.begun: list[Trial] = []
        self.again: dict[str, tuple[str, ...]] = {}

    def run(self, trials: Iterator[Trial | None], work: Any, resources: Resources) -> Play:
        for trial in trials:
            assert trial is not None, "nothing runs that could be waited for"
            if trial.key in work.again:
                self.again[trial.key] = work.again[trial.key].metrics
                yield trial, Finished({name: Score(7.0) for name in self.again[trial.key]}, {})
                continue
            self.begun.append(trial)
            yield trial, Started(1, {"threads": "3"}, {"sha256": "0" * 64})
            for epoch in range(4):
                disturbed = self.before(trial, epoch)
                if isinstance(disturbed, Failure):
                    yield trial, disturbed
                    break
                if (yield trial, Epoch(Progress(epoch, {}, {}, {"loss": self.value(trial)}, 1.0, 1.0, 1.0), {})):
                    break
            else:
                scores = {name: Score(self.value(trial)) for name in work.metrics}
                yield trial, Finished(scores, FILES)


def dimension(trial: Trial) -> float:
    return float(trial.settings["params"]["latent_dim"])


def grid(
    known: Catalogue, paths: Paths, name: str, dimensions: list[int], metrics: tuple[str, ...] = ("psnr",)
) -> Study:
    tables = {
        "question": "Which?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": list(metrics),
        "vary": {"latent_dim": dimensions},
    }
    return build(tables, paths.study(name), known, seeds=1)


def drive(study: Study, known: Catalogue, paths: Paths, player: Player, **options: bool) -> Outcome:
    with pytest.MonkeyPatch.context() as patch, Driver(study, known, paths, f"bench run study {study.name}") as driver:
        patch.setattr(local, "run", player.run)
        for _ in driver.run(driver.plan(**options), "local", Resources()):
            pass
        return driver.outcome


def rows(paths: Paths, study: str) -> Any:
    return Store(paths.store, None, study, "", create=False).table()


def runs(paths: Paths, study: str) -> list[Any]:
    store = Store(paths.store, None, study, "", create=False)
    return list(store.client.search_runs([str(store.experiment_id)]))


class Stop(BaseException):
    """What stops a driver in the middle: Ctrl-C, or the end of its process where nothing is closed."""


def stopping(event: int) -> Callable[[Trial, int], None]:
    """Stop at the event of this number."""
    count = 0

    def before(trial: Trial, epoch: int) -> None:
        nonlocal count
        count += 1
        if count == event:
            raise Stop

    return before


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
        assert done[0].notes == ["ld=003 s0 digits: finished in study one"]
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


def bench(player: Player, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "run", player.run)
        return CliRunner().invoke(main, list(words), catch_exceptions=False)


STUDY = ("run", "study", "smoke", "--seeds", "1")


def interrupt(trial: Trial, epoch: int) -> None:
    raise KeyboardInterrupt


def terminate(trial: Trial, epoch: int) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def half_way(made_of_it: Exception) -> Callable[[Trial, int], None]:
    """Ctrl-C in the midst of a library, which then raises what it makes of that."""

    def disturb(trial: Trial, epoch: int) -> None:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            raise made_of_it from None

    return disturb


@pytest.mark.parametrize(
    ("how", "status"),
    [
        (interrupt, 130),
        (terminate, 143),
        (half_way(RuntimeError("this session cannot be closed")), 130),
        (half_way(optuna.exceptions.StorageInternalError("it cannot be rolled back")), 130),
    ],
)
def test_ctrl_c_and_sigterm_end_in_their_status_and_say_what_goes_on(
    how: Callable[[Trial, int], None], status: int, inside: Paths
) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopped = bench(Player(dimension, how), *STUDY)
    assert stopped.exit_code == status
    assert stopped.stderr.endswith("goes on where this stopped: bench run study smoke --seeds 1\n")
    assert signal.getsignal(signal.SIGTERM) == before
    assert {run.info.status for run in runs(inside, "smoke")} == {"KILLED"}
    player = Player(dimension)
    assert bench(player, *STUDY).exit_code == 0
    assert len(player.begun) == 2


def test_what_goes_on_is_the_whole_command(inside: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was typed: what came from the environment will be there again."""
    monkeypatch.setenv("BENCH_STORAGE", f"sqlite:///{inside.store}/own.db")
    words = "run study smoke --seeds 1 --set epochs=3 --workers 2 --gpus '' --timeout 30.0 --remeasure"
    stopped = bench(Player(dimension, interrupt), *shlex.split(words))
    assert stopped.stderr.endswith(f"goes on where this stopped: bench {words}\n")


@pytest.mark.parametrize("flag", ["--remeasure", "--rerun"])
def test_what_is_finished_stays_so_where_it_is_measured_or_trained_again_and_that_is_interrupted(
    flag: str, inside: Paths
) -> None:
    assert bench(Player(dimension), *STUDY).exit_code == 0
    before = rows(inside, "smoke")

    class Interrupted(Player):
        def run(self, trials: Iterator[Trial | None], work: Any, resources: Resources) -> Play:
            yield from (event for event, _ in zip(super().run(trials, work, resources), range(3), strict=False))
            raise KeyboardInterrupt

    stopped = bench(Interrupted(lambda trial: 1.0), *STUDY, flag)
    assert stopped.exit_code == 130
    assert stopped.stderr.endswith(f"goes on where this stopped: bench run study smoke --seeds 1 {flag}\n")
    plain = Player(dimension)
    again = bench(plain, *STUDY)
    assert again.output.startswith("smoke: 2 trials, 2 finished already, nothing to train\n")
    assert not plain.begun
    assert sorted(rows(inside, "smoke")["run_id"]) == sorted(before["run_id"])


def test_an_interrupted_rerun_goes_on_in_its_run_and_from_its_checkpoint(known: Catalogue, paths: Paths) -> None:
    study = grid(known, paths, "one", [3])
    drive(study, known, paths, Player(dimension))
    with pytest.raises(Stop):
        drive(study, known, paths, Player(lambda trial: 9.0, stopping(2)), rerun=True)
    checkpoint = paths.store / "checkpoints" / runs(paths, "one")[0].data.tags["key"]
    checkpoint.mkdir(parents=True)
    drive(study, known, paths, Player(lambda trial: 9.0))  # nothing to do, and it is left as it is
    assert checkpoint.exists()
    assert rows(paths, "one")["metric.psnr"].tolist() == [3.0]
    player = Player(lambda trial: 9.0, lambda trial, epoch: checkpoint.exists() or pytest.fail("was forgotten"))
    drive(study, known, paths, player, rerun=True)
    assert rows(paths, "one")["metric.psnr"].tolist() == [9.0]
    assert len(runs(paths, "one")) == 2


def test_what_could_not_be_written_is_not_finished_and_the_status_says_so(inside: Paths) -> None:
    """A file in the place of the folder of the runs' files."""
    (inside.store / "artifacts").write_text("in the way")
    blocked = bench(Player(dimension), *STUDY)
    assert blocked.exit_code == 1
    last = blocked.stderr.splitlines()[-1]
    assert last.startswith("smoke was stopped, since nothing can be stored; ")
    assert "writes did not reach sqlite:" in last
    assert "Not a directory" in last
    (inside.store / "artifacts").unlink()
    player = Player(dimension)
    assert bench(player, *STUDY).exit_code == 0
    assert len(player.begun) == 2
    assert [(run.info.status, run.data.tags["state"]) for run in runs(inside, "smoke")] == [
        ("FINISHED", "finished")
    ] * 2


def test_a_full_disk_stops_the_study_in_a_line_and_the_trial_goes_on_later(inside: Paths) -> None:
    full = Failure("disk full", "OSError: [Errno 28] No space left on device", "Traceback")
    player = Player(dimension, lambda trial, epoch: full if epoch == 2 else None)
    stopped = bench(player, *STUDY)
    assert stopped.exit_code == 1
    assert len(player.begun) == 1
    assert stopped.stderr.splitlines()[-3:] == [
        "ld=002 s0 digits: disk full: OSError: [Errno 28] No space left on device",
        "1 of 2 trials failed",
        "smoke was stopped: the disk is full; with room on it the same command goes on",
    ]
    later = Player(dimension)
    assert bench(later, *STUDY).exit_code == 0
    assert later.begun == [player.begun[0], later.begun[1]]
    assert len(runs(inside, "smoke")) == 2


class Late(Player):
    """Every process is killed after its last event, before its end."""

    def run(self, trials: Iterator[Trial | None], work: Any, resources: Resources) -> Play:
        for trial, event in super().run(trials, work, resources):
            yield trial, event
            if isinstance(event, Finished):
                yield trial, Failure("killed", "the trial's process was ended by SIGKILL")


def test_what_is_finished_stays_so_where_its_process_is_killed_at_its_end(known: Catalogue, paths: Paths) -> None:
    for again in (False, True):
        outcome = drive(grid(known, paths, "one", [2, 3]), known, paths, Late(dimension), remeasure=again)
        assert len(outcome.finished) == 2
        assert outcome.failed == []
    assert [run.info.status for run in runs(paths, "one")] == ["FINISHED"] * 2


@pytest.mark.parametrize("failing", ["create_new_trial", "set_trial_state_values"])
def test_a_queue_that_cannot_be_written_stops_the_study_in_a_line(
    failing: str, inside: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        cause = sqlalchemy.exc.OperationalError("pages", {}, sqlite3.OperationalError("database or disk is full"))
        raise optuna.exceptions.StorageInternalError("This typically happens due to invalid data.") from cause

    with monkeypatch.context() as patch:
        patch.setattr(optuna.storages.RDBStorage, failing, full)
        stopped = bench(Player(dimension), *STUDY)
    assert stopped.exit_code == 1
    last = stopped.stderr.splitlines()[-1]
    assert last.startswith("the queue sqlite:")
    assert last.endswith("cannot be used: database or disk is full; the same command goes on")
    player = Player(dimension)
    assert bench(player, *STUDY).exit_code == 0
    assert [run.info.status for run in runs(inside, "smoke")] == ["FINISHED"] * 2


def test_checkpoints_of_trials_that_are_done_with_are_removed(known: Catalogue, paths: Paths) -> None:
    """Their drivers were killed after the last write and before that; what is not known is nobody's to remove."""
    drive(grid(known, paths, "one", [3]), known, paths, Player(dimension))
    two = grid(known, paths, "two", [4])
    drive(two, known, paths, Player(dimension))
    folder = paths.store / "checkpoints"
    keys = [run.data.tags["key"] for name in ("one", "two") for run in runs(paths, name)]
    for key in (*keys, "0123456789abcdef", "notes"):
        (folder / key).mkdir(parents=True)
    drive(two, known, paths, Player(dimension))
    assert sorted(path.name for path in folder.iterdir()) == ["0123456789abcdef", "notes"]


def test_what_was_written_of_a_file_is_removed_though_the_database_lost_its_run(known: Catalogue, paths: Paths) -> None:
    """Its driver was killed within a write, and the database was damaged then and made anew from an older copy."""
    images = paths.store / "artifacts" / "one" / ("0" * 32) / "artifacts" / "images"
    images.mkdir(parents=True)
    for name in ("whole.png", ".half.png.partial"):
        (images / name).write_bytes(b"some")
    drive(grid(known, paths, "one", [3]), known, paths, Player(dimension))
    assert [file.name for file in images.iterdir()] == ["whole.png"]


def test_the_threads_of_earlier_attempts_travel_to_the_trials(known: Catalogue, paths: Paths) -> None:
    """Those of a trial that is begun anew do not."""
    seen: list[dict[str, int]] = []

    class Watched(Player):
        def run(self, trials: Iterator[Trial | None], work: Any, resources: Resources) -> Play:
            seen.append(dict(work.threads))
            return super().run(trials, work, resources)

    study = grid(known, paths, "one", [3])
    with pytest.raises(Stop):
        drive(study, known, paths, Watched(dimension, stopping(2)))
    drive(study, known, paths, Watched(dimension))
    drive(study, known, paths, Watched(dimension), rerun=True)
    key = runs(paths, "one")[0].data.tags["key"]
    assert (seen[0], seen[1], seen[-2]) == ({}, {key: 3}, {})


def test_a_study_whose_words_in_the_database_are_damaged_is_trained_again(
    known: Catalogue, paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    study = grid(known, paths, "one", [2, 3])
    drive(study, known, paths, Player(dimension))
    with closing(sqlite3.connect(paths.store / "mlflow.db")) as database:
        database.execute(
            """update tags set value = replace(value, '"latent_dim": 3', '"latent_dim": 7') where key = 'trial'"""
        )
        database.commit()
    player = Player(dimension)
    drive(study, known, paths, player)
    assert [trial.name for trial in player.begun] == ["ld=003 s0 digits"]
    assert "is damaged and is left out" in caplog.text
    assert sorted(rows(paths, "one")["metric.psnr"]) == [2.0, 3.0]
