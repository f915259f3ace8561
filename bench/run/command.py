"""The command that runs a study, as it is remembered with every run of it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bench.study.definition import FULL


def command_line(
    kind: str,
    name: str,
    datasets: Sequence[str] = (),
    seeds: int | None = None,
    settings: Sequence[str] = (),
    smoke: bool = False,
    size: str = FULL,
) -> str:
    """The line that selects the same trials again: built from what was understood, so that it carries no secret."""
    words = ["bench", "run", kind, name]
    words += [word for dataset in datasets for word in ("--dataset", str(dataset))]
    words += ["--seeds", str(seeds)] if seeds else []
    words += [word for setting in settings for word in ("--set", setting)]
    words += ["--smoke"] if smoke else []
    words += ["--size", size] if size != FULL else []
    return shlex.join(words)


def set_words(settings: Mapping[str, Any] | None) -> list[str]:
    """Settings as ``--set`` takes them: ``key=value``, the value in TOML."""
    words = []
    for name, value in (settings or {}).items():
        if isinstance(value, Mapping):
            words += [f"{name}.{word}" for word in set_words(value)]
        else:
            # JSON is TOML too, for what a setting can be.
            words.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
    return words
