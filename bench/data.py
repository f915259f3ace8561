"""A data set made ready for one trial: what is learnt from, what is measured on, and how it came to be so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.contract import ImageSpec, Split

Augment = Callable[[Tensor, torch.Generator], Tensor]
"""float32 ``[B, C, H, W]`` in ``[0, 1]`` to the same, by draws of a generator on their device."""


@dataclass(frozen=True)
class Part:
    """Training images that fill the same share of every batch.

    Attributes:
        index: int64, their places in the training split; on the CPU.
        share: of the batch, in (0, 1).
    """

    index: Tensor
    share: float


@dataclass(frozen=True)
class Whole:
    """The training images that a trial's are taken from, each with its label: what measures learns from all of them.

    Attributes:
        classes: all that the data set has, which the labels count.
    """

    split: Split
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Data:
    """A data set made ready for one trial.

    Attributes:
        name: the data set's name, or the path it was read from.
        spec: the shape and classes of its images, after any selection of classes.
        train: what the model may learn from, as it is measured on.
        train_labels: int64 ``[N]``, those of ``train`` with none withheld: for what measures, never for what is measured.
        held_out: what it is measured on.
        held_out_name: ``"test"``, or ``"validation"`` in a search.
        augment: what is done to the images of every batch that is learnt from; None where they are taken as they are.
        parts: what every batch is made of, in this order; empty where any training image may stand anywhere.
        resized: how every image was resized, in words; empty where they are as they came.
        binarise: how grey images were made black and white, ``"static"`` or ``"dynamic"``; empty where they are as they came.
        grey: ``train`` before that, where every batch is drawn from it anew; None where ``train`` itself is learnt from.
        part_of: what ``train`` was taken from, on the CPU wherever the rest is; None where it is all of that.
    """

    name: str
    spec: ImageSpec
    train: Split
    train_labels: Tensor
    held_out: Split
    held_out_name: str = "test"
    augment: Augment | None = None
    parts: tuple[Part, ...] = ()
    resized: str = ""
    binarise: str = ""
    grey: Split | None = None
    part_of: Whole | None = None

    @property
    def whole(self) -> Whole:
        """All training images of the data set, but for those that are measured on."""
        return self.part_of or Whole(Split(self.train.images, self.train_labels), self.spec.classes)

    @property
    def learnt(self) -> Split:
        """What batches are made of."""
        return self.train if self.grey is None else self.grey

    def to(self, device: torch.device) -> Data:
        """The same data on ``device``."""
        labels, grey = self.train_labels.to(device), self.grey and self.grey.to(device)
        train, held_out = self.train.to(device), self.held_out.to(device)
        return replace(self, train=train, train_labels=labels, held_out=held_out, grey=grey)
