"""How players learn: the options of a study's ``[training]`` table, and the only place where a gradient is computed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from bench.contract import BrokenModel, Model, Unsupported, Update
from bench.ranges import Within
from bench.registry import unknown

# What an optimiser keeps of every parameter, as torch names it, beside the number of its steps.
MOMENTS = {"adam": ("exp_avg", "exp_avg_sq"), "adamw": ("exp_avg", "exp_avg_sq"), "rmsprop": ("square_avg",), "sgd": ()}


@dataclass(frozen=True)
class PlayerOptions:
    """How one player descends.

    Attributes:
        betas: Adam's and AdamW's moment decay rates.
        gradient_clip: the gradient's norm is cut down to this; None leaves it.
        schedule: how the learning rate falls, to zero at the end of the training, after the warm-up.
        warmup: the training's first steps, in which the rate rises linearly; below 1 their share of all steps.
        ema: the decay per step of an exponential moving average of the weights, which is then what is looked at, measured and
            saved, while training goes on with the weights themselves; None looks at those.

    Raises:
        Unsupported: a value that makes no sense.
    """

    optimizer: Literal["adam", "adamw", "rmsprop", "sgd"] = "adam"
    learning_rate: Annotated[float, Within(above=0)] = 1e-3
    betas: tuple[Annotated[float, Within(least=0, below=1)], Annotated[float, Within(least=0, below=1)]] = (0.9, 0.999)
    weight_decay: Annotated[float, Within(least=0)] = 0.0
    gradient_clip: Annotated[float, Within(above=0)] | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: float = 0.0
    ema: float | None = None

    def __post_init__(self) -> None:
        if not self.warmup >= 0 or (self.warmup > 1 and self.warmup % 1):
            raise Unsupported(f"warmup = {self.warmup}: must be a whole number of steps, or below 1 a share of them")
        if self.ema is not None and not 0 < self.ema < 1:
            raise Unsupported(f"ema = {self.ema}: must be more than 0 and less than 1")

    def rate(self, step: int, steps: int) -> float:
        """The learning rate in a step, counted from 0, of so many in the whole training.

        Warm-up: Goyal et al., Accurate, Large Minibatch SGD, 2017, section 2.2; cosine: Loshchilov and Hutter, SGDR, 2017,
        equation 5, without restarts.
        """
        warmup = round(self.warmup * steps) if self.warmup < 1 else int(self.warmup)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        done = (step - warmup) / (steps - warmup)
        left = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 + 0.5 * math.cos(math.pi * done)}
        return self.learning_rate * left[self.schedule]


@dataclass(frozen=True)
class TrainingOptions(PlayerOptions):
    """A study's ``[training]`` table: names, types, ranges and defaults live here and nowhere else.

    Attributes:
        epochs: passes over the training images.
        precision: ``bfloat16`` runs the step under autocast; parameters and optimisers stay float32.
        players: what single players have to themselves, written ``[training.<player>]`` in a study.
    """

    epochs: Annotated[int, Within(least=1)] = 20
    batch_size: Annotated[int, Within(least=1)] = 128
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


class Optimizers:
    """The players' optimisers, and the only place where a gradient is computed or a parameter moved."""

    def __init__(self, model: Model, options: TrainingOptions) -> None:
        self.parameters = {name: list(player.parameters()) for name, player in model.players().items()}
        self.options = {name: options.of(name) for name in self.parameters}
        self.by_player = {
            name: _optimizer(parameters, self.options[name]) for name, parameters in self.parameters.items()
        }
        self._constant = {name: list(map(_constant, each.param_groups)) for name, each in self.by_player.items()}
        self.averages = Averages(
            {name: (self.parameters[name], own.ema) for name, own in self.options.items() if own.ema is not None}
        )

    def restore(self, by_player: Mapping[str, dict[str, Any]]) -> None:
        """Put back the state of every optimiser.

        Raises:
            ValueError: one of them is not such as this one has; torch's fused steps would read beyond its end.
            Exception: torch does not take it.
        """
        for name, optimizer in self.by_player.items():
            optimizer.load_state_dict(by_player[name])
            if list(map(_constant, optimizer.param_groups)) != self._constant[name]:
                raise ValueError(f"the optimiser of {name} was one with other options")
            kept = {"step", *MOMENTS[self.options[name].optimizer]}
            for parameter, state in optimizer.state.items():
                shapes = {key: value.shape for key, value in state.items() if value is not None}
                if shapes and shapes != {key: () if key == "step" else parameter.shape for key in kept}:
                    raise ValueError(f"the optimiser of {name} was that of other parameters")

    def begin(self, step: int, steps: int) -> None:
        """Set the learning rates for a step of the model, counted from 0, of so many in the whole training."""
        for name, optimizer in self.by_player.items():
            for group in optimizer.param_groups:
                group["lr"] = self.options[name].rate(step, steps)

    def update(self, player: str, loss: Tensor) -> None:
        """Descend ``player``'s own parameters along ``loss``; no other parameter gets so much as a gradient."""
        try:
            parameters = self.parameters[player]
        except (KeyError, TypeError):
            raise _no_player(player, list(self.parameters)) from None
        optimizer = self.by_player[player]
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=parameters)
        clip = self.options[player].gradient_clip
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(parameters, clip)
        optimizer.step()
        torch.clear_autocast_cache()  # of the weights as they were: who comes next in the step sees them as they are


