"""The layers of a model as tables, in the manner of Keras's ``summary()``: names, output shapes, counts of parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace

from torch import Tensor, nn
from torch.nn.utils.parametrize import type_before_parametrizations

from bench.contract import Batch, Model, eval_mode

MOVING = ("running_mean", "running_var")  # statistics of batch normalisation, which Keras counts as parameters


@dataclass(frozen=True)
class Layer:
    """One row of a table.

    Attributes:
        name: its place in the network, as in ``body.0.1``; empty for the network itself.
        kind: its class, as in ``Conv2d``.
        shape: of what it makes of one image or code, at its first call; None where a step never calls it.
        calls: how often one training step calls it.
        trainable: parameters that are learnt.
        fixed: parameters that are not, and moving statistics.
    """

    name: str
    kind: str
    shape: tuple[int, ...] | None
    calls: int
    trainable: int
    fixed: int


@dataclass
class _Call:
    shape: tuple[int, ...]
    count: int = 0


def layer_tables(model: Model, batch: Batch) -> dict[str, dict[str, list[Layer]]]:
    """The layers of every network of every player, in the order in which they were defined: ``tables[player][network]``.

    A layer is a module that holds no others, or that has parameters of its own; what a weight is computed from (spectral
    normalisation) belongs to the layer whose weight it is. Every parameter is counted once. One training step is taken on
    ``batch``, which learns nothing and leaves no trace.
    """
    calls = _one_step(model, batch)
    places = {module: place for place, module in model.named_modules()}
    counted: set[nn.Parameter] = set()
    return {
        player: {places.get(network) or player: list(_layers(network, calls, counted)) for network in _networks(part)}
        for player, part in model.players().items()
    }


def _one_step(model: Model, batch: Batch) -> dict[nn.Module, _Call]:
    """What each module was called for in one step, in eval mode, where a layer does not ask how many images it is given."""
    calls: dict[nn.Module, _Call] = {}

    def called(module: nn.Module, inputs: object, output: object) -> None:
        calls.setdefault(module, _Call(_shape(output))).count += 1

    with ExitStack() as hooks, eval_mode(model):
        for module in model.modules():
            hooks.callback(module.register_forward_hook(called).remove)
        model.step(replace(batch, further=(batch,) * model.further_batches), lambda player, loss: None)
    return calls


def _networks(part: nn.Module) -> list[nn.Module]:
    """What a player comes apart into where it is but a list of networks, or the model itself."""
    bare = isinstance(part, (Model, nn.ModuleList, nn.ModuleDict)) and not list(part.parameters(recurse=False))
    return list(part.children()) if bare else [part]


def _layers(network: nn.Module, calls: Mapping[nn.Module, _Call], counted: set[nn.Parameter]) -> Iterator[Layer]:
    for place, module in network.named_modules():
        if "parametrizations" in place.split("."):
            continue
        inside = [child for name, child in module.named_children() if name != "parametrizations"]
        parameters = list(module.parameters(recurse=False))
        if (computed := getattr(module, "parametrizations", None)) is not None:
            parameters += computed.parameters()
        if inside and not parameters:
            continue
        parameters = [each for each in parameters if each not in counted]
        counted.update(parameters)
        trainable = sum(each.numel() for each in parameters if each.requires_grad)
        moving = sum(each.numel() for name, each in module.named_buffers(recurse=False) if name in MOVING)
        call = calls.get(module)
        yield Layer(
            place,
            type_before_parametrizations(module).__name__,
            call.shape if call else None,
            call.count if call else 0,
            trainable,
            sum(each.numel() for each in parameters) - trainable + moving,
        )


def _shape(output: object) -> tuple[int, ...]:
    """Of the first tensor in what a module returns, without the batch."""
    while isinstance(output, (tuple, list)):
        output = output[0]
    return tuple(output.shape[1:]) if isinstance(output, Tensor) else ()
