"""What the curves of a loss term come to: the numbers by which claims about training itself are judged.

A curve is a term's value after each epoch, the first epoch first. The training curve is averaged over an epoch's steps as they
were taken, the held-out one is taken at the epoch's end, in eval mode. A gap is between held-out images and training images that
are taken likewise: under batch normalisation or dropout train mode makes another function of the same images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import pandas as pd

from bench.score import LARGEST
from bench.study.claims import curve_of

PLATEAU = 0.1  # of the epochs, the last ones, over which a curve's final level is averaged
BAND = 0.1  # of a curve's greatest distance from its final level: how near it counts as there
TAIL = 0.2  # of the epochs, the last ones, along which a slope is taken


def last(curve: Sequence[float]) -> float:
    """The value after the last epoch."""
    return curve[-1]


def settling(curve: Sequence[float]) -> float:
    """The settling time: the epoch from which the curve stays within a tenth of its greatest distance from its final level.

    It says how soon a curve converges to where it ends, wherever that is, so that curves of other levels compare.
    """
    final = curve[-max(1, round(PLATEAU * len(curve))) :]
    level = math.fsum(final) / len(final)
    distances = [abs(value - level) for value in curve]
    away = [epoch for epoch, distance in enumerate(distances, start=1) if distance > BAND * max(distances)]
    return float(min(len(curve), max(away, default=0) + 1))


def reaching(curve: Sequence[float], level: float) -> float:
    """The first epoch at which the curve is as low as ``level``; NaN where it never is.

    With a level that all curves compared come to it says how soon each is that good, wherever it goes from there: one that goes
    on getting better settles late, and may have been better than the others all along.
    """
    return next((float(epoch) for epoch, value in enumerate(curve, start=1) if value <= level), math.nan)


def slope(curve: Sequence[float]) -> float:
    """The least-squares slope over the last fifth of the epochs, per epoch, as a share of the mean there; NaN for one epoch."""
    tail = curve[-max(2, round(TAIL * len(curve))) :]
    middle, level = (len(tail) - 1) / 2, math.fsum(tail) / len(tail)
    if len(tail) < 2 or level == 0:
        return math.nan
    steps = [place - middle for place in range(len(tail))]
    steepness = math.fsum(step * value for step, value in zip(steps, tail, strict=True))
    return steepness / math.fsum(step * step for step in steps) / abs(level)


def rise(curve: Sequence[float]) -> float:
    """The greatest rise above the least value so far, as a share of that: 1 where a loss doubled, 0 where it only fell."""
    least, greatest = math.inf, 0.0
    for value in curve:
        least = min(least, value)
        if least != 0:
            greatest = max(greatest, (value - least) / abs(least))
    return greatest


COMES_TO: Mapping[str, Callable[[Sequence[float]], float]] = {
    "last": last,
    "settling": settling,
    "slope": slope,
    "rise": rise,
}


def of_curves(trials: pd.DataFrame, curves: pd.DataFrame, metric: str, compared: pd.DataFrame) -> pd.Series[float]:
    """What the curves of finished trials come to, by seed; trials without that curve are left out.

    Args:
        trials: rows of runs, with ``run_id, seed, split``.
        curves: ``run_id, name, step, value``.
        metric: as a claim has it, ``train/loss`` or ``gap/loss`` or ``settling/test/loss``.
        compared: the same rows of all that the claim compares, these among them.
    """
    what, split, term = curve_of(metric) or ("", "", "")
    if what == "gap":
        found = {}
        for run, seed, held_out in trials[["run_id", "seed", "split"]].itertuples(index=False):
            ends = [_curve(curves, run, f"{name}/{term}")[-1:] for name in (held_out, "train_eval")]
            if all(ends):
                found[seed] = ends[0][0] - ends[1][0]
    elif what == "reaching":
        levels = dict[int, float]()
        for seed, curve in _by_seed(compared, curves, split, term):
            levels[seed] = max(min(curve), levels.get(seed, -math.inf))
        found = {seed: reaching(curve, levels[seed]) for seed, curve in _by_seed(trials, curves, split, term)}
    else:
        found = {seed: COMES_TO[what](curve) for seed, curve in _by_seed(trials, curves, split, term)}
    return pd.Series(found, dtype=float).dropna()


def terms_of(trials: pd.DataFrame, curves: pd.DataFrame) -> list[str]:
    """The loss terms that trials have curves of."""
    names = curves.loc[curves["run_id"].isin(trials["run_id"]), "name"]
    return sorted({name.split("/", 1)[1] for name in names})


def _by_seed(trials: pd.DataFrame, curves: pd.DataFrame, split: str, term: str) -> Iterator[tuple[int, list[float]]]:
    """The seed and the curve of every trial that has one."""
    for run, seed, held_out in trials[["run_id", "seed", "split"]].itertuples(index=False):
        if curve := _curve(curves, run, f"{split if split == 'train' else held_out}/{term}"):
            yield seed, curve


def _curve(curves: pd.DataFrame, run: str, name: str) -> list[float]:
    """One run's, without the epoch before the first and without infinities."""
    own = curves[(curves["run_id"] == run) & (curves["name"] == name) & (curves["step"] > 0)].sort_values("step")
    return [float(value) for value in own["value"] if abs(value) < LARGEST]
