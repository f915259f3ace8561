"""Whole studies: run, run again, killed, gone on with, failed, searched."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import psutil
import pytest
import torch
from optuna.trial import TrialState
from PIL import Image
from safetensors.torch import load_file

from bench import registry
from bench.checkpoint import _seal
from bench.contract import Diverged, Generates
from bench.executors import Resources, local
from bench.files import sha256
from bench.optimizers import TrainingOptions
from bench.paths import Paths
from bench.results import write_report
from bench.run import earlier, worker
from bench.run.driver import Driver, Outcome
from bench.run.events import Asked
from bench.run.saved import load_trained
from bench.run.worker import Epoch, Finished, Started, Work, load_data
from bench.study.catalogue import Catalogue
from bench.study.definition import Failure, Study, StudyError, Trial
from bench.study.file import load
from bench.tracking.store import Store
from bench.training import train


def drive(study: Study, known: Catalogue, paths: Paths, workers: int = 2, **plan: bool) -> tuple[list[Any], Outcome]:
    with Driver(study, known, paths, f"bench run study {study.name}") as driver:
        events = list(driver.run(driver.plan(**plan), "local", Resources(workers=workers)))
        return events, driver.outcome


def statuses(paths: Paths, study: str = "smoke") -> list[str]:
    store = Store(paths.store, None, study, "", create=False)
    made = [store.experiment_id] if store.experiment_id is not None else []
    return sorted(run.info.status for run in (store.client.search_runs(made) if made else ()))


def queue_states(paths: Paths) -> list[TrialState]:
    storage = optuna.storages.RDBStorage(paths.queue)
    return [t.state for summary in storage.get_all_studies() for t in storage.get_all_trials(summary._study_id)]


def weights(paths: Paths, trial: Trial) -> dict[str, torch.Tensor]:
    store = Store(paths.store, None, "smoke", "", create=False)
    return load_file(store.artifact(store.records()[trial.key].run_id, "model.safetensors"))


@pytest.fixture
def smoke(known: Catalogue, paths: Paths) -> Study:
    return load(paths.study("smoke"), known)


def test_a_study_runs_once(smoke: Study, known: Catalogue, paths: Paths) -> None:
    events, outcome = drive(smoke, known, paths)
    assert len(outcome.finished) == 4
    assert not outcome.failed
    kinds = [type(event) for _, event in events]
    assert (kinds.count(Started), kinds.count(Epoch), kinds.count(Finished)) == (4, 12, 4)
    assert statuses(paths) == ["FINISHED"] * 4
    assert queue_states(paths) == [TrialState.COMPLETE] * 4
    assert not list((paths.store / "checkpoints").iterdir())
    table = Store(paths.store, None, "smoke", "", create=False).table()
    assert table["metric.test_loss"].notna().all()
    assert {json.loads(text)["precision"] for text in table["protocol.test_loss"]} == {"float32"}
    events, outcome = drive(smoke, known, paths)
    assert events == []
    assert statuses(paths) == ["FINISHED"] * 4
    events, outcome = drive(smoke, known, paths, rerun=True)
    assert len(outcome.finished) == 4
    assert statuses(paths) == ["FINISHED"] * 8
    assert len(Store(paths.store, None, "smoke", "", create=False).table()) == 4


def test_a_metric_that_is_added_is_taken_of_the_saved_models(smoke: Study, known: Catalogue, paths: Paths) -> None:
    drive(smoke, known, paths)
    paths.study("smoke").write_text(paths.study("smoke").read_text().replace('"reconstruction_mse"', '"psnr"'))
    wider = load(paths.study("smoke"), known)
    events, _outcome = drive(wider, known, paths)
    assert [type(event) for _, event in events] == [Finished] * 4
    table = Store(paths.store, None, "smoke", "", create=False).table()
    assert table["metric.psnr"].notna().all()
    errors = 10 ** (-table["metric.psnr"] / 10)  # of the geometric mean, which is at most the arithmetic one
    assert (errors <= table["metric.reconstruction_mse"] * 1.001).all()
    assert statuses(paths) == ["FINISHED"] * 4


def test_what_a_study_puts_its_models_to_is_made_of_those_that_are_trained_too(
    smoke: Study, known: Catalogue, paths: Paths
) -> None:
    """As `bench apply` makes it; what cannot be made says why, once, and all that the run had stays."""
    one: dict[str, Any] = {"given": {"latent_dim": 2}, "seeds": 1}
    _, outcome = drive(load(paths.study("smoke"), known, **one), known, paths)
    (trial,), store = outcome.finished, Store(paths.store, None, "smoke", "", create=False)
    before = store.records()[trial.key].files
    text = paths.study("smoke").read_text()
    paths.study("smoke").write_text(f'applications = ["interpolate", "pegasus"]\n{text}')
    asking = load(paths.study("smoke"), known, **one)
    events, _ = drive(asking, known, paths)
    assert [(type(event), event.scores) for _, event in events] == [(Finished, {})]
    record = store.records()[trial.key]
    assert record.applied["interpolate"] == ""
    assert record.applied["pegasus"].startswith("bodies and wings: name the classes to pair")
    made = store.artifact(record.run_id, "final/applied_interpolate.png")
    model, interpolate = load_trained(made.parent.parent), registry.load("applications", "interpolate")
    assert made.read_bytes() == interpolate.apply(model, load_data(trial, paths.data)).grid
    assert record.files == {**before, "final/applied_interpolate.png": sha256(made.read_bytes())}
    assert drive(asking, known, paths)[0] == []
    page = write_report(asking, known, paths, store).path.read_text()
    assert 0 < page.index("digits-test-applied_interpolate.png") < page.index("<summary>More pictures")
    assert "pegasus on digits is blank for vae: bodies and wings: name the classes" in page
    ((_, event),) = drive(load(paths.study("smoke"), known, given={"latent_dim": 5}, seeds=1), known, paths)[0][-1:]
    assert event.applied == record.applied  # of one that is trained now


def test_an_epoch_that_is_named_for_a_picture_is_drawn_and_named_later_trains_nothing(
    known: Catalogue, paths: Paths
) -> None:
    """Pictures are no settings: the key is the same, so a run that has none says so, and only --rerun makes it one."""
    file, written = paths.study("smoke"), paths.study("smoke").read_text().replace("epochs = 2", "epochs = 4")
    options: dict[str, Any] = {"given": {"latent_dim": 2}, "seeds": 1}
    file.write_text(written)
    _, outcome = drive(load(file, known, **options), known, paths)
    store, trial = Store(paths.store, None, "smoke", "", create=False), outcome.finished[0]

    def drawn() -> list[int]:
        return sorted(epoch for name, epoch in store.drawn(store.records()[trial.key].run_id) if "samples" in name)

    assert drawn() == [0, 1, 2, 4]
    file.write_text(f"pictures = [2, 3, 400]\n{written}")
    named = load(file, known, **options)
    events, outcome = drive(named, known, paths)
    assert events == []
    assert outcome.notes == ["no pictures of epoch 3 in 1 finished trials; to train them again for it: --rerun"]
    _, outcome = drive(named, known, paths, rerun=True)
    assert [each.key for each in outcome.finished] == [trial.key]
    assert drawn() == [0, 1, 2, 3, 4]
    assert drive(named, known, paths)[1].notes == []
    frames = store.artifact(store.records()[trial.key].run_id, "final/training.gif").read_bytes()
    assert Image.open(io.BytesIO(frames)).n_frames == 5  # type: ignore[attr-defined]


def test_a_trial_that_goes_on_draws_no_picture_of_an_epoch_that_is_past(
    known: Catalogue, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Epoch 3 is named while the trial rests at 4, whose weights are not those of 3."""
    monkeypatch.setattr(worker, "train", partial(train, checkpoint_seconds=0))
    trial = next(load(paths.study("smoke"), known, given={"epochs": 6}).grid(known, {}))
    first = Work(Asked(("test_loss",)), tmp_path, tmp_path, {})
    for event in first(trial):
        if isinstance(event, Epoch) and event.progress.epoch == 5:  # the checkpoint is of epoch 4
            break
    pictures = {}
    for event in replace(first, pictures=(3, 5))(trial):
        if isinstance(event, Epoch):
            pictures[event.progress.epoch] = set(event.pictures)
    both = {"samples", "reconstructions"}
    assert pictures == {0: both, 1: both, 2: both, 3: set(), 4: set(), 5: both, 6: both}


