"""A study that is stopped, cut off or cannot be written: its status, its words, and what goes on."""

from __future__ import annotations

import os
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import optuna
import pytest
import sqlalchemy
from click.testing import CliRunner, Result

from bench.cli import main
from bench.executors import Resources, local
from bench.paths import Paths
from bench.run.worker import Finished
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Trial
from tests.player import Play, Player, Stop, dimension, drive, grid, rows, runs, stopping

KILLED = """
import os, sys
from pathlib import Path
from bench.files import write_whole
Path.replace = lambda *_: os._exit(0)
write_whole(Path(sys.argv[1]), b"some")
"""
STUDY = ("run", "study", "smoke", "--seeds", "1")


def bench(player: Player, *words: str) -> Result:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local, "run", player.run)
        return CliRunner().invoke(main, list(words), catch_exceptions=False)


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
        "latent_dim=2, seed 0, digits: disk full: OSError: [Errno 28] No space left on device",
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
    subprocess.run([sys.executable, "-c", KILLED, str(images / "killed.png")], check=True)
    assert len(list(images.iterdir())) == 3
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
