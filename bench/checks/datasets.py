"""What every data set that is known by name promises."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import torch

from bench import registry
from bench.checks import NotPromised, expect
from bench.contract import HIDDEN, DataError, ImageSpec, Split
from bench.datasets import SPLITS, SplitName, located
from bench.paths import Paths


@dataclass(frozen=True)
class Subject:
    """A data set by its module, and the folder that it is looked for in."""

    name: str
    module: ModuleType
    data: Path
    loaded: dict[SplitName, Split] = field(default_factory=dict)

    @property
    def spec(self) -> ImageSpec:
        """What the file says of its images."""
        found = getattr(self.module, "SPEC", None)
        expect(isinstance(found, ImageSpec), f"SPEC must be an ImageSpec, not {found!r}")
        assert isinstance(found, ImageSpec)
        return found

    def splits(self) -> dict[SplitName, Split]:
        """Both splits, loaded once.

        Raises:
            NotPromised: they are not here, and nothing is downloaded to be checked.
        """
        for split in SPLITS:
            if split not in self.loaded:
                self.loaded[split] = self.load(split)
        return self.loaded

    def load(self, split: SplitName) -> Split:
        """One split, loaded anew."""
        where = located(self.name, self.data)
        if where == f"in {self.name}.npz":
            raise NotPromised(f"{self.data / self.name}.npz is read in place of what the file loads")
        if where.startswith("not here"):
            raise NotPromised(f"{where}, as by: bench run trial vae --dataset {self.name} --smoke")
        expect(callable(getattr(self.module, "load", None)), "it defines no function load(split, data_dir)")
        try:
            found = self.module.load(split, self.data)
        except DataError as error:
            raise NotPromised(f"it cannot be had here: {error}") from None
        expect(isinstance(found, Split), f"load({split!r}, ...) must return a Split, not {type(found).__name__}")
        expect(len(found) > 0, f"load({split!r}, ...) returned no images")
        assert isinstance(found, Split)
        return found


def subject(name: str) -> Subject:
    """The data set ``name``, seen from the working directory."""
    return Subject(name, registry.load("datasets", name), Paths.find(Path.cwd()).data)


def check_its_first_line_says_what_it_is(dataset: Subject) -> None:
    """The file's docstring begins with a line that says what the images are; lists show it."""
    expect(
        len(registry.first_line(dataset.module.__doc__)) > 20,
        "the file's docstring must begin with a line that says what the images are",
    )


def check_its_spec_can_be_one_of_images(dataset: Subject) -> None:
    """``SPEC`` is an `ImageSpec`: 1 or 3 channels, a size, and names of classes that differ, or none."""
    spec = dataset.spec
    expect(spec.channels in (1, 3), f"SPEC has {spec.channels} channels; it must be 1, for grey, or 3, for RGB")
    expect(min(spec.height, spec.width) > 0, f"SPEC has images of {spec.height}x{spec.width} pixels")
    classes = spec.classes
    expect(
        isinstance(classes, tuple) and all(isinstance(word, str) for word in classes),
        "classes must be a tuple of texts",
    )
    expect(len(set(classes)) == len(classes), f"the names of the classes must differ: {', '.join(classes)}")


def check_images_have_the_shape_of_its_spec(dataset: Subject) -> None:
    """Both splits hold uint8 images of the channels, height and width that ``SPEC`` says."""
    for word, split in dataset.splits().items():
        shape = tuple(split.images.shape[1:])
        expect(shape == dataset.spec.shape, f"SPEC is {dataset.spec.shape} (C, H, W); the {word} images are {shape}")


def check_images_are_not_all_alike(dataset: Subject) -> None:
    """The images of a split differ: a scale of [0, 1] turned into bytes makes them all black."""
    for word, split in dataset.splits().items():
        alike = len(split) > 1 and bool((split.images == split.images[:1]).all())
        expect(not alike, f"all {len(split)} {word} images are the same; uint8 runs from 0 to 255")


def check_the_same_images_come_again(dataset: Subject) -> None:
    """Loaded twice, a split holds the same images and labels in the same order."""
    for word, first in dataset.splits().items():
        second = dataset.load(word)
        same = torch.equal(first.images, second.images) and torch.equal(first.labels, second.labels)
        expect(
            same, f"load({word!r}, ...) gave other images or labels a second time; draw from a generator with a seed"
        )


def check_train_and_test_differ(dataset: Subject) -> None:
    """What is measured on is not what was trained on."""
    train, test = (dataset.splits()[split].images for split in SPLITS)
    few = min(len(train), len(test))
    expect(not torch.equal(train[:few], test[:few]), "train and test hold the same images; load must look at its split")


def check_labels_fit_its_classes(dataset: Subject) -> None:
    """Labels run from 0 in the order of the classes, and every class is in both splits; without classes they are hidden."""
    classes = dataset.spec.classes
    for word, split in dataset.splits().items():
        found = set(split.labels.tolist())
        if not classes:
            expect(found == {HIDDEN}, f"SPEC has no classes, so that all {word} labels must be HIDDEN ({HIDDEN})")
            continue
        expect(
            word == "train" or HIDDEN not in found, "a test label is HIDDEN; a model is measured against all of them"
        )
        wrong = sorted(found - {HIDDEN} - set(range(len(classes))))
        expect(not wrong, f"there are {word} labels {wrong[:3]}; they must be from 0 to {len(classes) - 1}")
        absent = ", ".join(repr(name) for label, name in enumerate(classes) if label not in found)
        expect(not absent, f"there are no {word} images of {absent}; every class must be in both splits")
