"""What of this machine trials may use."""

from __future__ import annotations

import os
from collections.abc import Sequence

from bench.executors import Resources
from bench.study.definition import StudyError

MOST_WORKERS = 8  # unless more are asked for
MOST_AT_ONCE = 256  # processes
LONGEST = 366 * 24 * 60  # minutes


def share_out(
    *,
    workers: int | None = None,
    gpus: Sequence[str] | None = None,
    trials_per_gpu: int = 1,
    timeout: float | None = None,
) -> Resources:
    """The machine shared out among as many trials as may run at a time, whether or not there are so many of them.

    A trial has as many threads as there are cores over ``workers``. Were it given more where fewer trials are left, the last of a
    study would end in other digits than it would have if it had been one of the first.

    Args:
        workers: trials at a time without a GPU; one per core where None, at most 8.
        gpus: by their CUDA numbers; all where None.
        trials_per_gpu: trials that share one GPU.
        timeout: minutes after which a trial is stopped; None for never.

    Raises:
        StudyError: there is no such GPU, or a number that nobody can mean.
    """
    for name, number, most in (
        ("workers", workers, MOST_AT_ONCE),
        ("trials_per_gpu", trials_per_gpu, MOST_AT_ONCE),
        ("timeout", timeout, LONGEST),
    ):
        if number is not None and not (0 < number <= most and (name == "timeout" or number % 1 == 0)):
            what = "minutes above 0" if name == "timeout" else "1 or more"
            raise StudyError(f"--{name.replace('_', '-')} {number}: must be {what}, and at most {most:,}")
    visible = _visible() if gpus is None or gpus else []
    for gpu in gpus or ():
        if gpu not in visible:
            raise StudyError(f"--gpus {gpu}: no such GPU; there are: {', '.join(visible) or 'none'}")
    return Resources(
        workers=workers or min(cores(), MOST_WORKERS),
        gpus=tuple(visible if gpus is None else gpus),
        trials_per_gpu=trials_per_gpu,
        timeout=timeout and timeout * 60,
    )


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _visible() -> list[str]:
    import torch

    return [str(gpu) for gpu in range(torch.cuda.device_count())]
