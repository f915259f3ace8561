"""What of this machine trials may use."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

from bench import registry
from bench.executors import NO_LIMIT, Resources
from bench.study.definition import StudyError

AUTO: Final = "auto"  # in place of a number: what gets most done, as `bench.run.rehearsal` finds
MOST_WORKERS = 8  # unless more are asked for
MOST_AT_ONCE = 256  # processes, or threads
MOST_ELSEWHERE = 100_000  # on all machines together
LONGEST = 366 * 24 * 60  # minutes
# Options that an executor may not heed, with their defaults: given for one that does not, they are refused.
ELSEWHERE: Mapping[str, Any] = {"threads": None, "ray_address": None, "trials_per_job": 1, "slurm": {}}


def share_out(
    *,
    workers: int | Literal["auto"] | None = None,
    gpus: Sequence[str] | None = None,
    trials_per_gpu: int | Literal["auto"] = 1,
    timeout: float | None = None,
    executor: str = "local",
    jobs: Path | None = None,
    **elsewhere: Any,
) -> Resources:
    """The machine shared out among as many trials as may run at a time, whether or not there are so many of them.

    A trial has as many threads as there are cores over ``workers``. Were it given more where fewer trials are left, the last of a
    study would end in other digits than it would have if it had been one of the first.

    Args:
        workers: trials at a time without a GPU; one per core where None, at most 8, or where `AUTO`, until that is rehearsed.
        gpus: by their CUDA numbers; all where None.
        trials_per_gpu: trials that share one GPU; one where `AUTO`, until that is rehearsed.
        timeout: minutes after which a trial is stopped; None for never.
        executor: where trials run. This machine is not shared out where that is elsewhere: ``workers`` is then a limit, and
            ``gpus`` can say no more than that none is to be used.
        jobs: where jobs of a queueing system and their driver meet.
        elsewhere: ``threads``, ``ray_address``, ``trials_per_job`` and ``slurm``, as `Resources` has them.

    Raises:
        StudyError: there is no such GPU, a number that nobody can mean, or an option that this executor has no use for.
        RegistryError: there is no such executor.
    """
    heeds: Sequence[str] | None = getattr(registry.load("executors", executor), "ELSEWHERE", None)
    for option, given_number in (("--workers", workers), ("--trials-per-gpu", trials_per_gpu)):
        if given_number == AUTO and heeds is not None:
            raise StudyError(
                f"{option} {AUTO}: the executor {executor} shares its machines out itself; it must be a number"
            )
    at_once = None if workers == AUTO else workers
    on_each = 1 if trials_per_gpu == AUTO else trials_per_gpu
    for name, number, most in (
        ("workers", at_once, MOST_AT_ONCE if heeds is None else MOST_ELSEWHERE),
        ("trials_per_gpu", on_each, MOST_AT_ONCE),
        ("threads", elsewhere.get("threads"), MOST_AT_ONCE),
        ("trials_per_job", elsewhere.get("trials_per_job"), MOST_AT_ONCE),
        ("timeout", timeout, LONGEST),
    ):
        if number is not None and not (0 < number <= most and (name == "timeout" or number % 1 == 0)):
            what = "minutes above 0" if name == "timeout" else "1 or more"
            raise StudyError(f"--{name.replace('_', '-')} {number}: must be {what}, and at most {most:,}")
    given = {name: value for name, value in elsewhere.items() if value not in (None, ELSEWHERE[name])}
    shared = ["trials_per_gpu"] if heeds is not None and on_each != 1 else []
    if odd := [name for name in [*given, *shared] if name not in (heeds or ())]:
        raise StudyError(f"--{odd[0].replace('_', '-')}: the executor {executor} has no use for it")
    if heeds is not None:
        return _elsewhere(at_once, gpus, on_each, timeout, Resources(jobs=jobs, **given))
    visible = _visible() if gpus is None or gpus else []
    for gpu in gpus or ():
        if gpu not in visible:
            raise StudyError(f"--gpus {gpu}: no such GPU; there are: {', '.join(visible) or 'none'}")
    return Resources(
        workers=at_once or min(cores(), MOST_WORKERS),
        gpus=tuple(visible if gpus is None else gpus),
        trials_per_gpu=on_each,
        timeout=timeout and timeout * 60,
    )


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _visible() -> list[str]:
    import torch

    return [str(gpu) for gpu in range(torch.cuda.device_count())]


def _elsewhere(
    workers: int | None, gpus: Sequence[str] | None, trials_per_gpu: int, timeout: float | None, given: Resources
) -> Resources:
    if gpus:
        raise StudyError(
            f"--gpus {','.join(gpus)}: other machines' GPUs have no numbers here; leave it out, or '' for none"
        )
    return replace(
        given,
        workers=workers or NO_LIMIT,
        use_gpus=gpus is None,
        trials_per_gpu=trials_per_gpu,
        timeout=timeout and timeout * 60,
    )
