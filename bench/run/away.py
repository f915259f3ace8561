"""A trial on a machine that has none of the driver's files: what goes along, what comes back, and what lies where meanwhile.

What many trials need alike, the decoded data set, what they share for measuring, the user's own components, is an `Errand`: done
once, on the driver's machine, and brought to each node by whoever runs the trials. What is one trial's own, its checkpoint and
its saved weights, goes with it. Nothing of it stays behind.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from bench import registry
from bench.checkpoint import CONTENTS
from bench.contract import DataError, Model, Split
from bench.data import Data
from bench.datasets import Source, open_dataset
from bench.executors import Errand, Kept
from bench.files import FULL, write_whole
from bench.measure.context import EvaluationOptions
from bench.measure.evaluation import share
from bench.run.events import Epoch, Event
from bench.run.worker import Work, data_options, load_data, prepared, use_threads
from bench.score import Score
from bench.study.definition import Failure, Trial
from bench.text import reason
from bench.training import CHECKPOINT_SECONDS

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]
Away = Callable[[Trial, Sequence[Callable[[], Any]]], Iterator[Any]]
Facts = Mapping[str, Any]
Files = Mapping[str, bytes]
PLACE = "bench-trials"  # where trials have their folders, in a node's folder for what is temporary
CHECKPOINTS_A_SECOND = 5  # that come of all trials: of 10 MB each takes a driver 45 ms, most of it its disk's
CLEAR_PEAK = b"5"  # what sets a process's peak of memory back to what it holds: proc(5), clear_refs


@dataclass(frozen=True)
class Guests:
    """The user's own components as text, by their place in the folder."""

    folder: Path

    def __call__(self) -> Files:
        """Read them."""
        files = [file for kind in registry.KINDS for file in sorted((self.folder / kind).glob("*.py"))]
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}


@dataclass(frozen=True)
class Opened:
    """A data set, decoded; as arrays, which nodes hand on to their trials without a copy."""

    dataset: str
    image_size: int | None
    data_dir: Path
    guests: Path | None

    def __call__(self) -> tuple[Facts, list[Arrays | None]]:
        """Open it: what is said of it, and the images and labels of its three splits.

        Raises:
            DataError: it cannot be had.
        """
        registry.visit(self.guests)
        source = open_dataset(self.dataset, self.data_dir, self.image_size)
        splits = (source.train, source.test, source.validation)
        arrays = [None if each is None else (each.images.numpy(), each.labels.numpy()) for each in splits]
        return {name: getattr(source, name) for name in ("name", "spec", "resized", "fingerprint")}, arrays


@dataclass(frozen=True)
class Measuring:
    """What the trials on the same images share for measuring, made in the store's own cache: its files, by their places.

    Attributes:
        settings: the trial's ``[data]`` and ``[evaluation]``, as JSON.
        threads: that it is made under, as the trials' are.
    """

    dataset: str
    settings: str
    metrics: tuple[str, ...]
    cache: Path
    data_dir: Path
    guests: Path | None
    threads: int
    on_gpu: bool

    def __call__(self) -> Files:
        """Make it, or read it.

        Raises:
            DataError: the data set cannot be had.
        """
        registry.visit(self.guests)
        use_threads(self.threads)
        settings = json.loads(self.settings)
        trial = Trial("", "", self.dataset, 0, settings)
        data, options = load_data(trial, self.data_dir), EvaluationOptions(**settings["evaluation"])
        found = share(data, self.metrics, options, cache=self.cache, data_dir=self.data_dir, on_gpu=self.on_gpu)
        return {f"{place}/{file.name}": file.read_bytes() for place, files in found.items() for file in files}


@dataclass(frozen=True)
class Travelling(Work):
    """Work for executors of any kind: here as it is, and elsewhere with all that it needs; see `bench.executors.Travels`."""

    def pack(self, trial: Trial, threads: int, gpu: bool, at_once: int) -> tuple[Away, Sequence[Errand]]:
        """What is done on another machine, and what is brought to it.

        Raises:
            OSError: what it is to go on from cannot be read.
        """
        folder, saved = self.checkpoint(trial), self.again.get(trial.key)
        weights = saved.weights.read_bytes() if saved and saved.weights.is_file() else None
        alone = {each.name: getattr(self, each.name) for each in fields(Work)}
        # What is made first is an errand there.
        alone |= {"again": {trial.key: saved} if saved else {}, "guests": None, "first": frozenset()}
        alone |= {"threads": {key: each for key, each in self.threads.items() if key == trial.key}}
        if (seconds := at_once / CHECKPOINTS_A_SECOND) > CHECKPOINT_SECONDS:
            alone |= {"checkpoint_seconds": seconds}
        settings = {name: dict(trial.settings[name]) for name in ("data", "evaluation")}
        # Which labels a model may see is each seed's own; what measures sees them all.
        settings["data"]["labelled"] = None
        metrics = (saved.asked if saved else self.asked).metrics
        where: dict[str, Any] = {"data_dir": self.data_dir, "guests": self.guests}
        errands: list[Errand] = [
            Opened(trial.dataset, data_options(trial).image_size, **where),
            Measuring(
                trial.dataset,
                json.dumps(settings),
                metrics,
                self.folder / "cache",
                threads=threads,
                on_gpu=gpu,
                **where,
            ),
        ]
        errands += [Guests(self.guests)] if self.guests else []
        return Trip(edition(), alone, _read(folder), weights), errands

    def receive(self, trial: Trial, kept: Kept) -> Failure | None:
        """Lay a checkpoint where the trial's own is, its contents last, in place of what was there."""
        folder = self.checkpoint(trial)
        try:
            for name, content in sorted(kept.files.items(), key=lambda item: item[0] == CONTENTS):
                if not ((folder / name).is_file() and (folder / name).read_bytes() == content):
                    write_whole(folder / name, content)
            for file in folder.iterdir():
                if file.name not in kept.files:
                    file.unlink()
        except OSError as error:
            return Failure("disk full" if error.errno in FULL else "error", f"its checkpoint: {reason(error)}")
        return None


