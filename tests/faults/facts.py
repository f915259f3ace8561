"""What stands in a project, read without the suite, and what of it is not as it would stand undisturbed."""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

STATUS = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED"}
OF_THE_MOMENT = ("time/", "memory/", "energy/")  # metrics that no two runs share
SAME = ("key", "configuration", "variant", "dataset", "split", "state", "trial", "threads", "guests", "files", "study")
SHOWN = re.compile(r"\]\(([\w.-]+\.(?:png|gif|csv))\)")  # the local files that a page shows or links to
PNG_END = b"IEND\xaeB`\x82"
DRAWN = re.compile(r"timestamp\+\d+\+[0-9a-f-]{36}")


@dataclass
class Run:
    """One run.

    Attributes:
        metrics: by name, step and value as they were written.
        files: SHA-256 by path, less what tells one run from another in their names.
    """

    run_id: str
    study: str
    status: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    twice: int = 0


def read(folder: Path) -> list[Run]:
    """Every run of a project that is not deleted, in its own store or that of its server."""
    server = folder / "server"
    store = server if server.exists() else folder / "mlruns"
    with closing(sqlite3.connect(f"file:{store / 'mlflow.db'}?mode=ro", uri=True)) as database:
        rows = database.execute(
            "select run_uuid, experiments.name, status, artifact_uri from runs join experiments using (experiment_id) "
            "where runs.lifecycle_stage = 'active'"
        ).fetchall()
        runs = {run: Run(run, study, status, {}, {}) for run, study, status, _ in rows}
        for table, place in (("tags", "tags"), ("params", "params")):
            for run, name, value in database.execute(f"select run_uuid, key, value from {table}"):
                if run in runs:
                    getattr(runs[run], place)[name] = value
        for run, name, step, value in database.execute("select run_uuid, key, step, value from metrics order by step"):
            if run in runs:
                runs[run].metrics.setdefault(name, []).append((step, value))
    for run, _, _, address in rows:
        path = unquote(urlparse(address).path)
        files = Path(path) if store != server else server / "artifacts" / path.lstrip("/")
        for file in files.rglob("*"):
            if file.is_file() and not (store == server and _servers_own(file)):
                name = DRAWN.sub("", file.relative_to(files).as_posix())
                runs[run].twice += name in runs[run].files
                runs[run].files[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return list(runs.values())


def _servers_own(file: Path) -> bool:
    """What no client can delete in a server's folder: reasons of failures, and what it took in as it was killed."""
    return file.name == "failure.txt" or file.name.startswith(".artifact.uploading.")


@dataclass
class Reference:
    """What an undisturbed project of a kind holds."""

    finished: dict[tuple[str, str], Run]  # by study and key
    summaries: dict[str, list[dict[str, str]]]


def reference(folder: Path, studies: list[str]) -> Reference:
    """Read off a project that was left alone."""
    runs = read(folder)
    finished = {(run.study, run.tags["key"]): _followed(run, runs) for run in runs}
    return Reference(finished, {study: _summary(folder, study) for study in studies})


def broken(folder: Path, expected: Reference, *, others: bool = False) -> list[str]:
    """Every promise that a project, which is said to be finished, does not keep: a line on each.

    Args:
        others: trials of other keys may stand there too, whose data changed for a while.
    """
    runs = read(folder)
    found = []
    for run in runs:
        state = run.tags.get("state", "none")
        if run.status != STATUS.get(state):
            found.append(f"run {run.run_id[:8]} is {run.status} and its state {state}")
    counts = Counter((run.study, run.tags.get("key", "")) for run in runs if run.tags.get("state") == "finished")
    for (study, key), run in expected.finished.items():
        if counts[study, key] != 1:
            found.append(f"trial {key} of {study} is finished {counts[study, key]} times")
            continue
        (ours,) = [
            each
            for each in runs
            if (each.study, each.tags.get("key")) == (study, key) and each.tags.get("state") == "finished"
        ]
        found += [f"trial {key} of {study}: {line}" for line in _differences(_followed(ours, runs), run)]
    if not others and (more := counts.keys() - expected.finished.keys()):
        found.append(f"{len(more)} trials are finished that no undisturbed study has: {sorted(more)}")
    found += [f"left behind: {path.relative_to(folder)}" for path in _left(folder)]
    found += _queue(folder / "mlruns")
    for study, rows in expected.summaries.items():
        if _summary(folder, study) != rows:
            found.append(f"the report of {study} is another")
        found += [f"the report of {study} lacks {name}" for name in _lacking(folder / "mlruns" / "reports" / study)]
    return found


def _followed(run: Run, runs: list[Run]) -> Run:
    """The run that trained the trial, under the names of the study that asks."""
    if "refers to" not in run.tags:
        return run
    (other,) = [each for each in runs if each.run_id == run.tags["refers to"]]
    own = {name: run.tags[name] for name in ("study", "variant", "dataset", "split", "trial")}
    return Run(run.run_id, run.study, run.status, {**other.tags, **own}, other.params, other.metrics, other.files)


def _differences(ours: Run, theirs: Run) -> list[str]:
    found = [f"{ours.twice} files stand there twice"] if ours.twice else []
    texts: list[tuple[str, dict[str, str], dict[str, str]]] = [
        ("params", ours.params, theirs.params),
        ("files", ours.files, theirs.files),
        ("tags", _compared(ours.tags), _compared(theirs.tags)),
    ]
    for what, mine, other in texts:
        found += [f"{what} lack {name}" for name in sorted(other.keys() - mine.keys())]
        found += [f"{what} have {name} besides" for name in sorted(mine.keys() - other.keys())]
        found += [
            f"{what}: {name} is another" for name in sorted(mine.keys() & other.keys()) if mine[name] != other[name]
        ]
    found += [
        f"metric {name} is there on one side alone" for name in sorted(ours.metrics.keys() ^ theirs.metrics.keys())
    ]
    for name in sorted(ours.metrics.keys() & theirs.metrics.keys()):
        values, expected = ours.metrics[name], theirs.metrics[name]
        if [step for step, _ in values] != [step for step, _ in expected]:
            found.append(f"metric {name} has steps {[step for step, _ in values]}")
        elif not name.startswith(OF_THE_MOMENT) and values != expected:
            found.append(f"metric {name} has other values: {values} and {expected}")
    return found


def _compared(tags: dict[str, str]) -> dict[str, str]:
    return {n: v for n, v in tags.items() if n in SAME or n.startswith(("protocol.", "reason.")) or n == "failure"}


def _left(folder: Path) -> list[Path]:
    """Partial files and checkpoints."""
    partial = [
        path
        for path in folder.rglob("*")
        if ".damaged-" not in path.name
        and not ("server" in path.relative_to(folder).parts and _servers_own(path))
        and (path.name.startswith((".partial", ".artifact")) or path.name.endswith((".partial", "-journal")))
    ]
    checkpoints = folder / "mlruns" / "checkpoints"
    return partial + (list(checkpoints.iterdir()) if checkpoints.is_dir() else [])


def _queue(store: Path) -> list[str]:
    """What Optuna holds that nobody will ever close."""
    if not (store / "optuna.db").exists():
        return []
    with closing(sqlite3.connect(store / "optuna.db")) as database:
        states = Counter(state for (state,) in database.execute("select state from trials"))
    return [f"{states[state]} trials of the queue are {state}" for state in ("RUNNING", "WAITING") if states[state]]


def _lacking(report: Path) -> list[str]:
    """What a report shows or leads to that is not there, or is no whole picture."""
    lacking = []
    for name in SHOWN.findall((report / "README.md").read_text() if report.is_dir() else ""):
        content = (report / name).read_bytes() if (report / name).is_file() else b""
        if not content or (name.endswith(".png") and not content.endswith(PNG_END)):
            lacking.append(name)
    return lacking


def _summary(folder: Path, study: str) -> list[dict[str, str]]:
    """A report's table, less what no two runs share."""
    try:
        with (folder / "mlruns" / "reports" / study / "summary.csv").open() as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    except OSError:
        return []
    moment = ("seconds_per_epoch", "images_per_second", "peak_megabytes")
    return sorted(({n: v for n, v in row.items() if n not in moment} for row in rows), key=json.dumps)
