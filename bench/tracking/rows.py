"""One run, read: what is remembered of its trial, and its row in a table of runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bench.score import LARGEST, Score
from bench.study.definition import Trial
from bench.study.types import flat
from bench.tracking.names import CODE, FINAL
from bench.tracking.reader import Run

COMMIT = "mlflow.source.git.commit"  # every one that trained or measured the run, the first one first
ORIGIN = "origin"  # where an imported run was trained, in its owner's words
TRAINED_IN = "trained in"  # the study of that run
FILES = "files"  # the SHA-256 of every file of a finished run, by path
# MLflow's word for each state.
STATUS = {"finished": "FINISHED", "failed": "FAILED", "pruned": "KILLED", "interrupted": "KILLED"}
APPLIED = "applied"  # the applications that a finished run's model was put to, each with the reason why it made nothing, or none
REASON, PROTOCOL = "reason.", "protocol."  # what begin the names of the tags that go with it


@dataclass(frozen=True)
class Record:
    """What is remembered of one trial, under its key.

    Attributes:
        study: that trained it.
        started: in milliseconds since 1970.
        state: ``finished``, ``failed``, ``pruned``, ``interrupted`` or ``running``.
        kind: the class of the failure, where there is one.
        scores: what was measured, and what was left blank and why, by metric.
        threads: of the processor, that it was trained with; 0 where it ended before it had any.
        files: the SHA-256 of the files of a finished run, by path, as they were written.
        parameters: trainable ones of its model; 0 where it ended before it had any.
        applied: the applications that its model was put to, each with the reason why it made nothing, empty for most.
        redone: the run that is to take its place, begun later and stopped before its end; empty where there is none.
        code: of its model, as `CODE` has it; empty where that was not told.
    """

    run_id: str
    trial: Trial
    study: str
    configuration: str
    state: str
    kind: str
    attempt: int
    scores: Mapping[str, Score]
    started: int
    seconds: float
    threads: int = 0
    files: Mapping[str, str] = field(default_factory=dict)
    parameters: int = 0
    applied: Mapping[str, str] = field(default_factory=dict)
    redone: str = ""
    code: str = ""


def record(run: Run) -> Record:
    """What is remembered of the run's trial."""
    tags = run.tags
    return Record(
        run.run_id,
        run.trial,
        tags.get(TRAINED_IN, tags["study"]),
        tags.get("configuration", ""),
        state(run),
        tags.get("failure", ""),
        int(tags.get("attempt", "1")),
        scores(run),
        run.started,
        seconds(run),
        int(tags.get("threads", "0")),
        json.loads(tags.get(FILES, "{}")),
        int(run.params.get("parameters", "0")),
        applied_in(tags),
        code=tags.get(CODE, ""),
    )


def applied_in(tags: Mapping[str, str]) -> dict[str, str]:
    """What a run's model was `APPLIED` to, by the run's tags."""
    found: dict[str, str] = json.loads(tags.get(APPLIED, "{}"))
    return found


def records_of(runs: Iterable[Run]) -> dict[str, Record]:
    """The newest finished run of every key, or the newest of any state where none has finished, of runs from the newest on."""
    records: dict[str, Record] = {}
    for run in runs:
        key = run.tags.get("key", "")
        if key and (key not in records or (state(run) == "finished" != records[key].state)):
            newer = records.get(key)
            redone = newer.run_id if newer and newer.state == "interrupted" else ""
            records[key] = replace(record(run), redone=redone)
    return records


def state(run: Run) -> str:
    """How it ended, or ``running``; ``interrupted`` where its driver died."""
    found = run.tags.get("state", "running")
    return "interrupted" if run.status == "KILLED" and found == "running" else found


def ended_as(run: Run) -> str:
    """MLflow's status of the run, were it to go no further."""
    return STATUS.get(run.tags.get("state", ""), "KILLED")


def seconds(run: Run) -> float:
    """From its start to its end."""
    return float((run.ended or run.started) - run.started) / 1000


def data(run: Run) -> dict[str, str]:
    """What was trained on: ``sha256`` and the number of images by split; empty where the run ended before it had any."""
    tags: dict[str, str] = json.loads(run.data.source).get("tags", {}) if run.data else {}
    return tags


def row(run: Run) -> dict[str, Any]:
    """All that is known of the run, by column."""
    tags, params, metrics, trial = run.tags, run.params, run.metrics, run.trial
    found: dict[str, Any] = {
        "run_id": run.run_id,
        "key": tags["key"],
        "configuration": tags["configuration"],
        "study": tags["study"],
        "variant": tags["variant"],
        "dataset": tags["dataset"],
        "fingerprint": trial.fingerprint,
        "model": trial.model,
        "seed": trial.seed,
        "split": tags["split"],
        "state": state(run),
        "failure": tags.get("failure", ""),
        "reason": tags.get("reason", ""),
        "attempt": int(tags["attempt"]),
        "commit": tags.get(COMMIT, ""),
        "command": tags.get("mlflow.source.name", ""),
        "device": tags.get("device", ""),
        "versions": tags.get("versions", "{}"),
        "guests": tags.get("guests", "{}"),
        "origin": tags.get(ORIGIN, ""),
        "trained_in": tags.get(TRAINED_IN, ""),
        "data": json.dumps(data(run)),
        "duration_s": seconds(run),
        "parameters": int(params["parameters"]) if "parameters" in params else None,
        "epochs": trial.settings["training"]["epochs"],
        "images_per_second": metrics.get("time/images_per_s"),
        "peak_megabytes": metrics.get("memory/peak_mb"),
    }
    found |= {column: tags[column] for column in (APPLIED, CODE) if column in tags}
    found |= {f"param.{name}": json.dumps(value) for name, value in flat(trial.settings).items()}
    for name, score in scores(run).items():
        found |= {f"protocol.{name}": json.dumps(score.protocol), f"reason.{name}": score.reason}
        if score.value is not None:
            found[f"metric.{name}"] = score.value
    return found


def scores(run: Run) -> dict[str, Score]:
    """What the run's writer was told last of every metric."""
    return scores_of(run.tags, run.metrics)


def scores_of(tags: Mapping[str, str], metrics: Mapping[str, float]) -> dict[str, Score]:
    """The same from a run's tags and last values; a value from before, which MLflow keeps, does not outlive a reason."""
    found = {}
    for name in (tag.removeprefix(REASON) for tag in tags if tag.startswith(REASON)):
        reason, value = tags[REASON + name], metrics.get(FINAL + name)
        blank = reason or value is None or abs(value) > LARGEST
        found[name] = Score(None if blank else value, reason, json.loads(tags[PROTOCOL + name]))
    return found
