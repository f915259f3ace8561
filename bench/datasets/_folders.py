"""Folders of images as people have them: which file is of which split and class, before any of them is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.contract import HIDDEN, DataError
from bench.datasets._images import extensions
from bench.text import reason

WHOLE = "whole"  # the name of what is not divided
PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
SHARE = 10  # one in so many is held out, where the folder does not say which
NO_FILES = ("Thumbs.db", "desktop.ini", "__MACOSX")  # what file managers and archives leave, hidden elsewhere

Groups = dict[str, list[Path]]  # files by class; by "" alone where there are none
Labelled = list[tuple[Path, int]]


@dataclass(frozen=True)
class Listing:
    """What there is to read.

    Attributes:
        classes: their names, in the order of their labels; empty where images have none.
        parts: ``train`` and others of `PARTS`, or `WHOLE` alone.
        aside: what is not read, in words; empty where all is.
    """

    root: Path
    classes: tuple[str, ...]
    parts: Mapping[str, Groups]
    aside: str

    @property
    def files(self) -> list[Path]:
        """All that is to be read."""
        return [file for groups in self.parts.values() for files in groups.values() for file in files]


def list_folder(root: Path) -> Listing:
    """What there is to read in ``root``, by the layouts that ``docs/add-a-data-set.md`` shows.

    Raises:
        DataError: it holds no images, or they do not lie in one of those layouts.
    """
    aside = _Aside()
    named: dict[str, list[Path]] = {}
    top = _look(root)
    for folder in top.folders:
        if part := PARTS.get(folder.name.lower()):
            named.setdefault(part, []).append(folder)
    if "train" not in named or len(named) == 1:
        groups = _groups(root, aside, undivided=True)
        return Listing(root, *_labelled({WHOLE: groups}), str(aside))
    for folders in named.values():
        if len(folders) > 1:
            raise DataError(f"{root} holds both {folders[0].name}/ and {folders[1].name}/; put them together")
    where: dict[str, Path] = {part: named[part][0] for part in ("train", "test", "validation") if part in named}
    aside.files += [*top.images, *top.others]
    aside.folders += [folder for folder in top.folders if folder not in where.values()]
    parts = {part: _groups(folder, aside) for part, folder in where.items()}
    for part, groups in parts.items():
        _check_alike(root, where["train"], where[part], parts["train"], groups)
    return Listing(root, *_labelled(parts), str(aside))


def divide(listing: Listing, digests: Mapping[Path, str]) -> dict[str, Labelled]:
    """Files and their labels by split: ``train``, ``test`` and, where the folder has both, ``validation``.

    Where the folder does not say what is held out, it is a tenth of each class by what the files hold, so that equal files are
    on one side and a further file moves no other one; of a class so small that none or all of them would be held out, those
    of the lowest digest are, or all others than those of the highest.

    Args:
        digests: SHA-256 of what each file holds, in hexadecimal digits.

    Raises:
        DataError: a class has not two different images.
    """
    if WHOLE not in listing.parts:
        parts = {part: _with_labels(groups) for part, groups in listing.parts.items()}
        return parts if "test" in parts else {"train": parts["train"], "test": parts["validation"]}
    train: Groups = {}
    test: Groups = {}
    for word, files in listing.parts[WHOLE].items():
        contents = {digests[file] for file in files}
        if len(contents) < 2:
            what = f"class {word!r} has" if word else "it holds"
            raise DataError(
                f"{listing.root}: {what} one image{'' if len(files) == 1 else f', {len(files)} times'}; it takes two that "
                "differ, one to train on and one to be measured on"
            )
        held_out = {each for each in contents if int(each[:16], 16) < 2**64 // SHARE} or {min(contents)}
        if held_out == contents:
            held_out.remove(max(contents))
        test[word] = [file for file in files if digests[file] in held_out]
        train[word] = [file for file in files if digests[file] not in held_out]
    return {"train": _with_labels(train), "test": _with_labels(test)}


def in_words(listing: Listing, parts: Mapping[str, Labelled]) -> str:
    """A line that says how a folder is read."""
    line = f"{listing.root}: {len(listing.classes) or 'no'} classes, images: {len(parts['train']):,} to train on, "
    line += f"{len(parts['test']):,} to test on"
    if WHOLE in listing.parts:
        line += f" (a tenth{' of each class' if listing.classes else ''}, by the hash of each file)"
    elif "test" not in listing.parts:
        line += " (the validation folder's)"
    if "validation" in parts:
        line += f", {len(parts['validation']):,} to measure a search on"
    return line + (f"; left aside: {listing.aside}" if listing.aside else "")


@dataclass
class _Aside:
    """What is left aside, to be told in a line."""

    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def __str__(self) -> str:
        words = []
        if self.files:
            endings = sorted({file.suffix.lower() or "no ending" for file in self.files})
            words.append(f"{len(self.files)} file{'s' * (len(self.files) > 1)} ({_few(endings)})")
        if self.folders:
            words.append(f"the folder{'s' * (len(self.folders) > 1)} {_few([folder.name for folder in self.folders])}")
        return " and ".join(words)


@dataclass(frozen=True)
class _Seen:
    """What lies in a folder, sorted by name."""

    images: list[Path]
    folders: list[Path]
    others: list[Path]


def _look(folder: Path) -> _Seen:
    seen = _Seen([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if entry.name.startswith(".") or entry.name in NO_FILES:
                    continue
                path = folder / entry.name
                if entry.is_dir():
                    seen.folders.append(path)
                else:  # a link that leads nowhere is an image too: reading it fails, passing over it would be silent
                    image = path.suffix.lower() in extensions() and (entry.is_file() or entry.is_symlink())
                    (seen.images if image else seen.others).append(path)
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {reason(error)}") from error
    return seen


def _groups(folder: Path, aside: _Aside, *, undivided: bool = False) -> Groups:
    """The images right in ``folder``, or those in the folders there; ``undivided`` where it is the whole data set."""
    seen = _look(folder)
    aside.files += seen.others
    groups: Groups = {}
    for inner in seen.folders:
        below = _look(inner)
        for deep in below.folders:
            if (first := _first_image(deep)) is not None:
                raise DataError(
                    f"{first} lies too deep: images are read from {folder}/* or from {folder}/<class>/*; "
                    + (f"try --dataset {first.parent.parent}" if undivided else "move it up")
                    + ("; or put a folder test/ beside it" if PARTS.get(inner.name.lower()) == "train" else "")
                )
        if below.images:
            groups[inner.name] = below.images
            aside.files += below.others
            aside.folders += below.folders
        else:
            aside.folders.append(inner)
    if seen.images and groups:
        raise DataError(
            f"{folder} holds images ({seen.images[0].name}, {len(seen.images)} in all) beside folders of images "
            f"({_few(list(groups))}); it must hold one or the other"
        )
    if not seen.images and not groups:
        there = f"; what there is: {aside}" if str(aside) else ""
        raise DataError(f"{folder} holds no images, in files that end in .png, .jpg or the like{there}")
    return groups or {"": seen.images}


def _first_image(folder: Path) -> Path | None:
    """The first image anywhere below ``folder``."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in extensions():
                return Path(place) / name
    return None


