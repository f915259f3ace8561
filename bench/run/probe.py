"""How long trials may take of which none like them has run: a few batches of each configuration, trained by the loop itself."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import torch

from bench.batches import steps_per_epoch
from bench.contract import in_order
from bench.data import Data, Part
from bench.optimizers import TrainingOptions
from bench.run.plan import Planner
from bench.run.resources import cores
from bench.run.worker import build, choose_device, use_threads
from bench.study.definition import Trial
from bench.text import reason
from bench.training import counterpart, mean_terms, train

SECONDS = 2.0  # that the batches of one configuration take, but for one that takes longer by itself
MOST = 10  # configurations that are tried, at even distances through all of them
IMAGES = 64  # held-out ones that are looked at
BATCHES = 50  # more tell nothing new


@dataclass(frozen=True)
class Probed:
    """What was found.

    Attributes:
        seconds: that the training of a trial may take, by configuration; where it was not tried, the mean of its model's.
        tried: how many configurations were.
        batches: how many were timed.
        reason: why the last that could not be tried could not; empty where all could.
    """

    seconds: Mapping[str, float]
    tried: int
    batches: int
    reason: str


def probe(trials: Sequence[Trial], planner: Planner, slots: int) -> Probed:
    """Train a few batches of each configuration with as many threads as it will have among ``slots``; nothing is kept."""
    different = list({trial.configuration: trial for trial in trials}.values())
    chosen = (
        [different[place * len(different) // MOST] for place in range(MOST)] if len(different) > MOST else different
    )
    seconds: dict[str, float] = {}
    by_model: dict[str, list[float]] = {}
    batches, why = 0, ""
    threads = torch.get_num_threads()
    use_threads(max(1, cores() // slots))
    try:
        for trial in chosen:
            try:
                took, number = _timed(trial, planner.data(trial))
            except Exception as error:  # what a model raises here it raises in its own trial, which is where it is told
                why = reason(error)
                continue
            seconds[trial.configuration] = took
            by_model.setdefault(trial.model, []).append(took)
            batches += number
    finally:
        use_threads(threads)
    tried = len(seconds)
    for trial in different if tried else ():
        alike = by_model.get(trial.model) or [value for values in by_model.values() for value in values]
        seconds.setdefault(trial.configuration, fmean(alike))
    return Probed(seconds, tried, batches, why)


def _timed(trial: Trial, data: Data) -> tuple[float, int]:
    """How long the trial's training may take in seconds, and of how many batches that is told."""
    options = TrainingOptions.from_settings(trial.settings["training"])
    batch_size = min(options.batch_size, len(data.train))
    model = build(trial, data.spec).to(choose_device())
    steps = [1]  # the first batch takes longer than any other: what is computed, or read, once is computed then
    for number in steps:
        some = few(data, number, batch_size).to(model.device)
        *_, progress = train(model, some, replace(options, epochs=1), seed=trial.seed)
        made = steps_per_epoch(len(some.train), batch_size, some.parts)
        step = progress.seconds / made
        if number == 1 and 2 * step < SECONDS:
            steps.append(max(2, min(BATCHES, int(SECONDS / step))))
    began = time.perf_counter()
    mean_terms(model, in_order(some.held_out))
    image = (time.perf_counter() - began) / len(some.held_out)
    looked_at = len(data.held_out) + len(counterpart(data))
    each = step * steps_per_epoch(len(data.train), batch_size, data.parts)
    return options.epochs * each + (options.epochs + 1) * looked_at * image, made


def few(data: Data, batches: int, batch_size: int) -> Data:
    """As many of the training images as make so many batches, every part of a batch among them, and a few held-out ones."""
    images = batches * batch_size
    if data.parts:
        pieces = [part.index[: max(1, round(images * part.share))] for part in data.parts]
    else:
        pieces = [torch.arange(min(images, len(data.train)))]
    ends = torch.tensor([len(piece) for piece in pieces]).cumsum(0)
    parts = tuple(
        Part(torch.arange(int(end) - len(piece), int(end)), part.share)
        for part, piece, end in zip(data.parts, pieces, ends, strict=False)
    )
    index = torch.cat(pieces)
    return replace(
        data,
        train=data.train.take(index),
        train_labels=data.train_labels[index],
        grey=data.grey and data.grey.take(index),
        held_out=data.held_out.take(torch.arange(min(IMAGES, len(data.held_out)))),
        parts=parts,
    )
