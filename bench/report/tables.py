"""Tracked runs in, tables out: means over seeds, their spread, what is tied with the best, and what is blank and why."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from dataclasses import replace

import pandas as pd

from bench.closure import code_of
from bench.report.significance import LEVEL, apart, holm, interval
from bench.score import LARGEST, TRAINED, Metric
from bench.study.definition import Study, StudyError

MARKED = {"biased": "biased", "diagnostic": "stands_as"}  # what a heading says where a protocol has the fact
TOP = 10  # rows of a search that are shown; all are in the CSV
CLASS = re.compile(r"^\w+ is (?=not something that)")  # what a reason says first, and the line on it has said: a model
UNTAKEN = "it was measured before the study asked for that; bench run study takes it where the model is kept"
ROW = ["dataset", "split", "variant", "configuration"]  # two that share a rounded name are two rows


def summary(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per data set, split and configuration, with its costs and, of every metric over its seeds:

    ``_mean``, ``_std``, ``_n``, ``_seeds`` (which, with blanks between), ``_interval`` (half the width of the 95 % interval),
    ``_best``, ``_p`` (of a paired t-test against the best over the seeds that both have, after Holm's correction over the
    variants), ``_tied`` (where that is above 5 %), ``_untested`` (where they share no two seeds; where nothing was tested there
    is no best), ``_biased`` (by few samples) and ``_diagnostic``, as its protocol says. What was not measured is blank, never
    zero. A metric that was taken under two protocols is as many metrics, as `by_protocol` has them.
    """
    study, runs = by_protocol(study, prepared(study, runs))
    tables = [_summarised(study, alike) for _, alike in runs.groupby(["dataset", "split"], sort=False)]
    return _ordered(study, pd.concat(tables))


def notes(study: Study, runs: pd.DataFrame) -> list[str]:
    """Why cells are blank, trials failed or do not compare, a line for each reason."""
    lines = []
    for (dataset, split), trials in runs.groupby(["dataset", "split"], sort=False):
        place = f"{dataset}{unless_test(str(split))}"
        finished = trials[trials["state"] == "finished"]
        blank: dict[tuple[str, str], list[str]] = {}  # models and reason -> metrics and applications
        for metric in (metric.name for metric in study.metrics):
            taken = protocols(trials, metric)
            if len(taken) > 1:
                each = "; ".join(f"({n}) {in_words(protocol)}" for n, protocol in enumerate(sorted(taken), 1))
                lines.append(f"{metric} on {place} was taken under {len(taken)} protocols, a column for each: {each}")
        for name, reasons in _reasons(study, finished).items():
            models_of: dict[str, set[str]] = {}
            for model, reason in zip(finished["model"], reasons, strict=True):
                models_of.setdefault(CLASS.sub("", reason), set()).add(model)
            for reason in sorted(models_of.keys() - {""}):
                blank.setdefault((", ".join(sorted(models_of[reason])), reason), []).append(name)
        for (models, reason), metrics in blank.items():
            be = "is" if len(metrics) == 1 else "are"
            lines.append(f"{', '.join(metrics)} on {place} {be} blank for {models}: {reason}")
        for model, own in finished.groupby("model") if "code" in finished else ():
            codes = {each for codes in own["code"].fillna("") for each in codes.split(", ")}
            if (versions := len(codes - {""})) > 1:
                words = f"were trained with {versions} versions of its code, and may differ by that"
                lines.append(f"runs of {model!s} on {place} {words}")
            elif versions and (now := code_of(str(model), str(dataset))) and now not in codes:
                lines.append(f"runs of {model!s} on {place} were trained with other code of it than there is here")
            elif versions and "" in codes:
                lines.append(
                    f"not all runs of {model!s} on {place} tell with what version of its code they were trained"
                )
        for state in ("running", "interrupted"):
            if count := int((trials["state"] == state).sum()):
                lines.append(f"{count} trial{' is' if count == 1 else 's are'} {state} on {place}, not finished")
    for _, trial in runs[runs["state"] == "failed"].iterrows():
        where = f"{trial['variant']} seed {trial['seed']} on {trial['dataset']}{unless_test(trial['split'])}"
        lines.append(f"{where} failed: {trial['failure']}: {trial['reason']}")
    return lines


