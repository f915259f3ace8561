"""The one training loop: `train` yields `Progress` once an epoch, keeps a checkpoint, and raises `Diverged`."""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.batches import accompanied, augmented, steps_per_epoch, stream
from bench.contract import Batch, Diverged, Model, eval_mode, in_order
from bench.data import Data
from bench.seeds import derived

# What a killed trial can lose, beside the epoch it is in; an epoch longer than this loses itself.
CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class PlayerOptions:
    """How one player descends.

    Attributes:
        betas: Adam's and AdamW's moment decay rates.
        gradient_clip: the gradient's norm is cut down to this; None leaves it.
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    gradient_clip: float | None = None


@dataclass(frozen=True)
class TrainingOptions(PlayerOptions):
    """A study's ``[training]`` table: names, types and defaults live here and nowhere else.

    Attributes:
        epochs: passes over the training images.
        precision: ``bfloat16`` runs the step under autocast; parameters and optimisers stay float32.
        players: what single players have to themselves, written ``[training.<player>]`` in a study.
    """

    epochs: int = 20
    batch_size: int = 128
    precision: Literal["float32", "bfloat16"] = "float32"
    players: Mapping[str, Mapping[str, Any]] | None = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> TrainingOptions:
        """The options in a flat ``[training]`` table, in which a value that is a table belongs to the player it names."""
        own = {name: value for name, value in settings.items() if not isinstance(value, Mapping)}
        own["betas"] = tuple(own.get("betas", cls.betas))
        players = {name: value for name, value in settings.items() if isinstance(value, Mapping)}
        return cls(**own, players=players)

    def of(self, player: str) -> PlayerOptions:
        """The options under which ``player`` descends."""
        names = [field.name for field in fields(PlayerOptions)]
        own = dict((self.players or {}).get(player, {}))
        return PlayerOptions(**({name: getattr(self, name) for name in names} | own))


@dataclass(frozen=True)
class Progress:
    """What one epoch came to; epoch 0 is the model before its first step, with held-out losses only.

    Attributes:
        train: each loss term, averaged over the epoch's steps as they were taken.
        held_out: each loss term on the held-out split, in eval mode, at the epoch's end.
        seconds: spent on the epoch's steps alone.
        images_per_second: training images per second of them.
        peak_megabytes: the most memory held so far, on the GPU where there is one and else by the process.
    """

    epoch: int
    train: dict[str, float]
    held_out: dict[str, float]
    seconds: float
    images_per_second: float
    peak_megabytes: float


class Optimizers:
    """The players' optimisers, and the only place where a gradient is computed or a parameter moved."""

    def __init__(self, model: Model, options: TrainingOptions) -> None:
        self.parameters = {name: list(player.parameters()) for name, player in model.players().items()}
        self.options = {name: options.of(name) for name in self.parameters}
        self.by_player = {
            name: _optimizer(parameters, self.options[name]) for name, parameters in self.parameters.items()
        }

    def update(self, player: str, loss: Tensor) -> None:
        """Descend ``player``'s own parameters along ``loss``; no other parameter gets so much as a gradient."""
        parameters = self.parameters[player]
        optimizer = self.by_player[player]
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)
        clip = self.options[player].gradient_clip
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()


def train(
    model: Model,
    data: Data,
    options: TrainingOptions,
    *,
    seed: int,
    folder: Path | None = None,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
) -> Generator[Progress, None, None]:
    """Train ``model`` on ``data.learnt``, yielding once an epoch, epoch 0 first.

    What the caller does between two epochs (draw pictures, write them down) is done before the checkpoint that holds the
    epoch is written. Where ``folder`` holds a checkpoint of this trial the epochs in it are yielded again from its
    history, not trained, and training goes on bit-equal to an undisturbed run on the same device.

    Args:
        data: on the model's device.
        seed: of the order of the images and of whatever the model draws.
        folder: where the checkpoint lives; None keeps none.
        checkpoint_seconds: a checkpoint is written after the first epoch that ends so long after the last, and at the end.

    Raises:
        Diverged: a loss term is no longer finite.
    """
    model.to(memory_format=torch.channels_last)  # convolutions are up to 1.7 times as fast on a CPU
    optimizers = Optimizers(model, options)
    order = torch.Generator().manual_seed(derived(seed, "order"))
    draws = torch.Generator(model.device).manual_seed(derived(seed, "augmentation"))
    torch.manual_seed(derived(seed, "noise"))
    history: list[Progress] = []
    generators = {"order": order, "augmentation": draws}
    checkpoint = Checkpoint(folder, model, optimizers, generators) if folder else None
    if checkpoint:
        history = checkpoint.restore()
    yield from history
    if not history:
        history.append(Progress(0, {}, mean_terms(model, in_order(data.held_out)), 0.0, 0.0, _peak_megabytes(model)))
        yield history[0]
    saved = time.monotonic()
    batch_size = min(options.batch_size, len(data.train))
    steps = steps_per_epoch(len(data.train), batch_size, data.parts)
    own, further = (
        augmented(stream(data.learnt, batch_size, order, data.parts), data.augment, draws) for _ in range(2)
    )
    batches = accompanied(own, further, model.further_batches)
    while (epoch := len(history)) <= options.epochs:
        started = time.perf_counter()
        model.train()
        totals: dict[str, Tensor] = {}
        for _ in range(steps):
            batch = next(batches)
            with torch.autocast(model.device.type, torch.bfloat16, enabled=options.precision == "bfloat16"):
                terms = model.step(batch, optimizers.update)
            for name, value in terms.items():
                totals[name] = totals.get(name, torch.zeros_like(value, dtype=torch.float32)) + value.detach()
        # Reading the sums waits for the device, once an epoch.
        losses = {name: float(total) / steps for name, total in totals.items()}
        seconds = time.perf_counter() - started
        _check_finite(losses, "train", epoch)
        held_out = mean_terms(model, in_order(data.held_out))
        _check_finite(held_out, data.held_out_name, epoch)
        rate = steps * batch_size / seconds
        history.append(Progress(epoch, losses, held_out, seconds, rate, _peak_megabytes(model)))
        yield history[-1]
        if checkpoint and (epoch == options.epochs or time.monotonic() - saved > checkpoint_seconds):
            checkpoint.save(history)
            saved = time.monotonic()


