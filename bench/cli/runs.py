"""The tracked runs as a list: of each what it has of its own, and what they share once."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.cli.common import UsageLine
from bench.cli.layout import roomy, terminal, wrapped
from bench.registry import unknown
from bench.study.naming import nickname, short
from bench.study.types import flat
from bench.text import line
from bench.tracking.names import SHORT

if TYPE_CHECKING:
    from bench.paths import Paths
    from bench.study.definition import Trial
    from bench.tracking.glance import Glimpse

MOST = 1000  # runs that are listed
AGES = (("d", 86400), ("h", 3600), ("min", 60))


def listed(paths: Paths, study: str | None) -> list[str]:
    """The lines of `bench list runs`: the newest runs of all studies, or those of one with what differs between them."""
    from bench.tracking.glance import glance

    found = glance(paths.store, paths.tracking, study, most=MOST)
    if not found:
        raise UsageLine(_nothing(paths, study))
    width = terminal()
    lines = _of_one(found, _objective(paths, study), width) if study is not None else _of_all(found, width)
    if study is not None:
        lines = [*wrapped(line(f"{study}: {_shared(found)}"), width, "  "), *lines]
    if len(found) == MOST:
        lines.append(f"  these are the newest {MOST}")
    return lines


def _nothing(paths: Paths, study: str | None) -> str:
    from bench.tracking.glance import glance

    studies = sorted({run.study for run in glance(paths.store, paths.tracking, most=MOST)}) if study else []
    if studies:
        return unknown("tracked runs of study", str(study), studies)
    return "no run is tracked yet; begin with: bench run study latent_dim"


def _of_all(found: Sequence[Glimpse], width: int | None) -> list[str]:
    columns = {
        "run": [run.run_id[:SHORT] for run in found],
        "study": [run.study for run in found],
        "variant": [run.trial.variant for run in found],
        "seed": [str(run.trial.seed) for run in found],
        "dataset": [nickname(run.trial.dataset) for run in found],
        "state": [_state(run) for run in found],
        "started": [_age(run.started) for run in found],
    }
    return roomy(columns, ["started"], ["run"], width)


def _of_one(found: Sequence[Glimpse], objective: str, width: int | None) -> list[str]:
    """A row for every run, and a column for all in which they differ, but for what they came to.

    What a terminal has no room for is left out, what matters least first; the run and the objective never are.
    """
    found = sorted(found, key=lambda run: _natural(run.trial))
    trials = [run.trial for run in found]
    facts = differing(trials)
    variants = [trial.variant for trial in trials]
    columns: dict[str, list[str]] = {"run": [run.run_id[:SHORT] for run in found]}
    if len(set(variants)) > 1 and variants != facts.get("model") and not any(trial.varied for trial in trials):
        columns["variant"] = variants
    columns |= facts
    if len({_state(run) for run in found}) > 1:
        columns["state"] = [_state(run) for run in found]
    if any(objective in run.scores for run in found):
        columns[objective] = [f"{run.scores[objective]:.4g}" if objective in run.scores else "" for run in found]
    columns["started"] = [_age(run.started) for run in found]
    return roomy(columns, _spare(columns, list(facts), trials), ["run", objective], width)


def _spare(columns: Mapping[str, Sequence[str]], facts: Sequence[str], trials: Sequence[Trial]) -> list[str]:
    """The columns that a list may go without, what matters least first: when, then what another column tells already."""
    varied = [name for name in facts if any(name in trial.varied for trial in trials)]
    own = [name for name in facts if name not in ("model", "dataset", "seed", *varied)]

    def told(name: str) -> int:
        """How a setting is told by another column: by the data set, by the variant, not at all."""
        by = [
            set(zip(columns[other], columns[name], strict=True)) for other in ("dataset", "variant") if other in columns
        ]
        return next((n for n, pairs in enumerate(by) if len(pairs) == len({first for first, _ in pairs})), len(by))

    settings = [name for n in range(3) for name in reversed(own) if told(name) == n]
    last = ["model", *reversed(varied)] if "variant" in columns else [*reversed(varied), "model"]
    return [name for name in ("started", *settings, *last, "state", "dataset", "seed") if name in columns]


def _shared(found: Sequence[Glimpse]) -> str:
    """What all runs of a study have in common, in words."""
    trials = [run.trial for run in found]
    states = {_state(run) for run in found}
    words = [f"{len(found)} run{'s' if len(found) > 1 else ''}"]
    words += (
        [f"all {states.pop()}"] if len(states) == 1 and len(found) > 1 else sorted(states) if len(found) == 1 else []
    )
    words += [f"of {trials[0].model}"] if len({trial.model for trial in trials}) == 1 else []
    words += [f"on {trials[0].dataset}"] if len({trial.dataset for trial in trials}) == 1 else []
    return ", ".join(words)


def differing(trials: Sequence[Trial]) -> dict[str, list[str]]:
    """Every fact in which trials differ, in words, each with its value of every trial: model, data set, settings, seed."""
    facts: dict[str, list[Any]] = {
        "model": [trial.model for trial in trials],
        "dataset": [trial.dataset for trial in trials],
    }
    every = [flat(trial.settings) for trial in trials]
    for name in dict.fromkeys(name for settings in every for name in settings):
        facts[name] = [settings.get(name) for settings in every]
    facts["seed"] = [trial.seed for trial in trials]
    return {
        name: ["" if value is None else short(value, pad=False) for value in values]
        for name, values in facts.items()
        if len({json.dumps(value, sort_keys=True) for value in values}) > 1
    }


def _natural(trial: Trial) -> tuple[Any, ...]:
    """What orders the runs of a study: data set, model, what is varied, seed; numbers by their size."""
    varied = [
        (0, value, "") if isinstance(value, (int, float)) else (1, 0, str(value)) for value in trial.varied.values()
    ]
    return trial.dataset, trial.model, varied, trial.variant, trial.seed


def _objective(paths: Paths, study: str | None) -> str:
    """The metric that the study leads with, by its file; the test loss where that is not there any more."""
    from bench.study.definition import StudyError
    from bench.study.text import read

    try:
        metrics = read(paths.study(str(study).removesuffix("_smoke"))).get("metrics")
    except StudyError:
        metrics = None
    return str(metrics[0]) if isinstance(metrics, list) and metrics else "test_loss"


def _state(run: Glimpse) -> str:
    return f"{run.state}: {run.failure}" if run.failure and run.state == "failed" else run.state


def _age(started: int) -> str:
    """How long ago a run was started, in its largest unit."""
    seconds = max(0.0, time.time() - started / 1000)
    for unit, size in AGES:
        if seconds >= size:
            return f"{int(seconds / size)} {unit} ago"
    return "just now"