class Averages:
    """Exponential moving averages of players' weights, and the way to look at a model through them.

    After k steps the average is the mean of the weights w_1 ... w_k after each, w_i weighing decay^(k - i): Kingma and Ba, Adam,
    2015, section 7.2, with the correction there, so that the untrained weights have no part in it. What is no parameter is not
    averaged: the latest statistics of batch normalisation serve both, as in StyleGAN2 and in torch's own ``AveragedModel``.

    Attributes:
        by_player: the averages of the players that have one, parameter by parameter; before the first step, the weights.
    """

    def __init__(self, averaged: Mapping[str, tuple[Sequence[nn.Parameter], float]]) -> None:
        """``averaged`` is the parameters of a player, and the decay of their average."""
        self._averaged = averaged
        self.by_player = {
            name: [parameter.detach().clone() for parameter in parameters] for name, (parameters, _) in averaged.items()
        }

    def update(self, step: int) -> None:
        """Take in the weights after a step of the model, counted from 1."""
        for name, (parameters, decay) in self._averaged.items():
            weight = (1 - decay) / (1 - decay**step)
            with torch.no_grad():
                for average, parameter in zip(self.by_player[name], parameters, strict=True):
                    average.lerp_(parameter, weight)

    @torch.no_grad()
    def restore(self, by_player: Mapping[str, Sequence[Tensor]]) -> None:
        """Put back the averages that `by_player` held."""
        for name, averages in self.by_player.items():
            for average, saved in zip(averages, by_player[name], strict=True):
                average.copy_(saved.reshape(average.shape))

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Put the averages in the weights' place, and the weights back afterwards."""
        self.exchange()
        try:
            yield
        finally:
            self.exchange()

    @torch.no_grad()
    def exchange(self) -> None:
        """Let weights and averages change places."""
        for name, (parameters, _) in self._averaged.items():
            for average, parameter in zip(self.by_player[name], parameters, strict=True):
                weights = parameter.clone()
                parameter.copy_(average)
                average.copy_(weights)


def checking(players: Sequence[str]) -> Update:
    """An update that learns nothing, and refuses what `Optimizers.update` could not do for these players."""

    def update(player: str, loss: Tensor) -> None:
        if player not in players:
            raise _no_player(player, players)
        found = f"one of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            raise BrokenModel(
                f"update({player!r}, ...) must be given a loss that is one number in a Tensor, not {found}"
            )

    return update


def _no_player(player: object, players: Sequence[str]) -> BrokenModel:
    if isinstance(player, str):
        return BrokenModel(unknown("player", player, players))
    return BrokenModel(
        f"update must be given the name of a player first, not {type(player).__name__}; there are: {', '.join(players)}"
    )


def _constant(group: Mapping[str, Any]) -> dict[str, Any]:
    """The options of an optimiser that stay as they are."""
    return {name: value for name, value in group.items() if name not in ("params", "lr")}


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
