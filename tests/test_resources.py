"""What of the machine trials may use."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bench import checks, registry
from bench.checks import NotPromised
from bench.executors import NO_LIMIT, NotInstalled, Resources
from bench.executors.local import slots
from bench.run.resources import share_out
from bench.study.definition import StudyError


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores without a GPU."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


@pytest.fixture(autouse=True)
def _an_executor_of_ones_own(tmp_path: Path) -> None:
    """``mine``, whose trials run elsewhere."""
    (tmp_path / "executors").mkdir()
    (tmp_path / "executors" / "mine.py").write_text('"""Elsewhere."""\nELSEWHERE = ("threads",)\n')
    registry.visit(tmp_path)


@pytest.mark.usefixtures("cores")
@pytest.mark.parametrize(
    ("workers", "at_a_time", "threads"), [(None, 8, "2"), (1, 1, "16"), (5, 5, "3"), (99, 99, "1")]
)
def test_threads_come_from_the_machine_and_the_workers_alone(workers: int | None, at_a_time: int, threads: str) -> None:
    shares = slots(share_out(workers=workers))
    assert len(shares) == at_a_time
    assert {share["OMP_NUM_THREADS"] for share in shares} == {threads}


@pytest.mark.usefixtures("cores")
def test_a_gpu_that_is_not_there_is_said() -> None:
    with pytest.raises(StudyError, match="--gpus 3: no such GPU; there are: none"):
        share_out(gpus=["3"])


def test_this_machine_is_not_shared_out_for_trials_that_run_elsewhere() -> None:
    found = share_out(executor="mine", threads=3)
    assert found == Resources(workers=NO_LIMIT, use_gpus=True, threads=3)
    assert share_out(executor="mine", workers=1000, gpus=[]) == Resources(workers=1000)
    with pytest.raises(StudyError, match="--gpus 0,1: other machines' GPUs have no numbers here; leave it out, or ''"):
        share_out(executor="mine", gpus=["0", "1"])


@pytest.mark.parametrize(
    ("executor", "given", "option"),
    [
        ("local", {"threads": 2}, "threads"),
        ("local", {"ray_address": "auto"}, "ray-address"),
        ("mine", {"slurm": {"partition": "gpu"}}, "slurm"),
        ("mine", {"trials_per_job": 2}, "trials-per-job"),
        ("mine", {"trials_per_gpu": 2}, "trials-per-gpu"),
    ],
)
def test_an_option_that_an_executor_does_not_heed_is_refused(executor: str, given: dict[str, Any], option: str) -> None:
    with pytest.raises(StudyError, match=f"--{option}: the executor {executor} has no use for it"):
        share_out(executor=executor, **given)


def test_what_is_not_installed_is_said_and_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, extra in (("ray", "ray"), ("submitit", "slurm")):
        with monkeypatch.context() as bare:
            bare.delitem(sys.modules, f"bench.executors.{name}", raising=False)
            bare.setattr(importlib.util, "find_spec", lambda name: None)
            with pytest.raises(NotInstalled, match=rf"pip install -e '.\[{extra}\]'"):
                registry.load("executors", name)
            with pytest.raises(NotPromised, match="is not installed here"):
                checks.of("executors")[0](name)
