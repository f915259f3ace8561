"""What was tracked, made into a report: reading alone, so that nobody waits for torch."""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from bench.files import Weights, remove_partial
from bench.paths import Paths
from bench.registry import RegistryError
from bench.report import illustrations, page, ranking, search
from bench.report.claims import judge
from bench.report.console import console
from bench.report.folder import ARCHIVE, lost
from bench.report.index import INDEX, write_index
from bench.report.selection import selected, size_of, tracked_on
from bench.report.tables import prepared, summary
from bench.study.catalogue import Catalogue
from bench.study.definition import Study, StudyError, Trial
from bench.study.file import load
from bench.tracking.errors import StoreError
from bench.tracking.lookup import finished_run
from bench.tracking.store import Store
from bench.tracking.views import write_views
from bench.tracking.words import describe, told

SAMPLES = "images/samples"  # which a run draws while it trains

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        path: of its ``README.md``.
        text: its answer, and the measures that decide, in plain text.
        left_out: a line on tracked trials of other settings; empty where there are none.
    """

    path: Path
    text: str
    left_out: str


def write_report(
    study: Study,
    known: Catalogue,
    paths: Paths,
    store: Store,
    *,
    publish: bool = False,
    drop: bool = False,
    weights: Weights = "none",
    latex: bool = False,
    width: int | None = None,
) -> Written:
    """Write a study's report from its runs on every data set: beside the store, or among the published ones and into their index.

    With a published one go its runs in a file, from which the page can be made again: their numbers, and what it shows of them.

    Args:
        drop: publish it even without data sets, variants or seeds that the published one has.
        weights: how the trained weights go into that file.
        latex: write its tables as LaTeX too.
        width: of the terminal that its text is for, in columns; None where it is for none.

    Raises:
        StudyError: nothing is tracked yet, or of other settings alone; or the published report holds what this store has not.
    """
    runs = store.table()
    study = tracked_on(study, runs)
    wanted = selected(study, known, runs)
    others = runs[~runs["run_id"].isin(wanted["run_id"])] if len(runs) else runs
    left_out = ""
    if len(others):
        other = "settings or images" if others["fingerprint"].any() else "settings"
        left_out = (
            f"{len(others)} tracked trials of other {other} are left out, the last by: {others['command'].iloc[0]}"
        )
        if not len(wanted):
            raise StudyError(
                f"{study.name}: {left_out}; give the same --set or --size, or run: bench run study {study.name}"
            )
    wanted = prepared(study, wanted)
    folder = (paths.reports if publish else paths.store / "reports") / study.name
    if publish and not drop and (gone := lost(folder, wanted)):
        raise StudyError(
            f"reports/{study.name} holds {gone}, which this store has not: bring them in with bench import, or publish "
            "without them with --drop"
        )
    curves = store.curves(wanted["run_id"])
    table, judgements = summary(study, wanted), judge(study, wanted, curves)
    pictures = store.pictures(illustrations.pictured(study, wanted, table))
    epochs = dict(zip(wanted["run_id"], wanted["epochs"], strict=True))
    followed = {run_id: _followed(study, store, run_id, int(epochs[run_id])) for run_id in pictures}
    for run_id, files in pictures.items():
        samples = {epoch: store.artifact(run_id, path).read_bytes() for epoch, path in followed[run_id].items()}
        files |= illustrations.while_training(samples)
    weighed = {}
    if study.is_search:
        from bench.run.proposals import importances  # which reads Optuna

        weighed = {dataset: importances(study.vary, *each) for dataset, each in search.proposals(study, wanted).items()}
    path = page.write(
        study,
        wanted,
        curves,
        pictures,
        folder,
        importances=weighed,
        table=table,
        judgements=judgements,
        with_latex=latex,
        archive=f"reports/{study.name}/{ARCHIVE}" if publish else "",
        weights=weights,
    )
    if publish:
        from bench.run.saved import packing  # which reads torch
        from bench.tracking.transfer import export  # which reads MLflow

        final = [f"final/{name}" for name in illustrations.titles(study)]
        shown = {run_id: {*followed[run_id].values(), *final} for run_id in pictures}
        export([store], folder / ARCHIVE, socket.gethostname(), packing=packing(weights), shown=shown)
        publish_index(known, paths)
    found = ranking.found(study, table, judgements)
    present(study, known, store, found)
    return Written(path, console(study, wanted, found, judgements, width, table=table), left_out)


def publish_index(known: Catalogue, paths: Paths) -> None:
    """Write the index of the published reports, one process at a time: whoever writes last has read all that is there."""
    locks = paths.store / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    with FileLock(locks / ".index.lock"):  # no study has such a name
        remove_partial(paths.reports / INDEX)
        write_index(paths.reports, _asked(known, paths))


def _followed(study: Study, store: Store, run_id: str, last: int) -> dict[int, str]:
    """Where the samples lie that a report shows of a run while it trained, by epoch; the ``last`` are its final ones."""
    drawn = {epoch: path for (name, epoch), path in store.drawn(run_id).items() if name == SAMPLES}
    if drawn:
        drawn[last] = f"final/{Path(SAMPLES).name}.png"
    return {epoch: drawn[epoch] for epoch in illustrations.followed(study, drawn)}


def at_its_size(study: Study, known: Catalogue, store: Store) -> Study:
    """The study at the one of its sizes that most of its tracked runs have, where nobody says which is meant."""
    return study.at(size_of(study, known, store.table())) if study.sizes else study


def _asked(known: Catalogue, paths: Paths) -> list[Study]:
    """The studies beside the reports; those of the package are no business of a project with its own."""
    found = []
    for file in sorted(paths.studies.glob("[!.]*.toml")):
        try:
            found.append(load(file, known))
        except StudyError as error:
            log.warning("the index goes without %s", error)
    return found


def present(study: Study | None, known: Catalogue, store: Store, found: str = "") -> None:
    """Have MLflow's UI open on what the runs are for: views, names, notes, colours, and what was found of the study.

    A store that cannot be written stays as it is, and that is said.

    Args:
        study: as its file says it; None where there is none.
        found: in a sentence or two; where it is empty, what the runs tell now, if any has changed since it was told last.
    """

    def chosen(trial: Trial) -> Mapping[str, Any]:
        try:
            return known.chosen(trial)
        except (KeyError, RegistryError):  # a model that is not here any more
            return trial.varied

    try:
        changed = write_views(store, study.metrics if study else (), chosen)
        if study and (found or changed):
            describe(store, found or _answer(study, known, store) or told(store).answer)
    except StoreError as error:
        log.warning("%s is shown as it is: %s", store.study, error)


def _answer(study: Study, known: Catalogue, store: Store) -> str:
    """What the runs of a study as it is written now tell of its claims."""
    runs = store.table()
    study = tracked_on(at_its_size(study, known, store), runs)
    wanted = selected(study, known, runs)
    if not len(wanted):
        return ""
    wanted = prepared(study, wanted)
    return ranking.found(study, summary(study, wanted), judge(study, wanted, store.curves(wanted["run_id"])))


def find_run(run: str, paths: Paths) -> Path:
    """The folder that holds a run's model: the one named, or the artifacts of the run in the store.

    Raises:
        StoreError: no finished run answers to the name, or several do.
    """
    if (Path(run) / "trial.toml").is_file():
        return Path(run)
    return finished_run(paths.store, paths.tracking, run)
