"""What of the machine trials may use."""

from __future__ import annotations

import os

import pytest
import torch

from bench.executors.local import slots
from bench.run.resources import share_out
from bench.study.definition import StudyError


@pytest.fixture
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores without a GPU."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)), raising=False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)


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
