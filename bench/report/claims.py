"""What the runs of a study say of each claim of its source: holds, does not hold, or cannot tell from so few seeds.

One rule for all: a claim says where an effect lies (below zero, beyond a margin, within one). It holds where the 95 % interval
of the effect over the seeds lies wholly there, it does not hold where the interval lies wholly elsewhere, and between the two
nothing can be told. The p-value is that of the test that the interval belongs to, after Holm's correction over the claims that
are tested on one data set: each data set answers for itself, and what one says is not taken back where another is run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import pandas as pd

from bench.report.cells import told_in
from bench.report.curves import of_curves, terms_of
from bench.report.significance import LEVEL, holm, interval, lies
from bench.report.tables import in_words, prepared, protocols, values_of
from bench.study.claims import COSTS, Claim, Side, curve_of
from bench.study.definition import Study

UNITS = {"seconds_per_epoch": "s", "images_per_second": "images/s", "peak_megabytes": "MB"}
"""Of what every run has beside its metrics."""
IN_UNITS = {"settling": (1, "epochs"), "reaching": (1, "epochs"), "slope": (100, "% per epoch"), "rise": (100, "%")}
"""Factor and unit of what a curve comes to, where it is not the curve's own."""
CONSTANT = "the same of every seed"
LOSSES = ("train/loss", "train_eval/loss", "test/loss", "validation/loss", "gap/loss")

Verdict = Literal["holds", "does not hold", "cannot tell", "not judged", "open"]


@dataclass(frozen=True)
class Judgement:
    """What is to be said of one claim on one data set.

    Attributes:
        dataset: empty where the claim is judged on none.
        reason: why there was no test; empty where there was.
        n: the seeds that decide: those that every two compared have in common.
        test: its name, or that none is needed; empty where none could be made.
        p: after Holm's correction; the smaller it is, the surer the verdict, whichever it is. NaN without a test.
        means: of everything compared, over its seeds.
        pair: the comparison that decides: of several that must all hold the least certain, or the one that does not.
        effect: the mean of the first of the pair less the second, over the seeds; a share of the second where the margin is one.
        half: half the width of its 95 % interval, uncorrected; not a number where one seed has none.
        factor: by which means, effect and interval are multiplied for a reader.
        unit: in which they are then; empty for none.
    """

    claim: Claim
    verdict: Verdict
    dataset: str = ""
    reason: str = ""
    n: int = 0
    test: str = ""
    p: float = math.nan
    means: tuple[tuple[Side, float], ...] = ()
    pair: tuple[Side, Side] = ("", "")
    effect: float = math.nan
    half: float = math.nan
    factor: int = 1
    unit: str = ""


def judge(study: Study, runs: pd.DataFrame, curves: pd.DataFrame) -> list[Judgement]:
    """Every claim on every data set that it is about, in the study's order; a claim on one that was not run is open.

    Args:
        runs: one row per trial, as `bench.tracking` tables them.
        curves: ``run_id, name, step, value``.
    """
    runs = prepared(study, runs)
    needed = {"run_id", "variant", "dataset", "split", "seed", "state", "device", "epochs", *COSTS}
    needed |= {f"{what}.{claim.metric}" for claim in study.claims for what in ("metric", "protocol", "reason")}
    runs = runs[
        [name for name in runs if name in needed]
    ]  # of hundreds of columns: each claim takes its own rows of it
    tracked = list(dict.fromkeys(runs["dataset"]))
    judgements = []
    for claim in study.claims:
        if claim.why:
            judgements.append(Judgement(claim, "not judged", reason=claim.why))
            continue
        for dataset in claim.datasets or dict.fromkeys((*study.meant_for, *tracked)):
            factor, unit = _told_in(study, claim.metric)
            judged = _judged(claim, dataset, runs[runs["dataset"] == dataset], curves)
            judgements.append(replace(judged, factor=factor, unit=unit))
    for dataset in tracked:
        own = [index for index, each in enumerate(judgements) if each.dataset == dataset]
        corrected = holm([judgements[index].p for index in own])
        for index, p in zip(own, corrected, strict=True):
            each = replace(judgements[index], p=p)
            judgements[index] = replace(each, verdict="cannot tell") if each.test and p > LEVEL else each
    return judgements


def _told_in(study: Study, name: str) -> tuple[int, str]:
    """The factor and the unit of a metric, of a cost, or of what a curve comes to; a loss has those of ``test_loss``."""
    if (curve := curve_of(name)) and curve[0] in IN_UNITS:
        return IN_UNITS[curve[0]]
    name = "test_loss" if name in LOSSES else name
    metric = next((metric for metric in study.metrics if metric.name == name), None)
    return told_in(study, metric) if metric else (1, UNITS.get(name, ""))


