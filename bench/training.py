"""The one training loop: `train` yields `Progress` once an epoch, keeps a checkpoint, and raises `Diverged`."""

from __future__ import annotations

import math
import resource
import sys
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bench.batches import accompanied, augmented, steps_per_epoch, stream
from bench.checkpoint import Checkpoint, Progress
from bench.contract import HIDDEN, Batch, BrokenModel, Diverged, Model, Split, Update, eval_mode, in_order
from bench.data import Data
from bench.energy import Meter
from bench.optimizers import Optimizers, TrainingOptions, checking
from bench.seeds import Purpose, derived

# What a killed trial can lose, beside the epoch it is in; an epoch longer than this loses itself.
CHECKPOINT_SECONDS = 30.0
# Training images that are looked at again after every epoch. An image costs 0.3 to 0.6 of what learning from it does, so these
# cost 1 % of an epoch of 60,000 images, and 3 to 6 % of one of 10,000.
SEEN_AGAIN = 1000


def train(
    model: Model,
    data: Data,
    options: TrainingOptions,
    *,
    seed: int,
    folder: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    tell_saved: bool = False,
) -> Generator[Progress, None, None]:
    """Train ``model`` on ``data.learnt``, yielding once an epoch, epoch 0 first.

    What the caller does between two epochs (draw pictures, write them down) is done before the checkpoint that holds the
    epoch is written. Where ``folder`` holds a checkpoint of this trial the epochs in it are yielded again from its
    history, not trained, and training goes on bit-equal to an undisturbed run on the same device with as many threads.

    Between two epochs and at the end ``model`` has the averaged weights of the players that keep an average (``ema``).

    Args:
        data: on the model's device.
        seed: of the order of the images and of whatever the model draws.
        folder: where the checkpoint lives; None keeps none.
        checkpoint_seconds: a checkpoint is written after the first epoch that ends so long after the last, and at the end.
        tell_saved: yield an epoch once more, as one that is past, when a checkpoint holds it: for whoever carries that elsewhere.

    Raises:
        Diverged: a loss term is no longer finite.
        BrokenModel: it does otherwise than its contract says, which most do before they learn anything.
    """
    model.to(memory_format=torch.channels_last)  # convolutions are up to 1.7 times as fast on a CPU
    optimizers = Optimizers(model, options)
    cpu, here = torch.device("cpu"), model.device
    drawn_on: dict[Purpose, torch.device] = {"order": cpu, "augmentation": here}
    drawn_on |= {"further order": cpu, "further augmentation": here}
    generators = {name: torch.Generator(where).manual_seed(derived(seed, name)) for name, where in drawn_on.items()}
    torch.manual_seed(derived(seed, "noise"))
    history: list[Progress] = []
    checkpoint = Checkpoint(folder, model, optimizers, generators) if folder else None
    if checkpoint:
        history = checkpoint.restore()
    averages, seen = optimizers.averages, counterpart(data)
    with averages.shown():
        yield from history
    if not history:
        _settle(model, seen)
        update = checking(list(optimizers.parameters))
        train_eval, held_out = (mean_terms(model, in_order(split), update) for split in (seen, data.held_out))
        history.append(Progress(0, {}, train_eval, held_out, 0.0, 0.0, _peak_megabytes(model)))
        yield history[0]
    saved, meter = time.monotonic(), Meter(_gpu_uuid(model))
    # One that is switched off would still take 19 µs of every step.
    autocast = options.precision == "bfloat16"
    batch_size = min(options.batch_size, len(data.train))
    steps = steps_per_epoch(len(data.train), batch_size, data.parts)

    def batches_of(order: Purpose, augmentation: Purpose) -> Iterator[Batch]:
        plain = stream(data.learnt, batch_size, generators[order], data.parts)
        return augmented(plain, data.augment, generators[augmentation])

    further = batches_of("further order", "further augmentation")
    batches = accompanied(batches_of("order", "augmentation"), further, model.further_batches)
    while (epoch := len(history)) <= options.epochs:
        meter.watt_hours()  # what was drawn since the last epoch is nobody's
        started = time.perf_counter()
        model.train()
        totals: dict[str, Tensor] = {}
        for step in range((epoch - 1) * steps, epoch * steps):
            batch = next(batches)
            meter.look()
            optimizers.begin(step, options.epochs * steps)
            with torch.autocast(here.type, torch.bfloat16) if autocast else nullcontext():
                terms = model.step(batch, optimizers.update)
            averages.update(step + 1)
            for name, value in terms.items():
                if name not in totals:
                    totals[name] = torch.zeros_like(value, dtype=torch.float32)
                totals[name] += value.detach()
        # Reading the sums waits for the device, once an epoch.
        losses = {name: float(total) / steps for name, total in totals.items()}
        seconds, energy = time.perf_counter() - started, meter.watt_hours()
        _check_finite(losses, "train", epoch)
        with averages.shown():
            train_eval, held_out = (mean_terms(model, in_order(split)) for split in (seen, data.held_out))
            _check_finite(train_eval, "train_eval", epoch)
            _check_finite(held_out, data.held_out_name, epoch)
            _settle(model, data.train if epoch == options.epochs else seen)
            rate = steps * batch_size / seconds
            peak = _peak_megabytes(model)
            history.append(Progress(epoch, losses, train_eval, held_out, seconds, rate, peak, energy))
            yield history[-1]
        if checkpoint and (epoch == options.epochs or time.monotonic() - saved > checkpoint_seconds):
            checkpoint.save(history)
            saved = time.monotonic()
            if tell_saved:
                yield replace(history[-1], past=True)
    averages.exchange()