@dataclass(frozen=True)
class Trip:
    """One trial's work on another machine, in a folder of its own that is removed at its end.

    Attributes:
        edition: of the suite that the driver runs; see `edition`.
        work: the fields of the driver's `Work`.
        checkpoint: what the trial goes on from, by file name.
        weights: of the trained model, where it is to be measured again.
    """

    edition: str
    work: Mapping[str, Any]
    checkpoint: Files
    weights: bytes | None

    def __call__(self, trial: Trial, bring: Sequence[Callable[[], Any]]) -> Iterator[Event | Kept]:
        """The trial's events, and its checkpoint whenever that is a new one."""
        if self.edition != (here := edition()):
            yield Failure("bad configuration", f"this node has {here}, and the driver {self.edition}: install the same")
            return
        opened, measuring, *guests = bring
        with suppress(OSError), open("/proc/self/clear_refs", "wb") as peak:
            peak.write(CLEAR_PEAK)  # a process that has done another trial before tells this one's
        with _folder() as folder:
            if guests:
                _write(folder / "guests", guests[0]())
            own = {**self.work, "folder": folder, "data_dir": folder / "data"}
            own["guests"] = folder / "guests" if guests else None
            if saved := own["again"].get(trial.key):
                if self.weights is not None:
                    _write(folder, {saved.weights.name: self.weights})
                own["again"] = {trial.key: replace(saved, weights=folder / saved.weights.name)}
            work = _There(**own, opened=opened, measuring=measuring)
            _write(work.checkpoint(trial), self.checkpoint)
            contents = self.checkpoint.get(CONTENTS)
            told = -1
            try:
                for event in work(trial):
                    if isinstance(event, Epoch) and event.progress.epoch <= told:  # told again, since it is kept by now
                        files = _read(work.checkpoint(trial))
                        if files.get(CONTENTS) != contents:
                            contents = files.get(CONTENTS)
                            yield Kept(files)
                        continue
                    if isinstance(event, Epoch):
                        told = event.progress.epoch
                    yield event
            finally:
                registry.visit(None)


@dataclass(frozen=True)
class _There(Work):
    """Work whose data set and shared files are brought to it, each when it is asked for."""

    opened: Callable[[], tuple[Facts, list[Arrays | None]]] = field(kw_only=True)
    measuring: Callable[[], Files] = field(kw_only=True)
    tell_saved: ClassVar[bool] = True

    def _data(self, trial: Trial) -> Data:
        facts, arrays = self.opened()
        if trial.fingerprint and facts["fingerprint"] != trial.fingerprint:
            raise DataError(f"{trial.dataset} has changed since this study was started: run it again")
        train, test, validation = (each and Split(*(torch.tensor(array) for array in each)) for each in arrays)
        assert train is not None
        assert test is not None
        return prepared(trial, Source(train=train, test=test, validation=validation, **facts))

    def _scores(
        self, model: Model, data: Data, trial: Trial, metrics: Sequence[str], weights: str = "float32"
    ) -> dict[str, Score]:
        _write(self.folder, self.measuring())
        return super()._scores(model, data, trial, metrics, weights)


@cache
def edition() -> str:
    """The suite as it is here, and torch's version: two machines that differ in one of them would train two things."""
    from bench import __version__

    code = hashlib.sha256()
    for file in sorted(registry.PACKAGE.rglob("*.py")):
        code.update(file.relative_to(registry.PACKAGE).as_posix().encode() + file.read_bytes())
    return f"bench {__version__} ({code.hexdigest()[:8]}) with torch {torch.__version__.partition('+')[0]}"


@contextmanager
def _folder() -> Iterator[Path]:
    """A folder that is gone afterwards; those that killed trials have left go first."""
    place = Path(tempfile.gettempdir()) / f"{PLACE}-{os.getuid()}"
    place.mkdir(mode=0o700, exist_ok=True)
    if place.stat().st_uid != os.getuid():
        raise PermissionError(f"{place} is somebody else's")
    for left in place.glob("*.lock"):
        with suppress(Timeout, OSError), FileLock(left, timeout=0):
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            left.unlink()
    folder = place / uuid4().hex
    with FileLock(folder.with_suffix(".lock")):
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            folder.with_suffix(".lock").unlink(missing_ok=True)


def _read(folder: Path) -> dict[str, bytes]:
    """A checkpoint's files, where there is one."""
    if not (folder / CONTENTS).is_file():
        return {}
    return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