def _judged(claim: Claim, dataset: str, runs: pd.DataFrame, curves: pd.DataFrame) -> Judgement:
    """One claim on one data set, the p-value not yet corrected."""
    if not len(runs):
        return Judgement(claim, "open", dataset, reason="not run")
    if missing := [name for name in claim.variants if name not in set(runs["variant"])]:
        return Judgement(claim, "open", dataset, reason=f"{', '.join(missing)} not run")
    trials = runs[runs["variant"].isin(claim.variants)]
    if claim.epochs and (epochs := int(trials["epochs"].min())) < claim.epochs:
        return Judgement(claim, "open", dataset, reason=f"said of {claim.epochs:,} epochs, and trained for {epochs:,}")
    finished = trials[trials["state"] == "finished"]
    own = {name: finished[finished["variant"] == name] for name in claim.variants}
    values = {name: _values(trials, curves, claim.metric, finished) for name, trials in own.items()}
    contrasts = [_contrast(claim, *pair, values) for pair in claim.pairs]
    n = min(map(len, contrasts))
    reason = _protocols_differ(finished, claim.metric)
    if not reason and n < 2:
        reason = _blank(claim, finished, curves, [name for name in values if not len(values[name])])
    means = tuple((name, float(values[name].mean())) for name in claim.variants)
    if reason or n < 1:
        return Judgement(claim, "cannot tell", dataset, reason=reason, n=n)
    if n < 2:  # what one seed came to is told, and nothing made of it
        alone: dict[str, Any] = (
            {"pair": claim.pairs[0], "effect": float(contrasts[0].mean())} if len(contrasts) == 1 else {}
        )
        return Judgement(claim, "cannot tell", dataset, n=n, means=means, **alone)
    each = [lies([list(contrast)], *_bounds(claim)) for contrast in contrasts]
    holds, fails = lies([list(contrast) for contrast in contrasts], *_bounds(claim))
    surest = min(range(len(each)), key=lambda index: each[index][1])
    deciding = surest if fails < holds else max(range(len(each)), key=lambda index: each[index][0])
    contrast = contrasts[deciding]
    constant = all(differences.nunique() == 1 for differences in contrasts)  # which leaves nothing to a test
    return Judgement(
        claim,
        "holds" if holds < fails else "does not hold",
        dataset,
        n=n,
        test=CONSTANT if constant else _test(claim),
        p=math.nan if constant else min(holds, fails),
        means=means,
        pair=claim.pairs[deciding],
        effect=float(contrast.mean()),
        half=interval(list(contrast)),
    )


def _test(claim: Claim) -> str:
    """The test by which a claim is judged, in words."""
    number = next((side for side in claim.sides if not isinstance(side, str)), None)
    kind = "paired t-test" if number is None else "one-sample t-test"
    if claim.relation == "equal":
        kind = f"two one-sided {kind.removeprefix('one-sample ')}s"
    if len(claim.pairs) == 1:
        return kind
    return f"{kind} of every {'step' if claim.ordered else 'pair'}"


def _bounds(claim: Claim) -> tuple[float, float]:
    """Where the claim says that the effect lies."""
    margin = claim.margin
    return {
        "less": (-math.inf, -margin),
        "greater": (margin, math.inf),
        "no_less": (-margin, math.inf),
        "no_greater": (-math.inf, margin),
        "equal": (-margin, margin),
    }[claim.relation]


def _values(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, compared: pd.DataFrame) -> pd.Series[float]:
    """What finished trials of one variant come to, by seed, among all that are compared."""
    if curve_of(metric):
        return of_curves(trials, curves, metric, compared)
    if metric in COSTS:
        return pd.to_numeric(trials.set_index("seed")[metric]).dropna()
    return values_of(trials, metric)


def _contrast(claim: Claim, first: Side, second: Side, values: Mapping[str, pd.Series[float]]) -> pd.Series[float]:
    """The first less the second, by the seeds that both have; a number is the same for every seed."""
    table = pd.DataFrame({place: values.get(str(side), side) for place, side in (("first", first), ("second", second))})
    difference = table["first"] - table["second"]
    return (difference / table["second"].abs() if claim.relative else difference).dropna()


def _protocols_differ(trials: pd.DataFrame, metric: str) -> str:
    """Why values do not compare; empty where they do. A time or a memory compares on one device alone."""
    if metric in COSTS:
        devices = sorted({*trials["device"]} - {""})
        return (
            f"taken on {len(devices)} devices: {'; '.join(devices)}" if metric != "parameters" and devices[1:] else ""
        )
    taken = sorted(protocols(trials, metric))
    return f"taken under {len(taken)} protocols: {'; '.join(map(in_words, taken))}" if len(taken) > 1 else ""


def _blank(claim: Claim, trials: pd.DataFrame, curves: pd.DataFrame, without: list[str]) -> str:
    """Why variants have no value; empty where all that lacks is seeds."""
    own = trials[trials["variant"].isin(without)]
    if not without:
        return ""
    if idle := [name for name in without if name not in set(own["variant"])]:
        return f"no finished trial of {', '.join(idle)}"
    if claim.term:
        there = ", ".join(terms_of(own, curves)) or "none"
        return f"no curve of {claim.term!r} in {', '.join(without)}; there are: {there}"
    reasons = sorted({*own.get(f"reason.{claim.metric}", pd.Series(dtype=str)).fillna("")} - {""})
    return f"{claim.metric} is blank: {'; '.join(reasons)}" if reasons else f"{claim.metric} was not taken"