def counterpart(data: Data) -> Split:
    """Training images to look at as held-out ones are looked at, in every trial the same: as many, but at most 1,000.

    None of their labels is withheld, as none of the held-out ones' is: of images without them a model that learns from labels
    computes another function.
    """
    images = Split(data.train.images, data.train_labels)
    if data.spec.classes:
        images = images.take((images.labels != HIDDEN).nonzero().flatten())
    return images.take(images.spaced(min(len(images), len(data.held_out), SEEN_AGAIN)))


def no_update(player: str, loss: Tensor) -> None:
    """The update that learns nothing, with which ``Model.step`` gives held-out losses."""


def mean_terms(model: Model, batches: Iterable[Batch], update: Update = no_update) -> dict[str, float]:
    """The loss terms of ``model.step`` averaged over ``batches``, weighted by their sizes, learning nothing.

    Raises:
        BrokenModel: it returns none.
    """
    totals: dict[str, Tensor] = {}
    images = 0
    with eval_mode(model):
        for batch in batches:
            terms = model.step(batch, update)
            if not images:
                _check_terms(terms)
            images += len(batch)
            for name, value in terms.items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value * len(batch)
    return {name: float(total) / images for name, total in totals.items()}


def _settle(model: Model, images: Split) -> None:
    with eval_mode(model):
        model.settle(in_order(images))


def _check_terms(terms: object) -> None:
    """Refuse what `bench.contract.Model.step` does not promise.

    Raises:
        BrokenModel: it is no such thing.
    """
    right = "must return its loss terms by name, each one number in a Tensor, as {'loss': loss}"
    if not isinstance(terms, Mapping):
        raise BrokenModel(f"step {right}, not {'nothing' if terms is None else type(terms).__name__}")
    for name, value in terms.items():
        found = f"of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        if not isinstance(name, str) or not isinstance(value, Tensor) or value.numel() != 1:
            raise BrokenModel(f"step {right}; its {name!r} is {found}")


def _check_finite(losses: Mapping[str, float], split: str, epoch: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise Diverged(f"{split} loss term {name!r} is {value} in epoch {epoch}")


def _peak_megabytes(model: Model) -> float:
    if model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(model.device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux kibibytes


def _gpu_uuid(model: Model) -> str:
    return f"GPU-{torch.cuda.get_device_properties(model.device).uuid}" if model.device.type == "cuda" else ""
