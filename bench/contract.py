"""What models and data sets promise to whoever trains and measures them. Read this file first.

Images are float32 ``[B, C, H, W]`` in ``[0, 1]`` wherever they cross a border between rooms, and uint8 while they are
stored. Labels are int64 ``[B]``. Losses are in nats per image: summed over pixels and latent units, averaged over the batch.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from bench.errors import BrokenModel as BrokenModel
from bench.errors import DataError as DataError
from bench.errors import Diverged as Diverged
from bench.errors import Unmeasurable as Unmeasurable
from bench.errors import Unsupported as Unsupported
from bench.subsets import spaced

HIDDEN = -1  # the label of an image whose label is withheld or unknown


@dataclass(frozen=True)
class ImageSpec:
    """All that a model is told of a data set: the shape of one image and the names of its classes, if it has any."""

    channels: int
    height: int
    width: int
    classes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(C, H, W)``"""
        return self.channels, self.height, self.width

    @property
    def pixels(self) -> int:
        """``C * H * W``, the length of one flattened image."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Split:
    """One part of a data set, whole and in memory.

    Attributes:
        images: uint8 ``[N, C, H, W]``.
        labels: int64 ``[N]``; ``HIDDEN`` where unknown.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or self.images.ndim != 4:
            raise ValueError(f"images must be uint8 [N, C, H, W], not {self.images.dtype} {list(self.images.shape)}")
        if self.labels.dtype != torch.int64 or self.labels.shape != self.images.shape[:1]:
            raise ValueError(
                f"labels must be int64 [{len(self.images)}], not {self.labels.dtype} {list(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.images)

    def take(self, index: Tensor) -> Split:
        """The images and labels at ``index``, an int64 or boolean tensor of one dimension."""
        return Split(self.images[index], self.labels[index])

    def spaced(self, n: int) -> Tensor:
        """int64 ``[n]``: places through the whole split, in whatever order its classes are; some recur in a short one."""
        return spaced(len(self), n).to(self.images.device)

    def to(self, device: torch.device) -> Split:
        """The same split on ``device``: it moves once, batches are index selections there."""
        return Split(self.images.to(device), self.labels.to(device))


@dataclass(frozen=True)
class Batch:
    """What one training step sees.

    Attributes:
        images: float32 ``[B, C, H, W]`` in ``[0, 1]``.
        labels: int64 ``[B]``; ``HIDDEN`` where unknown.
        weights: float32 ``[B]``, how much of the training images each stands for, 1 on average; None where all stand for as much.
        further: whole batches beside this one, as many as ``Model.further_batches`` asks for; none where nothing is learnt.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor | None = None
    further: tuple[Batch, ...] = ()

    def __len__(self) -> int:
        return len(self.images)


def as_floats(pixels: Tensor) -> Tensor:
    """uint8 of any shape, as images are stored, to float32 in ``[0, 1]``."""
    return torch.div(pixels, 255)


def in_order(split: Split, batch_size: int = 500) -> Iterator[Batch]:
    """The whole split once, in its own order, as float batches of at most ``batch_size``."""
    for start in range(0, len(split), batch_size):
        part = slice(start, start + batch_size)
        yield Batch(as_floats(split.images[part]), split.labels[part])


Update = Callable[[str, Tensor], None]  # update(player, loss) descends that player's own parameters and no others


class Model(nn.Module, ABC):
    """A system that learns. Every subclass is final; what two systems share is a block in ``networks/``.

    The constructor is ``__init__(self, spec: ImageSpec, *, ...)``: its keyword arguments are the model's hyperparameters, and
    their names, types and defaults live there and nowhere else. It raises ``Unsupported`` where ``spec`` or a combination of
    hyperparameters cannot work. Beside the class, its file holds ``TRAINING``, the training options that this system wants
    where they differ from ``optimizers.TrainingOptions``.

    What it can do stands in its class line, ``class VAE(Model, Generates, Infers)``: pictures, metrics and applications follow
    from the capabilities below. A ``condition`` is what `condition_of` makes.
    """

    further_batches = 0  # that a step takes beside its own, for a critic that learns more often than its opponent

    @abstractmethod
    def players(self) -> dict[str, nn.Module]:
        """The parts with an optimiser and a loss of their own, by name. Together they hold every parameter once."""

    @abstractmethod
    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Run the algorithm on one batch as its paper prints it, calling ``update`` once per player's descent.

        Returns the loss terms, each a scalar in nats per image unless its name says otherwise; a model that minimises
        one objective calls it ``"loss"``. With an update that does nothing, the same method gives the held-out losses.
        """

    def settle(self, batches: Iterable[Batch]) -> None:
        """Take in what the model keeps of training images as a whole and no step learns, such as a prior that is fitted to codes.

        It is called before the model is looked at, in eval mode and without gradients: with some training images after every
        epoch, with all of them after the last.
        """

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


class Decodes(ABC):
    """Has an image for every code: what `Generates`, `Autoencodes` and `Draws` have in common."""

    @abstractmethod
    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, ...]`` to float32 ``[B, C, H, W]`` in ``[0, 1]``."""

    def unbounded(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """`decode`, before values beyond ``[0, 1]`` are cut off: of a network with a linear output; of others the same."""
        return self.decode(z, condition)


class Generates(Decodes):
    """Makes new images, of codes that are drawn from a prior: the latents of a VAE, the noise of a GAN.

    So it interpolates between two draws.
    """

    @abstractmethod
    def codes(self, n: int) -> Tensor:
        """``n`` draws from the prior of the codes, ``[n, ...]``."""

    def sample(self, n: int, condition: Tensor | None = None) -> Tensor:
        """``n`` new images, float32 ``[n, C, H, W]`` in ``[0, 1]``."""
        return self.decode(self.codes(n), condition)


class Autoencodes(Decodes):
    """Has a code for every image, so it reconstructs, and interpolates between images."""

    @abstractmethod
    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to codes ``[B, ...]``: the mean where the code is a distribution."""


