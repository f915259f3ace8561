"""What a model sees of a data set: classes selected, splits held out, labels hidden, and the endless stream of batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.contract import HIDDEN, Batch, Data, DataError, ImageSpec, Split

SPLIT_SEED = 0  # one division of the data for every trial, so that trials differ in their own seed alone


@dataclass(frozen=True)
class DataOptions:
    """A study's ``[data]`` table: names, types and defaults live here and nowhere else.

    Attributes:
        classes: keep these alone, in train and test together, relabelled in the order given; empty keeps all.
        train_images: at most so many training images, the same number of each class where they are labelled.
        test_images: at most so many test images, likewise.
        validation: the share of the training images that is held out and measured on, as a search does; 0 measures on test.
        labelled: how many training labels are kept, the same number of each class; None keeps all.
        horizontal_flip: mirror each training image with probability one half.
    """

    classes: tuple[str, ...] = ()
    train_images: int | None = None
    test_images: int | None = None
    validation: float = 0.0
    labelled: int | None = None
    horizontal_flip: bool = False


def prepare(name: str, spec: ImageSpec, train: Split, test: Split, options: DataOptions) -> Data:
    """Apply ``options``: classes first, then the sizes, then the validation split, then hidden labels.

    Raises:
        DataError: an option does not fit this data set.
    """
    if options.classes:
        for wanted in options.classes:
            if wanted not in spec.classes:
                raise DataError(f"data set {name} has no class {wanted!r}; it has: {', '.join(spec.classes) or 'none'}")
        if len(set(options.classes)) < len(options.classes):
            raise DataError(f"classes = {list(options.classes)}: each can be kept once")
        train, test = (_only_classes(split, spec, options.classes) for split in (train, test))
        spec = replace(spec, classes=options.classes)
    for split, most, word in (
        (train, options.train_images, "train_images"),
        (test, options.test_images, "test_images"),
    ):
        if most is not None and not 1 <= most <= len(split):
            raise DataError(f"{word} = {most}: data set {name} has 1 to {len(split)}")
    if options.train_images is not None:
        train = train.take(_balanced(train.labels, options.train_images))
    if options.test_images is not None:
        test = test.take(_balanced(test.labels, options.test_images))
    held_out, held_out_name = test, "test"
    if options.validation:
        size = round(options.validation * len(train)) if 0 < options.validation < 1 else 0
        if not 0 < size < len(train):
            raise DataError(f"validation = {options.validation}: must leave images on both sides, of {len(train)}")
        chosen = torch.zeros(len(train), dtype=torch.bool)
        chosen[_stratified(train.labels, size)] = True
        held_out, held_out_name, train = train.take(chosen), "validation", train.take(~chosen)
    if options.labelled is not None:
        train = _hide_labels(name, spec, train, options.labelled)
    return Data(name, spec, train, held_out, held_out_name, options.horizontal_flip)


def steps_per_epoch(images: int, batch_size: int) -> int:
    """How many whole batches a pass over the images makes; at least one."""
    return max(1, images // batch_size)


def stream(split: Split, batch_size: int, generator: torch.Generator, horizontal_flip: bool = False) -> Iterator[Batch]:
    """Whole batches for ever, every pass in a fresh order.

    What a pass leaves over after its last whole batch is dropped: a batch of one breaks batch normalisation, and as the
    order is random no image is left out for good. A split smaller than a batch is one batch.

    Args:
        generator: on the CPU, so that the order is the same on every device. Between two passes its state is all that it
            takes to go on.
    """
    size = min(batch_size, len(split))
    device = split.images.device
    while True:
        order = torch.randperm(len(split), generator=generator)
        mirrored = (torch.rand(len(split), generator=generator) < 0.5).to(device) if horizontal_flip else None
        order = order.to(device)
        for step in range(steps_per_epoch(len(split), size)):
            index = order[step * size : (step + 1) * size]
            images = split.images[index].float().div(255)
            if mirrored is not None:
                mirror = mirrored[step * size : (step + 1) * size].view(-1, 1, 1, 1)
                images = torch.where(mirror, images.flip(3), images)
            yield Batch(images, split.labels[index])


def _only_classes(split: Split, spec: ImageSpec, classes: tuple[str, ...]) -> Split:
    labels = torch.full_like(split.labels, HIDDEN)
    for new, name in enumerate(classes):
        labels[split.labels == spec.classes.index(name)] = new
    return Split(split.images, labels).take(labels != HIDDEN)


def _balanced(labels: Tensor, n: int) -> Tensor:
    """The places of ``n`` images in random order, the classes taken in turn while they last."""
    order, turn, _ = _turns(labels)
    return order[turn.argsort(stable=True)[:n]]


def _stratified(labels: Tensor, n: int) -> Tensor:
    """The places of ``n`` images, the same share of every class: one that is rare in what is given is rare in both parts."""
    order, turn, sizes = _turns(labels)
    return order[((turn + 0.5) / sizes).argsort(stable=True)[:n]]


def _turns(labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A random order, and for each place in it the image's number among those of its class, and their count.

    The order is the same at every call, so that no option of a study changes what another one draws.
    """
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(SPLIT_SEED))
    shuffled = labels[order]
    turn, sizes = torch.empty_like(shuffled), torch.empty_like(shuffled)
    for label in shuffled.unique():
        members = (shuffled == label).nonzero().flatten()
        turn[members] = torch.arange(len(members))
        sizes[members] = len(members)
    return order, turn, sizes


def _hide_labels(name: str, spec: ImageSpec, train: Split, labelled: int) -> Split:
    classes = len(spec.classes)
    if not classes:
        raise DataError(f"labelled = {labelled}: data set {name} has no labels to keep")
    known = (train.labels != HIDDEN).nonzero().flatten()
    smallest = int(torch.bincount(train.labels[known], minlength=classes).min())
    if labelled % classes or not 0 < labelled <= smallest * classes:
        raise DataError(
            f"labelled = {labelled}: must be a multiple of {classes}, the number of classes, up to {smallest * classes}"
        )
    labels = torch.full_like(train.labels, HIDDEN)
    kept = known[_balanced(train.labels[known], labelled)]
    labels[kept] = train.labels[kept]
    return Split(train.images, labels)
