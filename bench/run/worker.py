"""One trial from its settings to its scores: what a child process runs, and all that it runs."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import tomli_w
import torch
from safetensors.torch import load_file, save
from threadpoolctl import threadpool_limits

from bench import __version__, registry
from bench.applications import put_to
from bench.batches import DataOptions, prepare
from bench.checkpoint import files_of, threads_of
from bench.closure import code_of
from bench.contract import BrokenModel, DataError, Diverged, Generates, ImageSpec, Model, Unsupported
from bench.data import Data
from bench.datasets import Source, fingerprint, open_dataset
from bench.executors import Lost, failure_of
from bench.files import FULL, sha256, write_whole
from bench.images import png
from bench.measure.context import EvaluationOptions
from bench.measure.evaluation import evaluate, share
from bench.models import model_class
from bench.optimizers import TrainingOptions
from bench.previews import final_pictures, keep, kept, picture_epochs, progress_pictures, training_gif
from bench.run.events import CHECKPOINTS, Asked, Event, Saved, forget
from bench.run.events import Epoch as Epoch
from bench.run.events import Finished as Finished
from bench.run.events import Started as Started
from bench.run.saved import TRIAL, WEIGHTS, check_weights, describe, kept_in
from bench.score import Score
from bench.seeds import derived
from bench.study.definition import Failure, Trial
from bench.study.naming import applied_file
from bench.tracking.names import CODE
from bench.training import train

NO_MEMORY = re.compile("can't allocate memory|not enough memory")  # as torch says it of a processor's


@dataclass(frozen=True)
class Work:
    """``work(trial)`` for an executor: plain values only, so that it travels to another process.

    Attributes:
        asked: what is had of every model at the end.
        data_dir: where data sets are.
        folder: holds checkpoints by key, and the caches that trials share.
        again: trials that are trained already, by key.
        guests: the folder that holds the user's own components, where there is one.
        pictures: epochs after which pictures are drawn beside the usual ones.
        threads: under which trials were begun, by key: they end in the same digits under no other number.
        first: the trials, by key, that make what all share for their measures before they train and not when they are measured:
            else those that begin together would come to it together, and wait for the one that makes it.
        changed_anew: whether a trial is begun anew that other code of its model began.
        checkpoint_seconds: between two checkpoints of a trial, where it is not the usual time.
    """

    asked: Asked
    data_dir: Path
    folder: Path
    again: Mapping[str, Saved]
    guests: Path | None = None
    pictures: tuple[int, ...] = ()
    threads: Mapping[str, int] = field(default_factory=dict)
    first: frozenset[str] = frozenset()
    changed_anew: bool = False
    checkpoint_seconds: float | None = None
    tell_saved: ClassVar[bool] = False  # see `bench.training.train`

    def __call__(self, trial: Trial) -> Iterator[Event]:
        """Train and measure; what goes wrong comes out as the last event, under the class of its cause."""
        share = os.environ.get("OMP_NUM_THREADS")
        use_threads(threads_of(self.checkpoint(trial)) or self.threads.get(trial.key) or int(share or 1))
        registry.visit(self.guests)
        try:
            yield from self._measure(trial) if trial.key in self.again else self._train(trial)
        except Diverged as error:
            yield Failure("diverged", str(error))
        except DataError as error:
            yield Failure("data", str(error))
        except Unsupported as error:
            yield Failure("bad configuration", str(error))
        except BrokenModel as error:
            where = registry.place(error) or registry.find("models", trial.model).origin
            yield Failure("error", f"{where}: {error}", traceback.format_exc())
        except Lost as error:
            yield failure_of(error)
        except (torch.OutOfMemoryError, MemoryError) as error:
            yield Failure("out of memory", _line(error), traceback.format_exc())
        except RuntimeError as error:
            kind = "out of memory" if NO_MEMORY.search(str(error)) else "error"
            yield Failure(kind, _line(error), traceback.format_exc())
        except OSError as error:
            kind = "disk full" if error.errno in FULL else "error"
            yield Failure(kind, _line(error), traceback.format_exc())
        except Exception as error:
            yield Failure("error", _line(error), traceback.format_exc())

    def checkpoint(self, trial: Trial) -> Path:
        """Where the trial keeps what it needs to go on."""
        return self.folder / CHECKPOINTS / trial.key

    def _train(self, trial: Trial) -> Iterator[Event]:
        device = choose_device()
        data = self._data(trial).to(device)
        model = build(trial, data.spec).to(device)
        guests = registry.guests(models=trial.model, datasets=trial.dataset)
        folder = self.checkpoint(trial)
        codes, now = codes_in(folder), code_of(trial.model, trial.dataset)
        if self.changed_anew and {*codes} - {now}:
            forget(folder)
            codes = []
        if now not in codes[-1:]:
            codes.append(now)
        tags = {**_surroundings(device), "guests": json.dumps(guests), CODE: ", ".join(dict.fromkeys(codes))}
        yield Started(parameter_count(model), tags, _data_facts(data))
        if trial.key in self.first and device.type == "cpu":
            options, cache = EvaluationOptions(**trial.settings["evaluation"]), self.folder / "cache"
            share(data, self.asked.metrics, options, cache=cache, data_dir=self.data_dir, on_gpu=False)
        training = TrainingOptions.from_settings(trial.settings["training"])
        due = picture_epochs(training.epochs, self.pictures)
        rarely: dict[str, Any] = (
            {} if self.checkpoint_seconds is None else {"checkpoint_seconds": self.checkpoint_seconds}
        )
        told = self.tell_saved
        for progress in train(model, data, training, seed=trial.seed, folder=folder, tell_saved=told, **rarely):
            if not progress.epoch:  # beside the checkpoint, for whoever goes on from it
                write_whole(folder / f"{CODE}-{len(codes):03}-{codes[-1]}", b"")
            if progress.epoch in due and not progress.past and not kept(folder, progress.epoch):
                keep(folder, progress.epoch, progress_pictures(model, data))
            yield Epoch(progress, kept(folder, progress.epoch))
        files = {f"final/{name}.png": png(picture) for name, picture in final_pictures(model, data).items()}
        if isinstance(model, Generates):
            files["final/training.gif"] = training_gif(folder, "samples")
        weights = save({name: value.contiguous() for name, value in model.state_dict().items()})
        files |= {TRIAL: tomli_w.dumps(describe(trial, data.spec, weights)).encode(), WEIGHTS: weights}
        pictures, applied = put_to_use(model, data, self.asked.applications)
        yield Finished(self._scores(model, data, trial, self.asked.metrics), files | pictures, applied)

    def _measure(self, trial: Trial) -> Iterator[Event]:
        device = choose_device()
        saved = self.again[trial.key]
        if not saved.weights.is_file():
            raise DataError(
                f"{saved.weights.name} is gone, or the run came here without it: train it again with --rerun"
            )
        if saved.sha256 not in ("", sha256(saved.weights.read_bytes())):
            raise DataError(f"{saved.weights.name} is damaged: train it again with --rerun")
        data = self._data(trial).to(device)
        model = build(trial, data.spec).to(device)
        try:
            check_weights(model, saved.weights)
        except DataError as error:
            raise DataError(f"{error}: train it again with --rerun") from None
        weights = load_file(saved.weights, device=str(device))
        model.load_state_dict(weights)
        yield Finished(
            self._scores(model, data, trial, saved.asked.metrics, kept_in(weights)),
            *put_to_use(model, data, saved.asked.applications),
        )

    def _data(self, trial: Trial) -> Data:
        """What the trial's key says it is trained on."""
        if trial.fingerprint and fingerprint(trial.dataset, self.data_dir) != trial.fingerprint:
            raise DataError(f"{trial.dataset} has changed since this study was started: run it again")
        return load_data(trial, self.data_dir)

    def _scores(
        self, model: Model, data: Data, trial: Trial, metrics: Sequence[str], weights: str = "float32"
    ) -> dict[str, Score]:
        options, cache = EvaluationOptions(**trial.settings["evaluation"]), self.folder / "cache"
        made = {"precision": trial.settings["training"]["precision"], "weights": weights}
        return evaluate(model, data, metrics, options, cache=cache, data_dir=self.data_dir, **made)


