"""Settings in words: what the names of runs and variants are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


def initials(name: str) -> str:
    """The name of a setting by the first letters of its words: ``ld`` for ``latent_dim``."""
    return "".join(word[0] for word in name.replace(".", "_").split("_") if word)


def nickname(dataset: str) -> str:
    """A data set as names, sentences and plots call it: a path by its last part."""
    return dataset.rstrip("/").rpartition("/")[2]


def nicknames(datasets: Iterable[str]) -> dict[str, str]:
    """What each of several is called side by side: by its last part, or by as many of the last as no other shares."""
    parts = {dataset: dataset.rstrip("/").split("/") for dataset in datasets}

    def last(dataset: str, n: int) -> list[str]:
        return parts[dataset][-n:]

    def told(dataset: str) -> str:
        enough = (n for n in range(1, len(parts[dataset])) if [last(o, n) for o in parts].count(last(dataset, n)) == 1)
        return "/".join(last(dataset, next(enough, len(parts[dataset]))))

    names = {dataset: told(dataset) for dataset in parts}
    shared = Counter(names.values())
    return {dataset: name if shared[name] == 1 else dataset for dataset, name in names.items()}


def applied_file(application: str) -> str:
    """The picture, among a run's final ones, of what an application made of its model."""
    return f"applied_{application}.png"


def short(value: Any, pad: bool = True) -> str:
    """A value in few letters; a whole number with zeros in front, so that names sort, unless it is not to ``pad``."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value:03d}" if pad else str(value)
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, (list, tuple)):
        return "-".join(short(item, pad) for item in value)
    return str(value)