def _reasons(study: Study, trials: pd.DataFrame) -> dict[str, list[str]]:
    """Why each trial's metrics, and pictures of applications, are blank; empty where they are not."""
    found: dict[str, list[str]] = {}
    for name in (metric.name for metric in study.metrics):
        blank = pd.Series("", trials.index)
        reasons = trials.get(f"reason.{name}", blank).fillna("").map(str)
        if not study.is_search:  # which takes most of them of the best alone
            values = trials.get(f"metric.{name}", blank.map({}))
            reasons = reasons.mask(values.isna() & (reasons == ""), UNTAKEN)
        found[name] = list(reasons)
    if "applied" in trials:
        applied = [json.loads(text) for text in trials["applied"].fillna("{}")]
        found |= {name: [each.get(name, "") for each in applied] for name in study.applications}
    return found


def prepared(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs in the study's own order, under names that tell configurations apart; a StudyError where there are none."""
    if not len(runs):
        raise StudyError(f"no trial of study {study.name} is tracked yet; run: bench run study {study.name}")
    return _told_apart(_ordered(study, runs))


def by_protocol(study: Study, runs: pd.DataFrame) -> tuple[Study, pd.DataFrame]:
    """The study and its runs, where a metric was taken under several protocols on one data set with a metric for each instead:
    ``fid (1)``, ``fid (2)``. They stand in columns of their own, and none is compared with another."""
    metrics: list[Metric] = []
    for metric in study.metrics:
        metrics.append(metric)
        value, protocol = f"metric.{metric.name}", f"protocol.{metric.name}"
        numbers = pd.Series(0, runs.index)  # of its protocol, for each run on a data set where there are several
        for _, trials in runs.groupby(["dataset", "split"], sort=False):
            if len(taken := sorted(protocols(trials, metric.name))) > 1:
                own = trials.loc[trials[value].notna() & (trials[protocol].fillna("") != ""), protocol]
                numbers[own.index] = own.map(lambda text, taken=taken: taken.index(_comparable(text)) + 1)
        for number in range(1, numbers.max() + 1):
            metrics.append(replace(metric, name=f"{metric.name} ({number})"))
            of = numbers == number
            runs = runs.assign(**{f"{column} ({number})": runs[column].where(of) for column in (value, protocol)})
        if numbers.any():
            runs = runs.assign(**{value: runs[value].mask(numbers > 0)})
    return (replace(study, metrics=tuple(metrics)), runs) if len(metrics) > len(study.metrics) else (study, runs)


def unnumbered(metric: Metric) -> str:
    """The name of a metric, as studies have it, without the number that `by_protocol` gives it."""
    return metric.name.partition(" (")[0]


def protocols(runs: pd.DataFrame, metric: str, *, trained: bool = False) -> dict[str, list[str]]:
    """The protocols under which the values of a metric were taken, each as sorted JSON, and the variants under each.

    Two of them do not stand in one column. With what a model was ``trained`` in they are for a reader: rows may differ in that.
    """
    if f"protocol.{metric}" not in runs or f"metric.{metric}" not in runs:
        return {}
    found: dict[str, list[str]] = {}
    columns = (runs[name] for name in ("variant", f"metric.{metric}", f"protocol.{metric}"))
    for variant, value, text in zip(*columns, strict=True):  # plain: a few rows, and as often as there are metrics
        if pd.notna(value) and pd.notna(text) and text:
            variants = found.setdefault(_comparable(text, trained=trained), [])
            variants += [variant] if variant not in variants else []
    return found


def _comparable(protocol: str, *, trained: bool = False) -> str:
    """What of a protocol two values must share to be compared, as sorted JSON."""
    facts = json.loads(protocol).items()
    return json.dumps({name: fact for name, fact in facts if trained or name not in TRAINED}, sort_keys=True)


def values_of(trials: pd.DataFrame, metric: str) -> pd.Series[float]:
    """What trials measured, by seed; what is blank or infinite is left out."""
    if (name := f"metric.{metric}") not in trials:
        return pd.Series(dtype=float)
    values = pd.Series(pd.to_numeric(trials[name]).array, trials["seed"])
    return values[values.abs() < LARGEST].dropna()


def in_words(protocol: str) -> str:
    """A protocol in a reader's words."""
    return ", ".join(f"{name} {value}" for name, value in json.loads(protocol).items())


def unless_test(split: str) -> str:
    """What follows a data set's name where it was not measured on the test split."""
    return "" if split == "test" else f", {split} split"


def _told_apart(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, a variant's name followed by what differs where it stands for several configurations.

    Names hold rounded values, and a path's images may have changed: such trials are no replicates of one another.
    """
    names = runs["variant"].to_dict()
    for _, alike in runs.groupby(["dataset", "split", "variant"], sort=False):
        if alike["configuration"].nunique() > 1:
            facts = [n for n in map(str, alike) if n.startswith("param.") or n in ("model", "fingerprint")]
            differing = [name for name in facts if alike[name].nunique(dropna=False) > 1]
            for index, run in alike.iterrows():
                words = [f"{name.removeprefix('param.')}={run[name]}" for name in differing]
                names[index] = f"{run['variant']} ({', '.join(words)})"
    return runs.assign(variant=pd.Series(names))


def _summarised(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of one data set and split."""
    rows: list[dict[str, object]] = []
    values: list[dict[str, pd.Series[float]]] = []  # by metric and seed, for each row
    names = [metric.name for metric in study.metrics]
    for (dataset, split, variant, _), trials in runs.groupby(ROW, sort=False):
        finished = trials[trials["state"] == "finished"]
        rows.append({"dataset": dataset, "split": split, "variant": variant, "model": trials["model"].iloc[0]})
        values.append({n: values_of(finished, n) for n in names})
        for name, found in values[-1].items():
            taken = protocols(finished, name)
            rows[-1] |= {
                f"{name}_mean": found.mean(),
                f"{name}_std": found.std(),  # of a sample, blank for one seed
                f"{name}_n": len(found),
                f"{name}_seeds": " ".join(str(seed) for seed in sorted(found.index)),
                f"{name}_interval": interval(list(found)),
                **{f"{name}_{mark}": any(fact in json.loads(text) for text in taken) for mark, fact in MARKED.items()},
            }
        for cost in ("parameters", "epochs", "seconds_per_epoch", "images_per_second", "peak_megabytes"):
            rows[-1][cost] = pd.to_numeric(finished[cost]).mean()
        rows[-1] |= {"finished": len(finished), "total": len(trials), "success_rate": len(finished) / len(trials)}
    table = pd.DataFrame(rows)
    compared = [_compared(metric, pd.to_numeric(table[f"{metric.name}_mean"]), values) for metric in study.metrics]
    return pd.concat([table, *compared], axis=1)


def _compared(metric: Metric, means: pd.Series[float], values: list[dict[str, pd.Series[float]]]) -> pd.DataFrame:
    """Every row's mean of a metric compared with the best one; where nothing was tested, no mean is called best."""
    name, costs = metric.name, metric.sign * means
    if not metric.directed or costs.notna().sum() < 2:
        return pd.DataFrame({f"{name}_p": math.nan, **dict.fromkeys(_marks(name), False)}, index=means.index)
    best, leader = costs == costs.min(), values[int(costs.argmin())][name]
    others = costs.notna() & ~best
    differences: list[Iterable[float]] = [
        (own[name] - leader).dropna() if other else [] for own, other in zip(values, others, strict=True)
    ]
    p = pd.Series(holm([apart(list(each)) for each in differences]), index=means.index)
    tested = bool(p.notna().any()) or (len(leader) > 1 and not others.any())
    marks = dict(zip(_marks(name), (best & tested, p > LEVEL, others & p.isna()), strict=True))
    return pd.DataFrame({f"{name}_p": p, **marks})


def _marks(name: str) -> tuple[str, str, str]:
    return f"{name}_best", f"{name}_tied", f"{name}_untested"


def _ordered(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """The study's own order of data sets and variants; a search's best first, its confirmed ones before its proposals."""
    datasets = {name: index for index, name in enumerate(study.datasets)}
    labels = {name: index for index, name in enumerate(study.labels())}
    rows = rows.reset_index(drop=True)
    keys = pd.DataFrame(index=rows.index)
    keys["dataset"] = rows["dataset"].map(datasets).fillna(len(datasets))
    keys["path"] = rows["dataset"]
    keys["split"] = (rows["split"] != "test").astype(int)
    keys["label"] = [labels.get(name, labels.get(name.partition(" (")[0], len(labels))) for name in rows["variant"]]
    name = study.objective.name
    objective = f"{name}_mean" if f"{name}_mean" in rows else f"metric.{name}"
    if study.is_search and objective in rows:
        keys["objective"] = study.objective.sign * pd.to_numeric(rows[objective])
    ties = [name for name in ("variant", "seed", "configuration") if name in rows]
    keys[ties] = rows[ties]
    order = keys.sort_values(list(keys.columns), kind="stable").index
    return rows if order.is_monotonic_increasing else rows.loc[order].reset_index(drop=True)
