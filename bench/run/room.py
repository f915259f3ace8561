"""The memory that a trial takes at the least, against what there is: more of it is a line, and not the end of the process."""

from __future__ import annotations

import torch

from bench.contract import ImageSpec, Model, Unsupported
from bench.measure.context import EvaluationOptions
from bench.memory import available, in_words
from bench.optimizers import MOMENTS, TrainingOptions
from bench.study.definition import Trial

FLOAT = 4  # bytes
LABEL = 8  # bytes


def check_room(trial: Trial, model: Model, spec: ImageSpec) -> None:
    """Refuse a trial whose weights, or whose generated images, take more memory than there is.

    What a step computes is not counted: it hangs on the machine, and a trial that fails for that says so by itself.

    Args:
        model: without memory for its weights.

    Raises:
        Unsupported: it takes more.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    training = _training(model, TrainingOptions.from_settings(trial.settings["training"]))
    here, device = available(), _device()
    if FLOAT * count > here or training > (device or here):
        raise Unsupported(
            f"{count:,} parameters take {in_words(training)} of memory to be trained, and "
            f"there are {in_words(device or here)}: make it smaller"
        )
    options = EvaluationOptions(**trial.settings["evaluation"])
    drawn = {"samples": options.samples, "likelihood_images": options.likelihood_images}
    for name, images in drawn.items():
        size = images * (2 * spec.pixels + 2 * LABEL)  # as they are drawn, and put together
        if size > here:
            raise Unsupported(
                f"{name} = {images}: so many images take {in_words(size)} of memory, and there are {in_words(here)}"
            )


def _training(model: Model, options: TrainingOptions) -> int:
    """Bytes of weights, gradients, and what optimisers and averages keep."""
    numbers = 0
    for name, player in model.players().items():
        own = options.of(name)
        each = 2 + len(MOMENTS[own.optimizer]) + (own.ema is not None)
        numbers += each * sum(parameter.numel() for parameter in player.parameters())
    return FLOAT * numbers


def _device() -> int:
    """Bytes of the largest GPU; 0 where there is none."""
    gpus = range(torch.cuda.device_count())
    return max((torch.cuda.get_device_properties(gpu).total_memory for gpu in gpus), default=0)
