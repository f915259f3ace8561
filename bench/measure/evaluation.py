"""Measuring a trained model: eval mode, no gradients, randomness of its own; every number with its protocol or its reason."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor

from bench import registry
from bench.cache import cached, digest
from bench.contract import (
    HIDDEN,
    Autoencodes,
    Batch,
    Compared,
    Data,
    Extractor,
    Generates,
    Judges,
    Model,
    Split,
    Unmeasurable,
    condition_of,
    conditioned_on,
    eval_mode,
    in_order,
    reconstruct,
)

log = logging.getLogger(__name__)

Precision = Literal["float32", "bfloat16"]
CHUNK = 500  # images drawn, decoded or extracted at a time
INCEPTION_PER_MINUTE = 900  # images, on two cores


@dataclass(frozen=True)
class EvaluationOptions:
    """A study's ``[evaluation]`` table: names, types and defaults live here and nowhere else.

    Attributes:
        samples: images generated for the metrics that compare distributions.
        feature_precision: of the networks that features come from; bfloat16 is faster, and moves FID as ``perf/fid.py`` prints.
        inception_on_cpu: take FID and KID without a GPU too, at about 15 images a second on two cores.
    """

    samples: int = 10_000
    feature_precision: Precision = "float32"
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


def draw(model: Model, n: int, data: Data, *, seed: int = 0) -> Split:
    """Generate ``n`` images, on the model's device, the same for the same weights and seed, and the classes asked for.

    A model conditioned on labels draws every class of ``data`` in turn; one that completes images is given the left halves of
    held-out ones, at even distances through the split. Labels are ``HIDDEN`` where no class was asked for.

    Raises:
        Unmeasurable: the model does not generate.
    """
    if not isinstance(model, Generates):
        raise Unmeasurable(f"{type(model).__name__} does not generate images")
    labels = torch.arange(n, device=model.device) % max(1, len(data.spec.classes))
    places = data.held_out.spaced(n)
    parts = []
    with eval_mode(model, seed):
        for start in range(0, n, CHUNK):
            part = slice(start, start + CHUNK)
            given = Batch(data.held_out.images[places[part]].float().div(255), labels[part])
            images = model.sample(len(given), condition_of(model, given))
            parts.append(images.mul(255).round().to(torch.uint8))
    by_class = conditioned_on(model) == "labels"
    return Split(torch.cat(parts), labels if by_class else torch.full_like(labels, HIDDEN))


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
        module = registry.load("metrics", name)
        features.facts = {}
        protocol = {"split": data.held_out_name, "images": str(len(data.held_out))}
        try:
            if not isinstance(model, module.NEEDS):
                raise Unmeasurable(f"{type(model).__name__} is not something that {module.NEEDS.__name__.lower()}")
            with eval_mode(model):
                value = float(module.measure(model, data, features))
            if not math.isfinite(value):
                raise Unmeasurable(f"came out as {value}")
            scores[name] = Score(value, "", protocol | features.facts)
        except Unmeasurable as error:
            scores[name] = Score(None, str(error))
        except Exception as error:  # one metric's fault is not the trial's
            log.exception("metric %s", name)
            scores[name] = Score(None, f"{type(error).__name__}: {error}")
    return scores


def extract(network: Extractor, images: Tensor, precision: Precision) -> Tensor:
    """Features float32 ``[N, D]`` of images uint8 ``[N, C, H, W]``, on their device."""
    low = precision == "bfloat16"
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=low):
        return torch.cat([network(part.float().div(255)).float() for part in images.split(CHUNK)])


class Comparison:
    """The `Features` of one evaluation."""

    def __init__(self, model: Model, data: Data, options: EvaluationOptions, cache: Path, data_dir: Path) -> None:
        self.model = model
        self.data = data
        self.options = options
        self.cache = cache
        self.data_dir = data_dir
        self.facts: dict[str, str] = {}  # stated of the metric that is being taken
        self._extractors: dict[str, Extractor] = {}
        self._features: dict[str, tuple[Tensor, Tensor]] = {}
        self._compared: dict[tuple[str, Callable[..., object]], object] = {}

    @cached_property
    def generated(self) -> Split:
        """Drawn when they are first asked for."""
        return draw(self.model, self.options.samples, self.data)

    def reconstructed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of held-out images decoded from their (mean) codes, beside the images: float32 ``[B, C, H, W]`` each."""
        batches = in_order(self.data.held_out, CHUNK)
        for decoded, batch in zip(self._reconstructions, batches, strict=True):
            yield decoded, batch.images

    @cached_property
    def _reconstructions(self) -> list[Tensor]:
        model = self.model
        if not isinstance(model, Autoencodes):
            raise Unmeasurable(f"{type(model).__name__} does not reconstruct images")
        return [reconstruct(model, batch) for batch in in_order(self.data.held_out, CHUNK)]

    def __call__(self, extractor: str) -> tuple[Tensor, Tensor]:
        """Features of the held-out images ``[N, D]`` and of the generated ones ``[M, D]``."""
        network = self._take(extractor)
        if extractor not in self._features:
            real = self._of_real(extractor, self.data.held_out)
            self._features[extractor] = real, extract(network, self.generated.images, self.options.feature_precision)
        if isinstance(network, Judges) and self.data.spec.classes:
            judged = network.logits(self._features[extractor][0]).argmax(1)
            self.state(accuracy=f"{float((judged == self.data.held_out.labels).double().mean()):.4f}")
        self.state(generated=self.options.samples)
        return self._features[extractor]

    def of_training(self, extractor: str) -> Tensor:
        """Features of the training images, ``[T, D]``."""
        self._take(extractor)
        self.state(train=len(self.data.train))
        return self._of_real(extractor, self.data.train)

    def logits(self, extractor: str) -> tuple[Tensor, Tensor]:
        """The classes that the extractor sees in held-out and in generated images: ``[N, K]``, ``[M, K]``."""
        network, (held_out, generated) = self._take(extractor), self(extractor)
        assert isinstance(network, Judges)
        return network.logits(held_out), network.logits(generated)

    def once(self, extractor: str, compare: Callable[[Tensor, Tensor], Compared]) -> Compared:
        """``compare(*self(extractor))``, computed once."""
        features = self(extractor)
        if (extractor, compare) not in self._compared:
            self._compared[extractor, compare] = compare(*features)
        return cast("Compared", self._compared[extractor, compare])

    def state(self, **facts: object) -> None:
        """Add to the protocol of the value that is being measured."""
        self.facts.update({name: str(value) for name, value in facts.items()})

    def _take(self, extractor: str) -> Extractor:
        if extractor not in self._extractors:
            module = registry.load("features", extractor)
            if module.COSTLY_ON_CPU and self.model.device.type == "cpu" and not self.options.inception_on_cpu:
                images = len(self.data.held_out) + self.options.samples
                raise Unmeasurable(
                    f"{images:,} images through {extractor} take about {math.ceil(images / INCEPTION_PER_MINUTE)} min "
                    "without a GPU; ask for them with --set inception_on_cpu=true"
                )
            self._extractors[extractor] = module.load(self.data, self.cache, self.data_dir)
        self.state(**self._extractors[extractor].protocol, dtype=self.options.feature_precision)
        return self._extractors[extractor]

    def _of_real(self, extractor: str, split: Split) -> Tensor:
        """Computed once for every data set, split and extractor, and kept for all trials and studies."""
        network = self._extractors[extractor]
        recipe = json.dumps(
            [dict(network.protocol), self.options.feature_precision, split.images.device.type], sort_keys=True
        )
        file = self.cache / f"{extractor}-{digest(split.images, recipe=recipe)[:16]}.safetensors"

        def make() -> dict[str, Tensor]:
            return {"features": extract(network, split.images, self.options.feature_precision)}

        return cached(file, make, split.images.device)["features"]
