"""Tensors that trials and studies share: made once under a lock, written whole, checked when read, made anew where damaged."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

log = logging.getLogger(__name__)


def cached(file: Path, make: Callable[[], Mapping[str, Tensor]], device: torch.device) -> dict[str, Tensor]:
    """The tensors in ``file``, on ``device``; those of ``make()``, which the file then holds, where it is absent or damaged.

    Processes that ask at once wait for the one that makes them. A flipped bit is found out: their digest stands in the file.
    """
    if file.exists():  # what is there can be read where nothing can be written, and by many at once
        with suppress(OSError, SafetensorError, ValueError):
            return _read(file, device)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        try:
            return _read(file, device)
        except FileNotFoundError:
            pass
        except (OSError, SafetensorError, ValueError) as error:
            log.warning("%s is damaged (%s) and is made anew", file.name, error)
        tensors = {name: value.detach().cpu().contiguous() for name, value in make().items()}
        partial = file.with_suffix(".partial")
        try:
            partial.touch()
            mode = partial.stat().st_mode  # safetensors keeps its files from everybody else
            save_file(tensors, partial, {"sha256": _digest_of(tensors)})
            partial.chmod(mode)
            os.replace(partial, file)
        finally:
            partial.unlink(missing_ok=True)
    return {name: value.to(device) for name, value in tensors.items()}


def digest(*tensors: Tensor, recipe: str = "") -> str:
    """SHA-256 over a recipe and over the bytes of tensors, in their order, 64 hexadecimal digits."""
    hashed = hashlib.sha256(recipe.encode())
    for tensor in tensors:
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _read(file: Path, device: torch.device) -> dict[str, Tensor]:
    with safe_open(file, framework="pt") as opened:
        written = (opened.metadata() or {}).get("sha256", "")
        names = opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
    if _digest_of(tensors) != written:
        raise ValueError("its contents are not those that were written")
    return {name: value.to(device) for name, value in tensors.items()}


def _digest_of(tensors: Mapping[str, Tensor]) -> str:
    return digest(*(tensors[name] for name in sorted(tensors)), recipe=" ".join(sorted(tensors)))
