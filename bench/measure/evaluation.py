"""Measuring a trained model: eval mode, no gradients, randomness of its own; every number with its protocol or its reason."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import torch

from bench import registry
from bench.cache import noted
from bench.contract import Model, Unmeasurable, eval_mode
from bench.data import Data
from bench.measure.context import Context, EvaluationOptions, Precision, Shared
from bench.measure.measurements import MEASURED_BY, measured_by, measurements
from bench.score import Facts, Score

log = logging.getLogger(__name__)


def evaluate(
    model: Model,
    data: Data,
    metrics: Sequence[str],
    options: EvaluationOptions,
    *,
    cache: Path,
    data_dir: Path,
    precision: Precision = "float32",
    weights: str = "float32",
) -> dict[str, Score]:
    """Take every metric; one that cannot be taken, or that raises, is a blank with its reason.

    A measurement is taken once for all of its values that are asked for.

    Args:
        data: on the model's device.
        cache: where what trials share is kept.
        precision: what the model was trained in.
        weights: what its weights were kept in.
    """
    context = Context(model, data, options, cache, data_dir)
    files = measurements().files
    scores: dict[str, Score] = {}
    trained: Facts = {"precision": precision}
    if model.device.type == "cpu":  # where another number of them sums in another order
        trained = {**trained, "threads": torch.get_num_threads()}
    if weights != "float32":
        trained = {**trained, "weights_in": weights}
    for name in metrics:
        if name not in files:
            scores[name] = Score(None, registry.unknown("metric", name, sorted(files)))
        elif name not in scores:
            own: Facts = {MEASURED_BY: by} if (by := measured_by(files[name])) else {}
            taken = take(registry.load("metrics", files[name]), context, {**own, **trained})
            scores |= {each: replace(score, protocol=score.protocol or own) for each, score in taken.items()}
    return {name: scores[name] for name in metrics}


def take(measurement: ModuleType, context: Context, facts: Facts) -> dict[str, Score]:
    """Every value of one file of `bench.metrics`; all of them blank where it raises. ``facts`` join their protocols."""
    model, data = context.model, context.data
    resized: Facts = {"resized": data.resized} if data.resized else {}
    drawn: Facts = {"pixels": "black and white", "binarise": data.binarise} if data.binarise else {}
    common: Facts = {"split": data.held_out_name, "images": len(data.held_out), **resized, **drawn, **facts}
    try:
        if not isinstance(model, measurement.NEEDS):
            raise Unmeasurable(f"{type(model).__name__} is not something that {measurement.NEEDS.__name__.lower()}")
        with eval_mode(model):
            measured = measurement.measure(model, data, context)
        return {name: _finished(measured, name, common) for name in measurement.VALUES}
    except Unmeasurable as error:
        reason = str(error)
    except Exception as error:  # one measurement's fault is not the trial's
        log.exception("measurement %s", measurement.__name__)
        reason = f"{type(error).__name__}: {error}"
    return dict.fromkeys(measurement.VALUES, Score(None, reason))


def share(
    data: Data, metrics: Sequence[str], options: EvaluationOptions, *, cache: Path, data_dir: Path, on_gpu: bool
) -> dict[str, list[Path]]:
    """Make what the trials on ``data`` share for these metrics, and tell where it lies: files in ``cache`` and in ``data_dir``.

    Args:
        data: on the CPU.
        on_gpu: whether they are measured on a GPU: features of real images are kept for the kind of device they were taken on, so
            that only extractors are made here.
    """
    shared, files = Shared(data, options, cache, data_dir), measurements().files
    needed: dict[str, bool] = {}  # extractor -> whether its features of training images are asked for
    for name in metrics:
        module = registry.load("metrics", files[name]) if name in files else None
        if extractor := getattr(module, "EXTRACTOR", None):
            needed[extractor] = needed.get(extractor, False) or getattr(module, "OF_TRAINING", False)
    brought: list[Path] = []
    with noted() as kept:
        for extractor, training in needed.items():
            try:
                features = registry.load("features", extractor)
                if not features.COSTLY_ON_CPU or options.inception_on_cpu or on_gpu:
                    brought += features.files(data_dir) if hasattr(features, "files") else []
                if not (on_gpu and features.COSTLY_ON_CPU):
                    shared.make(extractor, features=not on_gpu, training=training)
            except Unmeasurable:
                pass  # each trial says so of itself
            except Exception:  # one extractor's fault is not the trials'
                log.exception("extractor %s", extractor)
    return {"cache": sorted(file for file in kept if file.is_file()), "data": sorted(set(brought))}


def fetch(metrics: Sequence[str], data_dir: Path, *, costly: bool) -> list[str]:
    """Download what the metrics' extractors need, once and before any trial; a line on every metric that stays blank.

    Args:
        costly: whether extractors that take long without a GPU are going to be used.
    """
    notes = []
    files = measurements().files
    for name in metrics:
        extractor = getattr(registry.load("metrics", files[name]), "EXTRACTOR", None)
        try:
            module = extractor and registry.load("features", extractor)
            if module and (costly or not module.COSTLY_ON_CPU):
                module.fetch(data_dir)
        except (Unmeasurable, registry.RegistryError) as error:
            notes.append(f"{name} will be blank: {error}")
    return notes


def _finished(measured: Mapping[str, Score], name: str, common: Facts) -> Score:
    """One value as it is kept: finite, its protocol as text; or blank."""
    score = measured.get(name, Score(None, "was not among what its file measured"))
    if score.value is None:
        return Score(None, score.reason)
    value = float(score.value)
    if not math.isfinite(value):
        return Score(None, f"came out as {value}")
    return Score(value, "", {fact: str(text) for fact, text in {**common, **score.protocol}.items()})