def put_to_use(model: Model, data: Data, applications: Sequence[str]) -> tuple[dict[str, bytes], dict[str, str]]:
    """What applications make of a trained model, each as it is where nobody chooses.

    Returns:
        The picture of each by artifact path; and each with the reason why it made none, empty where it did.
    """
    files, reasons = {}, dict.fromkeys(applications, "")
    for name in applications:
        try:
            made = put_to(registry.load("applications", name), model, data)
        except Unsupported as error:
            reasons[name] = str(error)
        except Exception as error:  # somebody's own, after hours of training
            reasons[name] = _line(error)
        else:
            files[f"final/{applied_file(name)}"] = made.grid
    return files, reasons


def choose_device() -> torch.device:
    """The GPU that the environment shows, or the processor."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def use_threads(threads: int) -> None:
    """Let torch, and the libraries of linear algebra beside it, use so many processor threads: they may have been read before."""
    torch.set_num_threads(threads)
    threadpool_limits(threads)


def load_data(trial: Trial, data_dir: Path) -> Data:
    """The trial's data set with its ``[data]`` settings applied.

    Raises:
        DataError: it cannot be had, or the settings do not fit it.
    """
    return prepared(trial, open_dataset(trial.dataset, data_dir, data_options(trial).image_size))


def prepared(trial: Trial, source: Source) -> Data:
    """A data set that is open, with the trial's ``[data]`` settings applied.

    Raises:
        DataError: the settings do not fit it.
    """
    splits, options = (source.train, source.test), data_options(trial)
    data = prepare(source.name, source.spec, *splits, options, source.validation, seed=trial.seed)
    return replace(data, resized=source.resized)


def data_options(trial: Trial) -> DataOptions:
    """The ``[data]`` settings of a trial."""
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in trial.settings["data"].items()
    }
    return DataOptions(**options)


def build(trial: Trial, spec: ImageSpec) -> Model:
    """The trial's untrained model, its weights drawn from the trial's seed.

    Raises:
        Unsupported: the model cannot be built for these images, ``[training.<player>]`` names no player of it, or a training
            option makes no sense.
    """
    torch.manual_seed(derived(trial.seed, "weights"))
    model = model_class(trial.model)(spec, **trial.settings["params"])
    options, players = TrainingOptions.from_settings(trial.settings["training"]), model.players()
    for name in options.players or ():
        if name not in players:
            raise Unsupported(registry.unknown(f"player of {trial.model}", name, list(players)))
        options.of(name)
    return model


def parameter_count(model: Model) -> int:
    """Trainable numbers; moving statistics are not counted."""
    return sum(parameter.numel() for parameter in model.parameters())


def codes_in(folder: Path) -> list[str]:
    """The digests of all code that trained the checkpoint in ``folder``, the first one first; none where there is no checkpoint.

    Each is the name of a file that is never written again: a checkpoint is whole for as long as no file that it names changes.
    Empty stands for code that is not told.
    """
    files = files_of(folder)
    codes = [name.split("-", 2)[2] for name in files if name.startswith(f"{CODE}-")]
    return codes or ([""] if files else [])


def _surroundings(device: torch.device) -> dict[str, str]:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread(s)"
    versions = {"bench": __version__, "python": platform.python_version(), "torch": torch.__version__}
    return {"device": name, "threads": str(torch.get_num_threads()), "versions": json.dumps(versions)}


def _data_facts(data: Data) -> dict[str, str]:
    digest = hashlib.sha256()  # over all labels: those that are hidden differ from seed to seed
    for images, labels in ((data.train.images, data.train_labels), (data.held_out.images, data.held_out.labels)):
        digest.update(images.cpu().numpy().tobytes())
        digest.update(labels.cpu().numpy().tobytes())
    return {"sha256": digest.hexdigest(), "train": str(len(data.train)), data.held_out_name: str(len(data.held_out))}


def _line(error: BaseException) -> str:
    """What is wrong, and where in the user's own files."""
    text, place = str(error).strip(), registry.place(error)
    what = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    return f"{place}: {what}" if place else what