def _check_alike(root: Path, train: Path, other: Path, classes: Groups, others: Groups) -> None:
    """Refuse a part whose classes are not those of the training images."""
    if ("" in classes) != ("" in others):
        flat, by_class = (train, other) if "" in classes else (other, train)
        raise DataError(
            f"{root}: {by_class.name}/ holds a folder for each class, {flat.name}/ images alone; make them alike"
        )
    for word in [word for word in {**classes, **others} if (word in classes) != (word in others)]:
        lacking = other if word in classes else train
        if (lacking / word).is_dir():
            raise DataError(f"{lacking / word}: class {word!r} has no images in {lacking.name}")
        raise DataError(
            f"{root}: {train.name} and {other.name} must hold the same classes; there is no {lacking.name}/{word}"
        )


def _labelled(parts: Mapping[str, Groups]) -> tuple[tuple[str, ...], Mapping[str, Groups]]:
    """The names of the classes, and the parts. A single class says nothing of an image: there are none then."""
    classes = sorted(next(iter(parts.values())))
    for word in classes:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise DataError(f"the name of the folder {word!r} is not UTF-8; give it another one") from None
    if len(classes) > 1:
        return tuple(classes), {part: {word: groups[word] for word in classes} for part, groups in parts.items()}
    return (), {part: {"": groups[classes[0]]} for part, groups in parts.items()}


def _with_labels(groups: Groups) -> Labelled:
    return [(file, HIDDEN if "" in groups else label) for label, files in enumerate(groups.values()) for file in files]


def _few(words: list[str], most: int = 4) -> str:
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")
