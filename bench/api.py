"""The suite from Python: what the command line does, as functions that return tables and models.

Every function looks for studies, stores and a user's own components from ``folder``, the working directory where it is None.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from bench import registry
from bench.contract import Model
from bench.files import Weights
from bench.measure.measurements import measurements
from bench.paths import Paths
from bench.registry import unknown
from bench.report.selection import selected, tracked_on
from bench.report.tables import summary
from bench.results import at_its_size, find_run, write_report
from bench.run.command import command_line, set_words
from bench.run.driver import Driver
from bench.run.events import Finished
from bench.run.rehearsal import rehearsed
from bench.run.resources import AUTO, share_out
from bench.run.saved import load_trained
from bench.study.catalogue import Catalogue, catalogue
from bench.study.definition import FULL, SINGLE, Failure, StudyError
from bench.study.file import load as load_study
from bench.tracking.errors import StoreError
from bench.tracking.store import Store
from bench.tracking.words import title

log = logging.getLogger("bench")

RUN = ["run", "dataset", "split", "variant", "model", "seed"]  # what a long table says of each value's run


def run(
    study: str,
    *,
    datasets: str | Path | Sequence[str | Path] = (),
    seeds: int | None = None,
    settings: Mapping[str, Any] | None = None,
    smoke: bool = False,
    size: str = FULL,
    workers: int | Literal["auto"] | None = None,
    gpus: Sequence[str] | None = None,
    trials_per_gpu: int | Literal["auto"] = 1,
    executor: str = "local",
    timeout: float | None = None,
    threads: int | None = None,
    ray_address: str | None = None,
    slurm: Mapping[str, Any] | None = None,
    trials_per_job: int = 1,
    storage: str | None = None,
    rerun: bool = False,
    rerun_changed: bool = False,
    remeasure: bool = False,
    folder: Path | str | None = None,
) -> pd.DataFrame:
    """Run what is missing of a study and return its summary: one row per data set and variant, means over the seeds.

    Args:
        datasets: names or paths, or one of them; the study's first where empty.
        seeds: how many, from 0; the study's number where None.
        settings: settings for this call by name, as in ``{"epochs": 5, "critic": {"learning_rate": 1e-4}}``.
        smoke: a tiny subset for one epoch, tracked apart as ``<study>_smoke``.
        size: one that the study names.
        workers: trials at a time without a GPU; one per core where None, at most 8; ``auto`` tries what gets most done.
        gpus: by their CUDA numbers, as text; all where None, none where empty.
        trials_per_gpu: how many share a GPU; ``auto`` tries how many get most done.
        executor: where trials run: ``local``, ``ray``, ``submitit`` or one's own.
        timeout: minutes after which a trial is stopped.
        threads: processor threads of a trial that runs on another machine; 1 where None.
        ray_address: of a Ray cluster, ``auto`` or ``HOST:PORT``; Ray on this machine alone where None.
        slurm: what a SLURM job asks for, by the names of submitit's parameters.
        trials_per_job: trials that a SLURM job runs, one after another.
        storage: Optuna's database; the store's own where None.
        rerun: train again what is finished.
        rerun_changed: train again what was trained with other code of its model.
        remeasure: measure the models that are trained again, and draw what the study puts them to.

    Raises:
        StudyError: the study cannot run as written, or nothing came of it; a failed trial is a row, and a logged line.
        StoreError: the tracking store cannot be used, or not all of it could be stored: the same call goes on.
    """
    paths, known = _surroundings(folder, storage)
    given = [datasets] if isinstance(datasets, str | Path) else datasets
    named = [registry.seen(str(dataset)) for dataset in given]
    loaded = load_study(
        paths.study(study),
        known,
        smoke=smoke,
        given=settings,
        datasets=named,
        seeds=seeds,
        size=size,
    )
    with Driver(
        loaded, known, paths, command_line("study", study, named, seeds, set_words(settings), smoke, size)
    ) as driver:
        plan = driver.plan(rerun=rerun, rerun_changed=rerun_changed, remeasure=remeasure)
        resources = share_out(
            workers=workers,
            gpus=gpus,
            trials_per_gpu=trials_per_gpu,
            timeout=timeout,
            executor=executor,
            jobs=paths.store / "jobs",
            threads=threads,
            ray_address=ray_address,
            slurm=dict(slurm or {}),
            trials_per_job=trials_per_job,
        )
        if AUTO in (asked := (workers, trials_per_gpu)):
            resources = rehearsed(driver.planner, plan, paths.guests, resources, *asked).resources
        with closing(driver.run(plan, executor, resources)) as events:
            for trial, event in events:
                if isinstance(event, Finished):
                    log.info("%s: finished", title(trial))
                elif isinstance(event, Failure):
                    log.warning("%s: %s: %s", title(trial), event.kind, event.reason)
        for note in driver.outcome.notes:
            log.warning("%s", note)
        if driver.outcome.broken:
            raise StoreError(driver.outcome.broken)
        runs = driver.store.table()
    loaded = tracked_on(loaded, runs)
    return summary(loaded, selected(loaded, known, runs))


def table(study: str, *, wide: bool = False, folder: Path | str | None = None) -> pd.DataFrame:
    """The tracked runs of a study, one row for each run and metric: ``run, dataset, split, variant, model, seed, metric, value,
    reason, protocol``; ``reason`` says why a value is blank, ``protocol`` is a dictionary. ``wide`` gives one row for each run,
    with all that is known of it.

    Raises:
        StudyError: nothing is tracked under that name, and there is no such study.
        StoreError: the tracking store cannot be used.
    """
    paths, _ = _surroundings(folder)
    runs = Store(paths.store, paths.tracking, study, "", create=False).table().rename(columns={"run_id": "run"})
    files = paths.study_files()
    if not len(runs) and study.removesuffix("_smoke") not in {*files, SINGLE}:
        raise StudyError(unknown("study", study, sorted(files)))
    if wide or not len(runs):
        return runs if wide else pd.DataFrame(columns=[*RUN, "metric", "value", "reason", "protocol"])
    rows = []
    measured = [name.removeprefix("reason.") for name in map(str, runs) if name.startswith("reason.")]
    for _, each in runs[runs["state"] == "finished"].iterrows():
        for metric in measured:
            if isinstance(reason := each[f"reason.{metric}"], str):
                protocol = json.loads(each[f"protocol.{metric}"])
                values = {
                    "metric": metric,
                    "value": each.get(f"metric.{metric}"),
                    "reason": reason,
                    "protocol": protocol,
                }
                rows.append({name: each[name] for name in RUN} | values)
    return pd.DataFrame(rows, columns=[*RUN, "metric", "value", "reason", "protocol"])


def report(
    study: str,
    *,
    settings: Mapping[str, Any] | None = None,
    smoke: bool = False,
    size: str | None = None,
    publish: bool = False,
    drop: bool = False,
    weights: Weights = "none",
    latex: bool = False,
    folder: Path | str | None = None,
) -> Path:
    """Write the report of a study from its tracked runs; the path of its ``README.md``, beside which ``report.html`` is.

    Args:
        settings: those that the runs were given, where they were given any.
        smoke: of the tiny subset.
        size: one that the study names; the one that most of the tracked runs have where None.
        publish: write it into ``reports/`` and into the index there, and not beside the store.
        drop: publish it even without data sets, variants or seeds that the published one has.
        weights: how the trained weights go into the file of runs beside a published one: ``full``, ``half``, ``none``.
        latex: write its tables as ``report.tex`` too.

    Raises:
        StudyError: nothing is tracked yet, or of other settings alone; or the published report holds what this store has not.
        StoreError: the tracking store cannot be used.
    """
    paths, known = _surroundings(folder)
    loaded = load_study(paths.study(study), known, smoke=smoke, given=settings, size=size or FULL)
    store = Store(paths.store, paths.tracking, loaded.name, "", create=False)
    loaded = loaded if size else at_its_size(loaded, known, store)
    return write_report(loaded, known, paths, store, publish=publish, drop=drop, weights=weights, latex=latex).path


def load(run: Path | str, *, folder: Path | str | None = None) -> Model:
    """The trained model of a run, in eval mode.

    Args:
        run: the beginning of a run's ID or of its trial's key, or a folder with ``trial.toml`` and ``model.safetensors``.

    Raises:
        StoreError: no finished run answers to the name, or several do.
    """
    paths, _ = _surroundings(folder)
    return load_trained(find_run(str(run), paths))


def models(*, folder: Path | str | None = None) -> list[str]:
    """The names of the models there are, the user's own among them."""
    return _names("models", folder)


def datasets(*, folder: Path | str | None = None) -> list[str]:
    """The names of the data sets there are, the user's own among them; any path to images is a data set too."""
    return _names("datasets", folder)


def metrics(*, folder: Path | str | None = None) -> list[str]:
    """The names of the metrics there are, the user's own among them."""
    registry.visit(Paths.find(_start(folder)).guests)
    return sorted(measurements().metrics)


def studies(*, folder: Path | str | None = None) -> list[str]:
    """The names of the studies there are, the user's own among them."""
    return list(Paths.find(_start(folder)).study_files())


def _surroundings(folder: Path | str | None, storage: str | None = None) -> tuple[Paths, Catalogue]:
    paths = Paths.find(_start(folder), storage)
    registry.visit(paths.guests)
    return paths, catalogue()


def _names(kind: str, folder: Path | str | None) -> list[str]:
    registry.visit(Paths.find(_start(folder)).guests)
    return registry.names(kind)


def _start(folder: Path | str | None) -> Path:
    return Path.cwd() if folder is None else Path(folder).resolve()
