"""Measuring a trained model: eval mode, no gradients, randomness of its own; every number with its protocol or its reason."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from bench import registry
from bench.contract import Batch, Data, Extractor, Model, Unmeasurable, aside, condition_of

log = logging.getLogger(__name__)

CHUNK = 500  # images drawn or extracted at a time
INCEPTION_PER_MINUTE = 700  # images through Inception on two cores


@dataclass(frozen=True)
class EvaluationOptions:
    """A study's ``[evaluation]`` table: names, types and defaults live here and nowhere else.

    Attributes:
        samples: images generated for the metrics that compare distributions.
        inception_on_cpu: take FID without a GPU too, at about 12 images a second on two cores.
    """

    samples: int = 10_000
    inception_on_cpu: bool = False


@dataclass(frozen=True)
class Score:
    """One metric of one model: its value, or the reason why there is none.

    Attributes:
        protocol: what two values must share to stand in one column.
    """

    value: float | None
    reason: str = ""
    protocol: Mapping[str, str] = field(default_factory=dict)


def draw(model: Model, n: int, data: Data, *, seed: int = 0) -> Tensor:
    """Generate ``n`` images, uint8 ``[n, C, H, W]`` on the model's device, the same for the same weights and seed.

    A model conditioned on labels draws every class of ``data`` in turn; one that completes images is given the left halves of
    held-out ones, at even distances through the split.
    """
    labels = torch.arange(n, device=model.device) % max(1, len(data.spec.classes))
    places = torch.arange(n, device=model.device) * len(data.held_out) // n
    parts = []
    with aside(model, seed):
        for start in range(0, n, CHUNK):
            part = slice(start, start + CHUNK)
            given = Batch(data.held_out.images[places[part]].float().div(255), labels[part])
            images = model.sample(len(given), condition_of(model, given))
            parts.append(images.mul(255).round().to(torch.uint8))
    return torch.cat(parts)


def evaluate(
    model: Model, data: Data, metrics: Sequence[str], options: EvaluationOptions, *, cache: Path, data_dir: Path
) -> dict[str, Score]:
    """Take every metric; one that cannot be taken, or that raises, is a blank with its reason.

    Args:
        data: on the model's device.
        cache: where what trials share is kept.
    """
    scores = {}
    features = Comparison(model, data, options, cache, data_dir)
    for name in metrics:
        module = registry.take("metrics", name)
        features.used = {}
        protocol = {"split": data.held_out_name, "images": str(len(data.held_out))}
        try:
            if not isinstance(model, module.NEEDS):
                raise Unmeasurable(f"{type(model).__name__} is not something that {module.NEEDS.__name__.lower()}")
            with aside(model):
                value = float(module.measure(model, data, features))
            if not math.isfinite(value):
                raise Unmeasurable(f"came out as {value}")
            scores[name] = Score(value, "", protocol | features.used)
        except Unmeasurable as error:
            scores[name] = Score(None, str(error))
        except Exception as error:  # one metric's fault is not the trial's
            log.exception("metric %s", name)
            scores[name] = Score(None, f"{type(error).__name__}: {error}")
    return scores


class Comparison:
    """The `Features` of one evaluation: each extractor sees the held-out and the generated images once.

    Generated images are rounded to 8 bits first, as the real ones were.
    """

    def __init__(self, model: Model, data: Data, options: EvaluationOptions, cache: Path, data_dir: Path) -> None:
        self.model = model
        self.data = data
        self.options = options
        self.cache = cache
        self.data_dir = data_dir
        self.used: dict[str, str] = {}
        self._generated: Tensor | None = None
        self._extractors: dict[str, Extractor] = {}
        self._features: dict[str, tuple[Tensor, Tensor]] = {}

    def __call__(self, extractor: str) -> tuple[Tensor, Tensor]:
        """Features of the held-out images ``[N, D]`` and of the generated ones ``[M, D]``."""
        if extractor not in self._features:
            module = registry.take("features", extractor)
            if module.COSTLY_ON_CPU and self.model.device.type == "cpu" and not self.options.inception_on_cpu:
                images = len(self.data.held_out) + self.options.samples
                raise Unmeasurable(
                    f"{images:,} images through {extractor} take about {math.ceil(images / INCEPTION_PER_MINUTE)} min "
                    "without a GPU; ask for them with --set inception_on_cpu=true"
                )
            self._extractors[extractor] = module.load(self.data, self.cache, self.data_dir)
            real = self._extract(extractor, self.data.held_out.images)
            self._features[extractor] = real, self._extract(extractor, self.generated)
        self.used = {**self._extractors[extractor].protocol, "generated": str(self.options.samples)}
        return self._features[extractor]

    @property
    def generated(self) -> Tensor:
        """uint8 ``[M, C, H, W]``, drawn once."""
        if self._generated is None:
            self._generated = draw(self.model, self.options.samples, self.data)
        return self._generated

    def _extract(self, extractor: str, images: Tensor) -> Tensor:
        parts = [self._extractors[extractor](part.float().div(255)) for part in images.split(CHUNK)]
        return torch.cat(parts)
