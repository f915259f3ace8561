"""One file per place where trials run; each has one function, ``run``.

``run(trials, work, resources)`` is a generator of ``(trial, event)``. It pulls from ``trials`` whenever it has room (None means
"nothing to start before something ends"), iterates ``work(trial)`` somewhere, and yields what that yields, unread. A trial
that ends without having said so comes as a `Failure`. Sending True back stops the trial whose event was just yielded.
Closing the generator stops all of them. Nothing here retries: the driver decides that.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """What trials may use.

    Attributes:
        workers: trials at a time on processor cores, where there is no GPU to use.
        gpus: the GPUs to use, as CUDA numbers them.
        trials_per_gpu: trials that share one GPU.
        timeout: seconds after which a trial is stopped; None for never.
    """

    workers: int = 1
    gpus: tuple[str, ...] = ()
    trials_per_gpu: int = 1
    timeout: float | None = None

    @property
    def slots(self) -> int:
        """How many trials run at a time."""
        return len(self.gpus) * self.trials_per_gpu or self.workers
