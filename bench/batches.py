"""What a model sees of a data set: classes selected, splits held out, labels hidden, and the endless stream of batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from torch import Tensor

from bench.augmentation import Augmentation, binarised
from bench.contract import HIDDEN, Batch, DataError, ImageSpec, Split, as_floats, in_order
from bench.data import Augment, Data, Part, Whole
from bench.ranges import LARGEST_SIDE, Within
from bench.seeds import Purpose, derived
from bench.subsets import SPLIT_SEED, balanced, stratified

# Pixels that are selected and made floats at once, whole batches of them: a megabyte. Every operation costs some 3 µs before it
# does anything, which a step of small images is made of.
SELECTED = 2**18


@dataclass(frozen=True)
class DataOptions:
    """A study's ``[data]`` table: names, types, ranges and defaults live here and nowhere else; `prepare` checks what hangs on
    the images.

    Attributes:
        classes: keep these alone, in train and test together, relabelled in the order given; empty keeps all.
        train_images: at most so many training images, the same number of each class where they are labelled.
        test_images: at most so many test images, likewise.
        validation: the share of the training images that is held out and measured on, as a search does; 0 measures on test. A set
            that has a validation split of its own is measured on that instead, whatever the share.
        labelled: how many training labels are kept, the same number of each class, others for every seed; None keeps all.
        labelled_share: the part of every batch whose labels are known, where others are hidden.
        second_half: classes that fill the second half of every batch, as the others fill the first (document 001, 1.3).
        horizontal_flip: mirror each training image with probability one half.
        random_crop: the black pixels put on every side of each training image, of which one of the old size is cut out anywhere.
        noise: the standard deviation of Gaussian noise on training images, which stay in [0, 1].
        binarise: make every pixel white with its grey value for the probability, and else black: held-out images once, the same
            in every trial, and training images once too (``static``) or anew in every batch (``dynamic``); None leaves them grey.
        image_size: the centre square of every image, resized to so many pixels along a side; None leaves images as they are.
        allow_fewer: where ``train_images`` or ``test_images`` is more than there are, take what there is, as a smoke run does;
            otherwise that is refused.
    """

    classes: tuple[str, ...] = ()
    train_images: int | None = None
    test_images: int | None = None
    validation: Annotated[float, Within(least=0, below=1)] = 0.0
    labelled: int | None = None
    labelled_share: Annotated[float, Within(above=0, below=1)] = 0.5
    second_half: tuple[str, ...] = ()
    horizontal_flip: bool = False
    random_crop: Annotated[int, Within(least=0)] = 0
    noise: Annotated[float, Within(least=0, most=1)] = 0.0
    binarise: Literal["static", "dynamic"] | None = None
    image_size: Annotated[int, Within(least=1, most=LARGEST_SIDE)] | None = None
    allow_fewer: bool = False


def prepare(
    name: str,
    spec: ImageSpec,
    train: Split,
    test: Split,
    options: DataOptions,
    validation: Split | None = None,
    *,
    seed: int = 0,
) -> Data:
    """Apply ``options``: classes first, then the sizes, then the validation split, then hidden labels.

    Args:
        train: and the others: of ``image_size`` already, where that is asked for.
        validation: the set's own validation split, where it has one.
        seed: the trial's, which decides the labels that are kept; every trial has the same images.

    Raises:
        DataError: an option does not fit this data set.
    """
    whole, places = Whole(train, spec.classes), torch.arange(len(train))  # of train in it
    if options.classes:
        _known(name, options.classes, spec)
        numbers = torch.tensor([spec.classes.index(wanted) for wanted in options.classes])
        places = torch.isin(train.labels, numbers).nonzero().flatten()
        train, test = (_only_classes(split, spec, options.classes) for split in (train, test))
        validation = validation and _only_classes(validation, spec, options.classes)
        spec = replace(spec, classes=options.classes)
    for split, most, word in (
        (train, options.train_images, "train_images"),
        (test, options.test_images, "test_images"),
    ):
        if most is not None and not 1 <= most <= len(split) and not (options.allow_fewer and most > len(split)):
            raise DataError(f"{word} = {most}: data set {name} has 1 to {len(split)}")
    if options.train_images is not None:
        chosen = balanced(train.labels, options.train_images)
        places, train = places[chosen], train.take(chosen)
    if options.test_images is not None:
        test = test.take(balanced(test.labels, options.test_images))
    held_out, held_out_name = test, "test"
    if options.validation and validation is not None:
        held_out, held_out_name = validation, "validation"
    elif options.validation:
        size = round(options.validation * len(train)) if 0 < options.validation < 1 else 0
        if not 0 < size < len(train):
            raise DataError(f"validation = {options.validation}: must leave images on both sides, of {len(train)}")
        chosen = torch.zeros(len(train), dtype=torch.bool)
        chosen[stratified(train.labels, size)] = True
        held_out, held_out_name, train = train.take(chosen), "validation", train.take(~chosen)
        others = torch.ones(len(whole.split), dtype=torch.bool)
        others[places[chosen]] = False
        whole = replace(whole, split=whole.split.take(others))
    labels = train.labels
    if options.labelled is not None:
        train = _hide_labels(name, spec, train, options.labelled, derived(seed, "labels"))
    parts = _parts(name, spec, train, options)
    augment = _augmentation(spec, options)
    part_of = whole if options.classes or len(train) < len(whole.split) else None
    data = Data(name, spec, train, labels, held_out, held_out_name, augment, parts, part_of=part_of)
    return data if options.binarise is None else _binarised(data, options.binarise)


def steps_per_epoch(images: int, batch_size: int, parts: Sequence[Part] = ()) -> int:
    """How many whole batches a pass over the images makes; at least one.

    Where a batch is made of ``parts``, a pass is one over that which takes longest.
    """
    if not parts:
        return max(1, images // batch_size)
    sizes = [len(part.index) for part in parts]
    return max(size // count for size, count in zip(sizes, _counts(parts, batch_size), strict=True))


def stream(
    split: Split,
    batch_size: int,
    generator: torch.Generator,
    parts: Sequence[Part] = (),
) -> Iterator[Batch]:
    """Whole batches for ever, every pass in a fresh order.

    What a pass leaves over after its last whole batch is dropped: a batch of one breaks batch normalisation, and as the
    order is random no image is left out for good. A split smaller than a batch is one batch. Where a batch is made of ``parts``,
    weights undo their shares of it: a weighted mean over it is expected to be the mean over all images.

    Args:
        generator: on the CPU, so that the order is the same on every device. Between two passes its state is all that it
            takes to go on.
    """
    size = min(batch_size, len(split))
    steps = steps_per_epoch(len(split), size, parts)
    together = max(1, SELECTED // (size * split.images[0].numel()))
    device, weights = split.images.device, None
    if parts:
        each = zip(parts, _counts(parts, size), strict=True)
        weights = torch.cat([torch.full((n,), len(part.index) * size / len(split) / n) for part, n in each]).to(device)
    while True:
        order = _order(len(split), size, steps, parts, generator).to(device)
        for index in order[: steps * size].split(size * together):
            # `index_select` copies whole images; an index in brackets takes 15 times as long on a CPU.
            images, labels = as_floats(split.images.index_select(0, index)), split.labels.index_select(0, index)
            for some, own in zip(images.split(size), labels.split(size), strict=True):
                yield Batch(some, own, weights)


def augmented(batches: Iterator[Batch], augment: Augment | None, generator: torch.Generator) -> Iterator[Batch]:
    """Each of ``batches`` with ``augment`` done to its images, by draws of ``generator``, which is on their device."""
    for batch in batches:
        yield batch if augment is None else replace(batch, images=augment(batch.images, generator))


def accompanied(batches: Iterator[Batch], further: Iterator[Batch], count: int) -> Iterator[Batch]:
    """Each of ``batches`` with ``count`` of ``further`` beside it.

    So the former, and how many there are in an epoch, are the same whatever ``count`` is, if the latter draw from generators of
    their own. Over as many steps as a pass has, the latter make ``count`` whole passes.
    """
    while count == 0:
        yield next(batches)
    while True:
        batch = next(batches)
        yield replace(batch, further=tuple(next(further) for _ in range(count)))


def _order(images: int, size: int, steps: int, parts: Sequence[Part], generator: torch.Generator) -> Tensor:
    """The places of the images of one pass, batch after batch; a part that runs out begins again in a fresh order."""
    if not parts:
        return torch.randperm(images, generator=generator)
    columns = []
    for part, count in zip(parts, _counts(parts, size), strict=True):
        rounds = -(-steps * count // len(part.index))
        places = torch.cat([torch.randperm(len(part.index), generator=generator) for _ in range(rounds)])
        columns.append(part.index[places[: steps * count]].view(steps, count))
    return torch.cat(columns, dim=1).flatten()


def _counts(parts: Sequence[Part], size: int) -> list[int]:
    """How many images of each part make a batch of ``size``: at least one, and all of them together ``size``.

    Raises:
        DataError: the batch is too small to hold one of each.
    """
    counts = [max(1, round(part.share * size)) for part in parts[:-1]]
    if sum(counts) >= size:
        raise DataError(f"batch_size = {size}: too small to hold images of each of {len(parts)} parts")
    return [*counts, size - sum(counts)]


def _parts(name: str, spec: ImageSpec, train: Split, options: DataOptions) -> tuple[Part, ...]:
    """What every batch is to hold."""
    first = torch.ones(len(train), dtype=torch.bool)
    share = 0.5
    if options.second_half:
        _known(name, options.second_half, spec)
        if options.labelled is not None:
            raise DataError("second_half and labelled: a batch can be made up by one of the two")
        for label, word in enumerate(spec.classes):
            if word in options.second_half:
                first &= train.labels != label
    elif options.labelled is not None:
        share = options.labelled_share
        if not 0 < share < 1:
            raise DataError(f"labelled_share = {share}: must be more than 0 and less than 1")
        first = train.labels != HIDDEN
    if first.all():
        return ()
    if not first.any():
        raise DataError(f"second_half = {list(options.second_half)}: no class is left for the first half")
    return Part(first.nonzero().flatten(), share), Part((~first).nonzero().flatten(), 1 - share)


def _augmentation(spec: ImageSpec, options: DataOptions) -> Augmentation | None:
    """What is done to training images; None where that is nothing."""
    smallest = min(spec.height, spec.width)
    if not 0 <= options.random_crop < smallest:
        raise DataError(
            f"random_crop = {options.random_crop}: must be 0 or more, and less than the {smallest} pixels of a side"
        )
    if not 0 <= options.noise <= 1:
        raise DataError(f"noise = {options.noise}: must be from 0 to 1, as pixels are")
    if options.noise and options.binarise == "static":
        raise DataError("noise and binarise = 'static': noise would make them grey again; 'dynamic' comes after it")
    dynamic = options.binarise == "dynamic"
    augmentation = Augmentation(options.horizontal_flip, options.random_crop, options.noise, dynamic)
    return None if augmentation == Augmentation() else augmentation


def _binarised(data: Data, when: Literal["static", "dynamic"]) -> Data:
    """The same images in black and white, drawn once; the grey ones too where batches are drawn from them."""
    train, held_out = _drawn_once(data.train, "binarised train"), _drawn_once(data.held_out, "binarised held-out")
    whole = data.part_of and replace(data.part_of, split=_drawn_once(data.part_of.split, "binarised train"))
    grey = data.train if when == "dynamic" else None
    return replace(data, train=train, held_out=held_out, binarise=when, grey=grey, part_of=whole)


def _drawn_once(split: Split, purpose: Purpose) -> Split:
    generator = torch.Generator().manual_seed(derived(SPLIT_SEED, purpose))
    drawn = [binarised(batch.images, generator).mul(255).to(torch.uint8) for batch in in_order(split)]
    return Split(torch.cat(drawn), split.labels)


def _known(name: str, classes: tuple[str, ...], spec: ImageSpec) -> None:
    for wanted in classes:
        if wanted not in spec.classes:
            raise DataError(f"data set {name} has no class {wanted!r}; it has: {', '.join(spec.classes) or 'none'}")
    if len(set(classes)) < len(classes):
        raise DataError(f"classes = {list(classes)}: each can be kept once")


def _only_classes(split: Split, spec: ImageSpec, classes: tuple[str, ...]) -> Split:
    labels = torch.full_like(split.labels, HIDDEN)
    for new, name in enumerate(classes):
        labels[split.labels == spec.classes.index(name)] = new
    return Split(split.images, labels).take(labels != HIDDEN)


def _hide_labels(name: str, spec: ImageSpec, train: Split, labelled: int, seed: int) -> Split:
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
    kept = known[balanced(train.labels[known], labelled, seed)]
    labels[kept] = train.labels[kept]
    return Split(train.images, labels)
