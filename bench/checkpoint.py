"""What a trial keeps while it trains, so that it goes on bit for bit after whatever stopped it."""

from __future__ import annotations

import copy
import io
import json
import math
import shutil
import sys
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from bench.contract import Model
from bench.files import sha256, write_whole
from bench.memory import available, in_words
from bench.optimizers import Optimizers
from bench.seeds import Purpose
from bench.text import reason

CONTENTS = "checkpoint.json"  # the file that is written last and names all others
KINDS = {"trial": str, "epoch": int, "threads": int, "files": dict}  # what stands in it
MOST_THREADS = 4096


@dataclass(frozen=True)
class Progress:
    """What one epoch came to; epoch 0 is the model before its first step, which has taken no step.

    Attributes:
        train: each loss term, averaged over the epoch's steps as they were taken: in train mode, on augmented images.
        train_eval: each loss term on the `counterpart` of the held-out split, taken as ``held_out`` is, so that the two compare.
        held_out: each loss term on the held-out split, in eval mode, at the epoch's end, of the averaged weights of players that
            keep an average.
        seconds: spent on the epoch's steps alone.
        images_per_second: training images per second of them.
        peak_megabytes: the most memory held so far, on the GPU where there is one and else by the process.
        energy: watt-hours that the machine's own counters rose by during the epoch's steps, by what they count (`bench.energy`).
        past: told again from a checkpoint: the model may be further on, and is not to be looked at for this epoch.
    """

    epoch: int
    train: dict[str, float]
    train_eval: dict[str, float]
    held_out: dict[str, float]
    seconds: float
    images_per_second: float
    peak_megabytes: float
    energy: dict[str, float] = field(default_factory=dict)
    past: bool = field(default=False, compare=False)