def test_a_run_remembers_every_code_that_trained_it(
    known: Catalogue, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that goes on from a checkpoint is of the code that made that too; one that begins anew is not."""
    monkeypatch.setattr(worker, "train", partial(train, checkpoint_seconds=0))
    trial = next(load(paths.study("smoke"), known, given={"epochs": 6}).grid(known, {}))

    def begun_by(code: str, stop: int) -> str:
        monkeypatch.setattr(worker, "code_of", lambda model, dataset: code)
        found = ""
        for event in Work(Asked(("test_loss",)), tmp_path, tmp_path, {})(trial):
            if isinstance(event, Started):
                found = event.tags["code"]
            if isinstance(event, Epoch) and event.progress.epoch == stop:  # the checkpoint is of the epoch before
                break
        return found

    assert begun_by("first", 0) == "first"
    assert begun_by("second", 2) == "second"
    assert begun_by("second", 3) == "second"
    assert begun_by("third", 3) == "second, third"  # which ends before it has a checkpoint of its own
    assert begun_by("third", 5) == "second, third"
    assert begun_by("second", 6) == "second, third"
    folder = tmp_path / "checkpoints" / trial.key
    contents = json.loads((folder / "checkpoint.json").read_text())
    assert contents["epoch"] == 5
    for name in [name for name in contents["files"] if name.startswith("code-")]:
        del contents["files"][name]
    del contents["sha256"]
    (folder / "checkpoint.json").write_text(json.dumps({**contents, "sha256": _seal(contents)}))
    assert begun_by("second", 6) == ", second"


def test_what_other_code_began_is_told_and_begun_anew_where_that_is_asked(
    smoke: Study, known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def here(trials: Iterable[Trial], work: Work, resources: Resources) -> Iterator[tuple[Trial, Any]]:
        for trial in trials:
            for event in work(trial):
                yield trial, event

    def codes() -> set[str]:
        return {record.code for record in Store(paths.store, None, "smoke", "", create=False).records().values()}

    def run(code: str, stop: int | None = None, **plan: bool) -> list[str]:
        monkeypatch.setattr(worker, "code_of", lambda model, dataset: code)
        monkeypatch.setattr(earlier, "code_of", lambda model, dataset: code)
        with Driver(smoke, known, paths, "bench run study smoke") as driver:
            running = driver.run(driver.plan(**plan), "local", Resources())
            for _, event in running:
                if isinstance(event, Epoch) and event.progress.epoch == stop:
                    break
            running.close()
            return driver.outcome.notes

    monkeypatch.setattr(worker, "train", partial(train, checkpoint_seconds=0))
    monkeypatch.setattr(local, "run", here)
    assert run("first", stop=2) == []  # the checkpoint is of the first epoch
    going_on = (
        "going on from what other code of vae began: 1 of the trials that were stopped; to train what has changed again"
    )
    assert run("second", stop=0) == [f"{going_on}: --rerun-changed"]
    assert codes() == {"first, second"}
    assert run("second", rerun_changed=True) == []
    assert codes() == {"second"}


def test_a_saved_model_loads_in_two_lines_without_the_stores(
    smoke: Study, known: Catalogue, paths: Paths, tmp_path: Path
) -> None:
    _, outcome = drive(load(paths.study("smoke"), known, given={"latent_dim": 2}, seeds=1), known, paths)
    store = Store(paths.store, None, "smoke", "", create=False)
    run_id = store.records()[outcome.finished[0].key].run_id
    for name in ("trial.toml", "model.safetensors"):
        (tmp_path / name).write_bytes(store.artifact(run_id, name).read_bytes())
    model = load_trained(tmp_path)
    assert isinstance(model, Generates)
    images = model.sample(3)
    assert images.shape == (3, 1, 28, 28)
    pictures = {Path(entry.path).name for entry in store.client.list_artifacts(run_id, "final")}
    assert pictures == {"samples.png", "reconstructions.png", "interpolation.png", "manifold.png", "training.gif"}


COMMAND = [sys.executable, "-c", "from bench.cli import main; main()", "run", "study", "smoke", "--workers", "2"]


def start(paths: Paths) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("MLFLOW_TRACKING_URI", None)
    quiet, folder = subprocess.DEVNULL, paths.studies.parent
    # A shell's background jobs ignore Ctrl-C, and so would their children.
    return subprocess.Popen(COMMAND, cwd=folder, env=environment, stdout=quiet, stderr=quiet, preexec_fn=_heed_ctrl_c)


def _heed_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The trials' processes: those of the driver's server of processes."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for server in psutil.Process(process.pid).children():
            found += server.children()
    return found


def wait_for(condition: Any, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def undisturbed(trial: Trial) -> dict[str, torch.Tensor]:
    """The weights of the same training, without a process, a store or a checkpoint."""
    data = worker.load_data(trial, Path("unused"))
    model = worker.build(trial, data.spec)
    for _ in train(model, data, TrainingOptions.from_settings(trial.settings["training"]), seed=trial.seed):
        pass
    return model.state_dict()


@pytest.fixture
def longer(paths: Paths) -> Paths:
    """The small study, long enough to be killed in the middle."""
    text = paths.study("smoke").read_text().replace("epochs = 2", "epochs = 25").replace("seeds = 2", "seeds = 1")
    paths.study("smoke").write_text(text)
    return paths


@pytest.mark.parametrize("moment", ["children", "run", "checkpoint"])
def test_kill_9_of_the_driver_then_the_same_command(longer: Paths, known: Catalogue, moment: str) -> None:
    driver = start(longer)
    database = longer.store / "mlflow.db"
    moments = {
        "children": lambda: bool(children(driver)),
        "run": lambda: database.exists() and (longer.store / "artifacts" / "smoke").exists(),
        "checkpoint": lambda: any((longer.store / "checkpoints").glob("*/samples-20.png")),
    }
    wait_for(moments[moment])
    orphans = children(driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    wait_for(lambda: not any(child.is_running() and child.status() != "zombie" for child in orphans))
    study = load(longer.study("smoke"), known)
    _, outcome = drive(study, known, longer)
    assert not outcome.failed
    assert statuses(longer) == ["FINISHED"] * 2
    assert TrialState.RUNNING not in queue_states(longer)
    assert queue_states(longer).count(TrialState.COMPLETE) == 2
    for trial in study.grid(known, {}):
        ours, theirs = weights(longer, trial), undisturbed(trial)
        assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
        store = Store(longer.store, None, "smoke", "", create=False)
        history = store.client.get_metric_history(store.records()[trial.key].run_id, "test/loss")
        assert [metric.step for metric in history] == list(range(26))


def test_kill_9_of_a_child_costs_its_attempt_and_no_more(longer: Paths, known: Catalogue) -> None:
    study = load(longer.study("smoke"), known)
    with Driver(study, known, longer, "test") as driver:
        killed = False
        for _, event in driver.run(driver.plan(), "local", Resources(workers=1)):
            if isinstance(event, Epoch) and event.progress.epoch == 3 and not killed:
                killed = True
                for server in psutil.Process().children():
                    for child in server.children():
                        child.kill()
    assert killed
    assert len(driver.outcome.finished) == 2
    assert len(driver.outcome.notes) == 1
    assert "killed" in driver.outcome.notes[0]
    assert statuses(longer) == ["FINISHED"] * 2
    assert sorted(Store(longer.store, None, "smoke", "", create=False).table()["attempt"]) == [1, 2]


def test_ctrl_c_ends_cleanly_and_the_next_run_goes_on(longer: Paths, known: Catalogue) -> None:
    study = longer.study("smoke")  # a busy machine may take a second to hand over the signal
    study.write_text(study.read_text().replace("epochs = 25", "epochs = 60"))
    driver = start(longer)
    wait_for(lambda: any((longer.store / "checkpoints").glob("*/samples-1.png")))
    driver.send_signal(signal.SIGINT)
    assert driver.wait(60) == 130
    assert set(statuses(longer)) == {"KILLED"}
    assert TrialState.RUNNING not in queue_states(longer)
    drive(load(longer.study("smoke"), known), known, longer)
    assert statuses(longer) == ["FINISHED"] * 2


def test_one_driver_at_a_time(smoke: Study, known: Catalogue, paths: Paths) -> None:
    with (
        Driver(smoke, known, paths, "first"),
        pytest.raises(StudyError, match=rf"being run by process {os.getpid()} on"),
    ):
        Driver(smoke, known, paths, "second").__enter__()


def test_who_only_looks_neither_waits_nor_hinders_nor_mends(smoke: Study, known: Catalogue, paths: Paths) -> None:
    """The runs of a study that is running are not ended as those of a driver that died."""
    with Driver(smoke, known, paths, "first") as driver:
        events = driver.run(driver.plan(), "local", Resources())
        next(events)
        with Driver(smoke, known, paths, "second", looks=True) as looking:
            assert len(looking.plan().todo) == 4
        assert set(statuses(paths)) == {"RUNNING"}
        for _ in events:
            pass
    assert statuses(paths) == ["FINISHED"] * 4
    with Driver(smoke, known, paths, "third", looks=True), Driver(smoke, known, paths, "fourth"):
        pass


def test_a_diverged_trial_is_a_row_and_the_study_goes_on(known: Catalogue, paths: Paths) -> None:
    text = paths.study("smoke").read_text().replace("latent_dim = [2, 3]", "learning_rate = [1e-3, 1e18]")
    paths.study("smoke").write_text(text.replace("batch_size = 16", 'batch_size = 16\noptimizer = "sgd"'))
    study = load(paths.study("smoke"), known, seeds=1, given={"epochs": 20})
    _, outcome = drive(study, known, paths)
    assert len(outcome.finished) == 1
    assert [failure.kind for _, failure in outcome.failed] == ["diverged"]
    table = Store(paths.store, None, "smoke", "", create=False).table()
    assert sorted(table["state"]) == ["failed", "finished"]
    assert not list((paths.store / "checkpoints").iterdir())


def test_a_search_is_confirmed_on_the_test_split(known: Catalogue, paths: Paths) -> None:
    """Of each of two variants the best two of three proposals, over seeds of their own; one name begins like the other."""
    text = paths.study("smoke").read_text().replace("seeds = 2", "trials = 3")
    text = text.replace("latent_dim = [2, 3]", "latent_dim = {low = 2, high = 9}") + "[confirm]\ntop = 2\nseeds = 2\n"
    text += '[[variants]]\nname = "narrow"\n[[variants]]\nname = "narrow twice"\nparams = {hidden_dims = [8, 8]}\n'
    paths.study("smoke").write_text(text)
    study = load(paths.study("smoke"), known)
    _, outcome = drive(study, known, paths)
    assert not outcome.failed
    table = Store(paths.store, None, "smoke", "", create=False).table()
    for name, widths in (("narrow ", "[16]"), ("narrow twice ", "[8, 8]")):
        ours = table[table["variant"].str.startswith(f"{name}latent_dim")]
        assert set(ours["param.hidden_dims"]) == {widths}
        searched, confirmed = ours[ours["split"] == "validation"], ours[ours["split"] == "test"]
        assert 2 <= len(searched) <= 3
        assert len(confirmed) == 4
        assert set(confirmed["seed"]) == {1, 2}
        best = searched.sort_values("metric.test_loss")["param.latent_dim"].head(2)
        assert set(confirmed["param.latent_dim"]) == set(best)
    events, _ = drive(study, known, paths)
    assert events == []


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Diverged("x is nan"), "diverged"),
        (torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
        (MemoryError(), "out of memory"),
        (OSError(28, "No space left on device"), "disk full"),
        (ZeroDivisionError("oops"), "error"),
    ],
)
def test_every_failure_has_its_class(
    smoke: Study,
    known: Catalogue,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    kind: str,
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(worker, "train", fail)
    trial = next(smoke.grid(known, {}))
    *_, last = Work(Asked(("test_loss",)), tmp_path, tmp_path, {})(trial)
    assert isinstance(last, Failure)
    assert last.kind == kind
    assert "\n" not in last.reason


@pytest.mark.parametrize(
    ("study", "given", "message"),
    [
        ("conv_vae", {"conv_layers": 9}, "a 28x28 image can be halved 4 times at most"),
        ("gan", {"critic": {"learning_rate": 0.1}}, "no player of gan 'critic'; there are: discriminator, generator"),
        ("vae", {"classes": ["eleven"]}, "has no class 'eleven'; it has: 0, 1, 2"),
        ("vae", {"train_images": 10_000_000}, "data set digits has 1 to 1433"),
        ("vae", {"labelled": 7}, "must be a multiple of 10"),
    ],
)
def test_what_cannot_be_built_is_known_before_it_starts(
    known: Catalogue, paths: Paths, study: str, given: dict[str, Any], message: str
) -> None:
    paths.study("bad").write_text(
        f'question = "?"\nsource = "none"\nmodel = "{study}"\ndatasets = ["digits"]\nmetrics = ["test_loss"]\n'
    )
    with Driver(load(paths.study("bad"), known, given=given), known, paths, "test") as driver:
        with pytest.raises(StudyError, match=message) as caught:
            driver.plan()
        assert "\n" not in str(caught.value)
    assert statuses(paths, "bad") == []


def test_a_model_that_needs_labels_is_told_of_images_without_them(
    known: Catalogue, paths: Paths, tmp_path: Path
) -> None:
    np.savez(tmp_path / "bare.npz", x_train=np.zeros((20, 28, 28), np.uint8), x_test=np.zeros((9, 28, 28), np.uint8))
    study = load(
        paths.study("smoke"),
        known,
        datasets=[str(tmp_path / "bare.npz")],
        given={"labelled": 10, "train_images": 20, "test_images": 9},
    )
    with Driver(study, known, paths, "test") as driver, pytest.raises(StudyError, match="has no labels to keep"):
        driver.plan()


def test_the_plan_tells_time_from_replicates(smoke: Study, known: Catalogue, paths: Paths) -> None:
    one_seed = load(paths.study("smoke"), known, seeds=1)
    drive(one_seed, known, paths)
    with Driver(smoke, known, paths, "test") as driver:
        plan = driver.plan()
    assert (len(plan.trials), len(plan.done), len(plan.todo)) == (4, 2, 2)
    assert all(plan.seconds[trial.key] > 0 for trial in plan.todo)
    assert {plan.parameters[t.key] for t in plan.trials} == {
        784 * 16 + 16 + 16 * 2 * d + 2 * d + d * 16 + 16 + 16 * 784 + 784 for d in (2, 3)
    }
