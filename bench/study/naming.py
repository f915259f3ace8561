"""Settings in words: what the names of runs and variants are made of."""

from __future__ import annotations

from typing import Any


def initials(name: str) -> str:
    """The name of a setting by the first letters of its words: ``ld`` for ``latent_dim``."""
    return "".join(word[0] for word in name.replace(".", "_").split("_") if word)


def nickname(dataset: str) -> str:
    """A data set as names, sentences and plots call it: a path by its last part."""
    return dataset.rstrip("/").rpartition("/")[2]


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
