"""Tensors that trials and studies share: made once under a lock, written whole, checked when read, made anew where damaged."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from filelock import FileLock
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bench.files import FULL
from bench.memory import available, in_words
from bench.text import reason

log = logging.getLogger(__name__)

Like = Mapping[
    str, tuple[torch.dtype, Sequence[int | None]]
]  # the type and the shape of tensors by name; None for any side
_noted: list[set[Path]] = []  # by whoever wants to know what is asked for


@contextmanager
def noted() -> Iterator[set[Path]]:
    """The files that `cached` is asked for meanwhile, filled in as they are."""
    files: set[Path] = set()
    _noted.append(files)
    try:
        yield files
    finally:
        _noted.remove(files)


def cached(
    file: Path,
    make: Callable[[], Mapping[str, Tensor]],
    device: torch.device,
    like: Like | None = None,
) -> dict[str, Tensor]:
    """The tensors in ``file``, on ``device``; those of ``make()``, which the file then holds, where it is absent or damaged.

    Processes that ask at once wait for the one that makes them. A flipped bit is found out: their digest stands in the file.

    Args:
        like: types and shapes of what ``make`` makes, where they are known; a digest says only that it is as somebody wrote it.
    """
    for files in _noted:
        files.add(file)
    if file.exists():  # what is there can be read where nothing can be written, and by many at once
        with suppress(OSError, SafetensorError, ValueError):
            return _read(file, device, like)
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_suffix(".lock")):
        try:
            return _read(file, device, like)
        except FileNotFoundError:
            pass
        except (OSError, SafetensorError, ValueError) as error:
            log.warning("%s is damaged (%s) and is made anew", file.name, reason(error))
        tensors = {name: value.detach().cpu().contiguous() for name, value in make().items()}
        partial = file.with_suffix(".partial")
        try:
            partial.touch()
            mode = partial.stat().st_mode  # safetensors keeps its files from everybody else
            save_file(tensors, partial, {"sha256": _digest_of(tensors)})
            partial.chmod(mode)
            os.replace(partial, file)
        except (OSError, SafetensorError) as error:  # the disk is full: whoever asks next makes them again
            if isinstance(error, OSError) and error.errno not in FULL:
                raise
            log.warning("%s cannot be kept (%s)", file.name, error)
        finally:
            partial.unlink(missing_ok=True)
    return {name: value.to(device) for name, value in tensors.items()}


def digest(*tensors: Tensor, recipe: str = "") -> str:
    """SHA-256 over a recipe and over the bytes of tensors, in their order, 64 hexadecimal digits."""
    hashed = hashlib.sha256(recipe.encode())
    for tensor in tensors:
        hashed.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return hashed.hexdigest()


def _read(file: Path, device: torch.device, like: Like | None) -> dict[str, Tensor]:
    size = file.stat().st_size
    if not file.is_file():  # a pipe would be waited for without end
        raise ValueError("it is no file")
    if size > (room := available()):
        raise ValueError(f"it takes {in_words(size)} of memory, and there are {in_words(room)}")
    with safe_open(file, framework="pt") as opened:
        written = (opened.metadata() or {}).get("sha256", "")
        names = opened.keys()
        tensors = {name: opened.get_tensor(name) for name in names}
    if _digest_of(tensors) != written:
        raise ValueError("its contents are not those that were written")
    if like is not None and not _alike(tensors, like):
        raise ValueError("its contents are those of something else")
    return {name: value.to(device) for name, value in tensors.items()}


def _alike(tensors: Mapping[str, Tensor], like: Like) -> bool:
    """Whether tensors have the names, types and shapes that they must have."""
    return tensors.keys() == like.keys() and all(
        value.dtype == like[name][0]
        and value.ndim == len(like[name][1])
        and all(wanted in (side, None) for side, wanted in zip(value.shape, like[name][1], strict=True))
        for name, value in tensors.items()
    )


def _digest_of(tensors: Mapping[str, Tensor]) -> str:
    return digest(*(tensors[name] for name in sorted(tensors)), recipe=" ".join(sorted(tensors)))