def no_update(player: str, loss: Tensor) -> None:
    """The update that learns nothing, with which ``Model.step`` gives held-out losses."""


def mean_terms(model: Model, batches: Iterable[Batch]) -> dict[str, float]:
    """The loss terms of ``model.step`` averaged over ``batches``, weighted by their sizes, learning nothing."""
    totals: dict[str, Tensor] = {}
    images = 0
    with eval_mode(model):
        for batch in batches:
            images += len(batch)
            for name, value in model.step(batch, no_update).items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value * len(batch)
    return {name: float(total) / images for name, total in totals.items()}


class Checkpoint:
    """All that a trial needs to go on: weights, optimisers, random state, and the history of its measures.

    Two files in one folder, each replaced whole: ``model.safetensors`` and ``state.pt``, which names the epoch of the
    weights it belongs to, so that a kill between the two is seen.
    """

    def __init__(
        self, folder: Path, model: Model, optimizers: Optimizers, generators: Mapping[str, torch.Generator]
    ) -> None:
        """``generators`` are those that the training draws from beside torch's own."""
        self.folder = folder
        self.model = model
        self.optimizers = optimizers
        self.generators = generators

    def save(self, history: list[Progress]) -> None:
        """Write the state after the last epoch of ``history``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        epoch = history[-1].epoch
        weights = self.folder / f"model-{epoch}.safetensors"
        weights.write_bytes(b"")
        save_file({name: value.contiguous() for name, value in self.model.state_dict().items()}, weights)
        state = {
            "epoch": epoch,
            "history": json.dumps([asdict(progress) for progress in history]),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.by_player.items()},
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "random": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if self.model.device.type == "cuda" else None,
        }
        partial = self.folder / "state.partial"
        torch.save(state, partial)
        os.replace(partial, self.folder / "state.pt")
        for old in self.folder.glob("model-*.safetensors"):
            if old != weights:
                old.unlink()

    def restore(self) -> list[Progress]:
        """Put the saved state back and return its history; empty where there is none, or none that can be read."""
        try:
            state = torch.load(self.folder / "state.pt", weights_only=True, map_location="cpu")
            weights = load_file(self.folder / f"model-{state['epoch']}.safetensors")
        except FileNotFoundError:
            return []
        except (OSError, RuntimeError, EOFError, KeyError, SafetensorError) as error:
            print(f"checkpoint in {self.folder} cannot be read ({error}): the trial starts again", file=sys.stderr)
            return []
        self.model.load_state_dict(weights)
        for name, optimizer in self.optimizers.by_player.items():
            optimizer.load_state_dict(state["optimizers"][name])
        for name, generator in self.generators.items():
            generator.set_state(state["generators"][name])
        torch.set_rng_state(state["random"])
        if state["cuda"] is not None and self.model.device.type == "cuda":
            torch.cuda.set_rng_state(state["cuda"])
        return [Progress(**progress) for progress in json.loads(state["history"])]


def _optimizer(parameters: list[torch.nn.Parameter], options: PlayerOptions) -> torch.optim.Optimizer:
    common: dict[str, Any] = {"lr": options.learning_rate, "weight_decay": options.weight_decay}
    # Fused where torch has it: a step of a small fully connected VAE is 1.4 times as fast on one core.
    match options.optimizer:
        case "adam":
            return torch.optim.Adam(parameters, betas=options.betas, fused=True, **common)
        case "adamw":
            return torch.optim.AdamW(parameters, betas=options.betas, fused=True, **common)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, **common)
        case "sgd":
            return torch.optim.SGD(parameters, fused=True, **common)


def _check_finite(losses: Mapping[str, float], split: str, epoch: int) -> None:
    for name, value in losses.items():
        if not math.isfinite(value):
            raise Diverged(f"{split} loss term {name!r} is {value} in epoch {epoch}")


def _peak_megabytes(model: Model) -> float:
    if model.device.type == "cuda":
        return torch.cuda.max_memory_allocated(model.device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)  # macOS counts bytes, Linux kibibytes