class Checkpoint:
    """All that a trial needs to go on: weights and their averages, optimisers, random state, and the history of its measures.

    It is a folder. ``checkpoint.json``, replaced whole and last, names every file that belongs to it with its SHA-256: those that
    are written here, and what whoever trains has laid beside them, pictures of the epochs so far. What it does not name was made
    after it, and is removed where training goes on from it. Where a file is not what it was, the trial starts again: it would
    end as another model.
    """

    def __init__(
        self, folder: Path, model: Model, optimizers: Optimizers, generators: Mapping[Purpose, torch.Generator]
    ) -> None:
        """``generators`` are those that the training draws from beside torch's own."""
        self.folder = folder
        self.model = model
        self.optimizers = optimizers
        self.generators = generators

    def save(self, history: list[Progress]) -> None:
        """Write the state after the last epoch of ``history``.

        Raises:
            OSError: it cannot be written; the last checkpoint stands.
        """
        epoch = history[-1].epoch
        state = io.BytesIO()
        torch.save({"history": json.dumps([asdict(progress) for progress in history]), **self._state()}, state)
        weights = {name: value.contiguous() for name, value in self.model.state_dict().items()}
        own = {f"model-{epoch}.safetensors": save(weights), f"state-{epoch}.pt": state.getvalue()}
        for name, content in own.items():
            write_whole(self.folder / name, content)
        beside = [
            file.name
            for file in self.folder.iterdir()
            if file.name != CONTENTS and not file.name.startswith((".", "model-", "state-"))
        ]
        digests = {name: sha256((self.folder / name).read_bytes()) for name in sorted([*own, *beside])}
        contents = {"trial": self.folder.name, "epoch": epoch, "threads": torch.get_num_threads(), "files": digests}
        sealed = {**contents, "sha256": _seal(contents)}
        write_whole(self.folder / CONTENTS, json.dumps(sealed, indent=1).encode())
        self._keep({CONTENTS, *digests})

    def restore(self) -> list[Progress]:
        """Put the saved state back and return its history; empty where there is none, or none that can be used."""
        if not (self.folder / CONTENTS).exists():
            self._keep(())
            return []
        before = copy.deepcopy((self.model.state_dict(), self._state()))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's remarks on what it did not write, and refuses
                contents = _contents(self.folder)
                files = {name: self._checked(name, digest) for name, digest in contents["files"].items()}
                epoch = contents["epoch"]
                state = torch.load(io.BytesIO(files[f"state-{epoch}.pt"]), weights_only=True, map_location="cpu")
                history = _history(state["history"], epoch)
                self._put_back(load(files[f"model-{epoch}.safetensors"]), state)
        except Exception as error:  # whatever it is, the next attempt would meet it again
            line = f"checkpoint in {self.folder} cannot be read ({reason(error)}): the trial starts again"
            print(line, file=sys.stderr)
            self._put_back(*before)
            self._keep(())
            return []
        self._keep({CONTENTS, *files})
        return history

    def _state(self) -> dict[str, Any]:
        """What it takes beside the weights."""
        return {
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.by_player.items()},
            "averages": self.optimizers.averages.by_player,
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if self.model.device.type == "cuda" else None,
        }

    def _put_back(self, weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        own = {name: value.dtype for name, value in self.model.state_dict().items()}
        if own != {name: value.dtype for name, value in weights.items()}:
            raise ValueError("its weights are of other types")
        self.model.load_state_dict(weights)
        self.optimizers.restore(state["optimizers"])
        self.optimizers.averages.restore(state["averages"])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        torch.set_rng_state(state["random"])
        if state["cuda"] is not None and self.model.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"])

    def _checked(self, name: str, digest: str) -> bytes:
        content = _bytes(self.folder / name)
        if sha256(content) != digest:
            raise ValueError(f"{name} is not what was written")
        return content

    def _keep(self, names: Collection[str]) -> None:
        """Remove everything else from the folder."""
        if self.folder.is_dir():
            for file in self.folder.iterdir():
                if file.name not in names:
                    shutil.rmtree(file) if file.is_dir() else file.unlink()
        else:
            self.folder.unlink(missing_ok=True)


def threads_of(folder: Path) -> int | None:
    """The number of processor threads under which the trial in ``folder`` was trained; None where nothing there tells.

    Sums are taken in another order by another number, and end in other digits.
    """
    try:
        return int(_contents(folder)["threads"])
    except (OSError, ValueError):
        return None


def files_of(folder: Path) -> list[str]:
    """The names of all files of the checkpoint in ``folder``, sorted; none where there is no checkpoint."""
    try:
        return sorted(_contents(folder)["files"])
    except (OSError, ValueError):
        return []


def _contents(folder: Path) -> dict[str, Any]:
    """What ``checkpoint.json`` says.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: it is damaged, or that of another trial.
    """
    try:
        contents = json.loads(_bytes(folder / CONTENTS))
    except RecursionError:
        contents = None
    if not isinstance(contents, dict) or contents.pop("sha256", None) != _seal(contents):
        raise ValueError(f"{CONTENTS} is not what was written")
    if any(type(contents.get(name)) is not kind for name, kind in KINDS.items()):
        raise ValueError(f"{CONTENTS} is not of this version of the suite")
    if not 0 < contents["threads"] <= MOST_THREADS:
        raise ValueError(f"{CONTENTS} says that it had {contents['threads']} threads")
    if contents["trial"] != folder.name:
        raise ValueError(f"it is the trial {contents['trial']}'s")
    return contents


def _bytes(file: Path) -> bytes:
    """What a file holds.

    Raises:
        ValueError: it is none, or there is no memory for it.
    """
    size = file.stat().st_size
    if not file.is_file():  # a pipe would be waited for without end
        raise ValueError(f"{file.name} is no file")
    if size > (room := available()):
        raise ValueError(f"{file.name} takes {in_words(size)} of memory, and there are {in_words(room)}")
    return file.read_bytes()


def _history(text: str, epoch: int) -> list[Progress]:
    """The measures of every epoch up to ``epoch``, as they were written.

    Raises:
        Exception: they are something else.
    """
    history = [Progress(**{**progress, "past": True}) for progress in json.loads(text)]
    for number, each in enumerate(history):
        measures = [*each.train.items(), *each.train_eval.items(), *each.held_out.items(), *each.energy.items()]
        numbers = [each.seconds, each.images_per_second, each.peak_megabytes, *(value for _, value in measures)]
        if each.epoch != number or not all(map(math.isfinite, numbers)):
            raise ValueError("its history is none")
    if len(history) != epoch + 1:
        raise ValueError(f"its history is one of {len(history) - 1} epochs, not of {epoch}")
    return history


def _seal(contents: Mapping[str, Any]) -> str:
    return sha256(json.dumps(contents, sort_keys=True).encode())