class Infers(Autoencodes):
    """Has a Gaussian distribution over the codes of an image, with independent units."""

    @abstractmethod
    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to the mean and the log-variance of their codes, ``[B, ...]`` each."""

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """The means of `posterior`."""
        return self.posterior(images, condition)[0]


class Draws(Decodes):
    """Paints the image of a code over several steps."""

    @abstractmethod
    def canvases(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, ...]`` to what is painted after each step, float32 ``[T, B, C, H, W]`` in ``[0, 1]``."""

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """The last of the `canvases`."""
        return self.canvases(z, condition)[-1]


class Classifies(ABC):
    """Tells the class of an image."""

    @abstractmethod
    def classify(self, images: Tensor) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to logits ``[B, classes]``."""


Condition = Literal["labels", "left_half"]


class Conditional(ABC):
    """Can be told what image is meant: by int64 labels ``[B]``, or by left halves, float32 ``[B, C, H, W // 2]``."""

    condition: Condition | None  # None where its hyperparameters make it a model that is told nothing


def conditioned_on(model: Model | Decodes) -> Condition | None:
    """What ``model`` is told of an image: its label, its left half, or nothing."""
    return model.condition if isinstance(model, Conditional) else None


def condition_of(model: Model | Decodes, batch: Batch) -> Tensor | None:
    """What ``model`` is told of the images in ``batch``: their labels, their left halves, or None."""
    told = conditioned_on(model)
    if told == "left_half":
        return left_half(batch.images)
    return batch.labels if told == "labels" else None


def left_half(images: Tensor) -> Tensor:
    """``[B, C, H, W]`` to ``[B, C, H, W // 2]``."""
    return images[..., : images.shape[3] // 2]


def reconstruct(model: Autoencodes, batch: Batch) -> Tensor:
    """The images of ``batch`` decoded from their (mean) codes.

    Raises:
        BrokenModel, Diverged: they are no images, as `as_promised` says.
    """
    condition = condition_of(model, batch)
    return as_promised(model.decode(model.encode(batch.images, condition), condition), batch.images.shape, "decode")


def as_promised(images: Tensor, shape: Sequence[int], what: str) -> Tensor:
    """What a model has made, where it is images: float32 of ``shape`` in ``[0, 1]``. Anything else would be measured as it is.

    Args:
        what: made them, a method of the model's.

    Raises:
        BrokenModel: they are of another type or shape, or go beyond ``[0, 1]``.
        Diverged: they are not all finite numbers.
    """
    told = f"{what} must return images, float32 {list(shape)} in [0, 1]"
    if images.dtype != torch.float32 or images.shape != torch.Size(shape):
        raise BrokenModel(f"{told}, not {str(images.dtype).removeprefix('torch.')} {list(images.shape)}")
    low, high = (float(end) for end in images.aminmax())
    if not math.isfinite(low + high):
        raise Diverged(f"{what} returned images that are not all finite numbers")
    if low < 0 or high > 1:
        raise BrokenModel(f"{told}, and they lie in [{low:.4g}, {high:.4g}]")
    return images


@contextmanager
def eval_mode(model: Model, seed: int = 0) -> Iterator[None]:
    """Look at a model without touching its training: eval mode, no gradients, random numbers of its own from ``seed``.

    Mode and random state are put back afterwards, so a trial that is looked at ends bit-equal to one that is not.
    """
    training = model.training
    devices = [model.device] if model.device.type == "cuda" else []
    # `torch.manual_seed` keeps a stack trace to seed GPUs by that nobody uses yet: a millisecond, twice an epoch.
    seeded = torch.default_generator.manual_seed if model.device.type == "cpu" else torch.manual_seed
    with torch.random.fork_rng(devices), torch.no_grad():
        seeded(seed)
        model.eval()
        try:
            yield
        finally:
            model.train(training)
