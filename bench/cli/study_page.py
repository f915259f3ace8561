"""A study as `bench show study` prints it: what its variants have in common once, and of each what it has of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bench.cli.layout import described as lined_up
from bench.cli.layout import terminal, wrapped
from bench.cli.runs import differing
from bench.study.definition import Range
from bench.study.types import flat
from bench.text import line

if TYPE_CHECKING:
    from bench.study.catalogue import Catalogue
    from bench.study.definition import Study, Trial

INDENT = "    "


def described(study: Study, known: Catalogue, width: int | None) -> list[str]:
    """The lines of a study, in a terminal of ``width`` columns."""
    facts = [f"{study.name}: {study.question}", f"source: {study.source}"]
    facts.append(f"metrics: {', '.join(metric.name for metric in study.metrics)}")
    if len(study.meant_for) > 1:
        facts.append(f"data sets: {', '.join(study.meant_for)}; the first runs unless --dataset names others")
    facts += [f"pictures: also of epoch {', '.join(map(str, study.pictures))}"] if study.pictures else []
    facts += [f"applications: {', '.join(study.applications)}"] if study.applications else []
    facts += [f"size {name}: {size.reason}" for name, size in study.sizes.items()]
    facts += [f"claim: {claim.text} ({claim.where})" for claim in study.claims]
    lines = [part for fact in facts for part in wrapped(line(fact), width, "  ")]
    for dataset in study.datasets:
        lines += _searches(study, known, dataset, width) if study.is_search else _grid(study, known, dataset, width)
    for dataset in study.meant_for:
        if dataset not in study.datasets:
            lines += wrapped(f"  on {line(dataset)}: {_elsewhere(study, known, dataset)}", width, INDENT)
    return lines


def _elsewhere(study: Study, known: Catalogue, dataset: str) -> str:
    """What a data set that is not shown has of its own, in words: what all its trials share and those shown do not."""
    here, there = (_shared(_trials(study, known, each)) for each in (study.datasets[0], dataset))
    own = [
        f"{name}={value}" for name, value in there.items() if name not in study.vary and here.get(name, ...) != value
    ]
    return ", ".join(own) or "the same settings"


def _shared(trials: Sequence[Trial]) -> dict[str, Any]:
    every = [flat(trial.settings) for trial in trials]
    return {name: value for name, value in every[0].items() if all(each.get(name) == value for each in every)}


def _trials(study: Study, known: Catalogue, dataset: str) -> list[Trial]:
    """A trial of every variant on a data set; of a search one that stands for all its proposals."""
    cells = [dict.fromkeys(study.vary)] if study.is_search else study.cells()
    return [
        study.trial(known, variant, dataset, 0, cell, proposal=study.is_search)
        for variant in study.variants_on(dataset)
        for cell in cells
    ]


def _grid(study: Study, known: Catalogue, dataset: str, width: int | None) -> list[str]:
    """What the variants on a data set share, and a line for each of them."""
    trials = _trials(study, known, dataset)
    own = differing(trials)
    lines = []
    rows = []
    for number, trial in enumerate(trials):
        words = [f"{name}={values[number]}" for name, values in own.items() if values[number] and _tells(name, trial)]
        rows.append((f"{trial.variant} on {dataset}, {study.seeds} seed(s)", ", ".join(words)))
    lines += lined_up(rows, width)
    title = "  all of them:" if len(trials) > 1 else "  its settings:"
    return [*lines, title, *_settings(trials, own, width)]


def _searches(study: Study, known: Catalogue, dataset: str, width: int | None) -> list[str]:
    """The space of a search on a data set, and what every proposal shares."""
    lines = []
    for variant in study.variants_on(dataset):
        lines.append(f"  {variant.name or variant.model} on {dataset}: {study.trials} configurations of")
        lines += [f"  {each}" for each in space(study)]
        trial = study.trial(known, variant, dataset, 0, dict.fromkeys(study.vary), proposal=True)
        lines += ["  all of them:", *_settings([trial], {name: [] for name in study.vary}, width)]
    return lines


def space(study: Study) -> list[str]:
    """What a search draws from, a line for each setting, and how what it finds is confirmed."""
    rows = [(name, choices(values)) for name, values in study.vary.items()]
    lines = lined_up(rows, terminal())
    if study.confirm:
        split = "on the test split, over"
        lines.append(
            f"  the best {study.confirm.top} are trained again and measured {split} {study.confirm.seeds} seeds"
        )
    if study.prune and study.objective.name == "test_loss":
        lines.append("  what lies behind the median of the others is given up before its end")
    return lines


def choices(values: Sequence[Any] | Range) -> str:
    """What one setting of a search or a grid is drawn from, in words."""
    if isinstance(values, Range):
        numbers = "whole numbers " if values.integer else ""
        return f"{numbers}from {values.low:g} to {values.high:g}{', log-uniform' if values.log else ', uniform'}"
    return ", ".join(map(str, values))


def _settings(trials: Sequence[Trial], own: dict[str, list[str]], width: int | None) -> list[str]:
    """The settings in which trials do not differ, a paragraph for each section."""
    lines = []
    for section in trials[0].settings:
        values = flat({section: trials[0].settings[section]})
        shared = {name: value for name, value in values.items() if value is not None and name not in own}
        if section == "params":  # those of other models are not among them
            shared = {n: v for n, v in shared.items() if all(n in trial.settings[section] for trial in trials)}
        words = ", ".join(f"{name}={value}" for name, value in shared.items())
        if words:
            lines += wrapped(f"{INDENT}{section}: {words}", width, INDENT + "  ")
    return lines


def _tells(name: str, trial: Trial) -> bool:
    """Whether a setting is not in the variant's own name already."""
    said = name == "model" and trial.variant == trial.model
    return not said and not any(word.startswith(f"{name}=") for word in trial.variant.split())
