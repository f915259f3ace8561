"""What was tracked, made into a report: reading alone, so that nobody waits for torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.paths import Paths
from bench.report import page
from bench.report.answer import plain
from bench.report.claims import judge
from bench.report.selection import selected, tracked_on
from bench.report.tables import WIDTH, console
from bench.study.catalogue import Catalogue
from bench.study.definition import Study, StudyError
from bench.tracking.store import Store, finished_run


@dataclass(frozen=True)
class Written:
    """A report that was written.

    Attributes:
        path: of its ``README.md``.
        text: its answer and its tables in plain text.
        left_out: a line on tracked trials of other settings; empty where there are none.
    """

    path: Path
    text: str
    left_out: str


def write_report(study: Study, known: Catalogue, paths: Paths, store: Store, width: int | None = None) -> Written:
    """Write a study's report from its runs on every data set.

    Args:
        width: of the terminal that its text is for, in columns; None where it is for none.

    Raises:
        StudyError: nothing is tracked yet, or of other settings alone.
    """
    runs = store.table()
    study = tracked_on(study, runs)
    wanted = selected(study, known, runs)
    others = runs[~runs["run_id"].isin(wanted["run_id"])] if len(runs) else runs
    left_out = ""
    if len(others):
        left_out = (
            f"{len(others)} tracked trials of other settings are left out, the last by: {others['command'].iloc[0]}"
        )
        if not len(wanted):
            raise StudyError(f"{study.name}: {left_out}; give the same --set, or run: bench run study {study.name}")
    curves = store.curves(wanted["run_id"] if len(wanted) else [])
    pictures = store.pictures(page.pictured(wanted))
    for run_id, files in pictures.items():
        drawn = {epoch: path for (name, epoch), path in store.drawn(run_id).items() if name == "images/samples"}
        chosen = page.followed(study, drawn)
        files |= page.in_a_row({epoch: store.artifact(run_id, drawn[epoch]).read_bytes() for epoch in chosen})
    path = page.write(study, wanted, curves, pictures, paths.reports / study.name)
    judgements = judge(study, wanted, curves)
    parts = plain(judgements, width or WIDTH), console(study, wanted, width)
    return Written(path, "\n\n".join(filter(None, parts)), left_out)


def find_run(run: str, paths: Paths) -> Path:
    """The folder that holds a run's model: the one named, or the artifacts of the run in the store.

    Raises:
        StoreError: no finished run answers to the name, or several do.
    """
    if (Path(run) / "trial.toml").is_file():
        return Path(run)
    return finished_run(paths.store, paths.tracking, run)
