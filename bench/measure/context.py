"""What the measurements of one trial share: generated images, reconstructions and features, with what values of them rest on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

import torch
from torch import Tensor

from bench import registry, subsets
from bench.augmentation import binarised
from bench.cache import cached, digest
from bench.contract import (
    HIDDEN,
    Autoencodes,
    Generates,
    Model,
    Split,
    Unmeasurable,
    as_floats,
    as_promised,
    condition_of,
    conditioned_on,
    eval_mode,
    in_order,
    reconstruct,
)
from bench.data import Data
from bench.features import Extractor, Judges
from bench.ranges import Within
from bench.score import Facts

Precision = Literal["float32", "bfloat16"]
CHUNK = 500  # images drawn, decoded or extracted at a time
INCEPTION_PER_MINUTE = 900  # images, on two cores


@dataclass(frozen=True)
class EvaluationOptions:
    """A study's ``[evaluation]`` table: names, types, ranges and defaults live here and nowhere else.

    Attributes:
        samples: images generated for the metrics that compare distributions.
        feature_precision: of the networks that features come from; bfloat16 is faster, and moves FID as ``perf/fid.py`` prints.
        likelihood_draws: of each code, for the importance-weighted bound; papers take 5,000.
        likelihood_images: held-out images that it is taken of.
        inception_on_cpu: take FID and KID without a GPU too, at about 15 images a second on two cores.
    """

    samples: Annotated[int, Within(least=1)] = 10_000
    feature_precision: Precision = "float32"
    likelihood_draws: Annotated[int, Within(least=1)] = 50
    likelihood_images: Annotated[int, Within(least=1)] = 500
    inception_on_cpu: bool = False


@dataclass(frozen=True)
class Compared:
    """What an extractor tells of held-out and of generated images.

    Attributes:
        held_out: float32 ``[N, D]``.
        generated: float32 ``[M, D]``.
        protocol: what a value made of them rests on.
    """

    held_out: Tensor
    generated: Tensor
    protocol: Facts


class Shared:
    """What all trials on the same images share: extractors, and what those tell of real images."""

    def __init__(self, data: Data, options: EvaluationOptions, cache: Path, data_dir: Path) -> None:
        """``cache`` is where it is kept."""
        self.data = data
        self.options = options
        self.cache = cache
        self.data_dir = data_dir
        self._extractors: dict[str, Extractor] = {}

    def make(self, extractor: str, *, features: bool, training: bool) -> None:
        """Have the extractor made and kept, and its ``features`` of held-out images; of the ``training`` images too.

        Raises:
            Unmeasurable: there is no such extractor for these images, or not here.
        """
        self._extractor(extractor)
        if features:
            self._of_real(extractor, self.data.held_out)
        if features and training:
            self._of_real(extractor, self.data.train)

    def _extractor(self, name: str) -> Extractor:
        if name not in self._extractors:
            module = registry.load("features", name)
            on_cpu = self.data.held_out.images.device.type == "cpu"
            if module.COSTLY_ON_CPU and on_cpu and not self.options.inception_on_cpu:
                images = len(self.data.held_out) + self.options.samples
                raise Unmeasurable(
                    f"{images:,} images through {name} take about {math.ceil(images / INCEPTION_PER_MINUTE)} min "
                    "without a GPU; ask for them with --set inception_on_cpu=true"
                )
            self._extractors[name] = module.load(self.data, self.cache, self.data_dir)
        return self._extractors[name]

    def _of_real(self, extractor: str, split: Split) -> Tensor:
        """Computed once for every data set, split and extractor, and kept for all trials and studies."""
        network = self._extractors[extractor]
        recipe = json.dumps(
            [dict(network.protocol), self.options.feature_precision, split.images.device.type], sort_keys=True
        )
        file = self.cache / f"{extractor}-{digest(split.images, recipe=recipe)[:16]}.safetensors"

        def make() -> dict[str, Tensor]:
            return {"features": extract(network, split.images, self.options.feature_precision)}

        like = {"features": (torch.float32, (len(split), None))}
        return cached(file, make, split.images.device, like)["features"]


class Context(Shared):
    """What the measurements of one trial share, each computed when it is first asked for."""

    def __init__(self, model: Model, data: Data, options: EvaluationOptions, cache: Path, data_dir: Path) -> None:
        """``data`` is on the model's device; ``cache`` is where what trials share is kept."""
        super().__init__(data, options, cache, data_dir)
        self.model = model
        self._features: dict[str, Compared] = {}

    @cached_property
    def generated(self) -> Split:
        """The generated images, with the classes asked for; ``HIDDEN`` where none were.

        They are as real ones are: rounded to 8 bits, or where those were binarised black and white by draws of their own.
        """
        drawn = draw(self.model, self.options.samples, self.data, like_held_out=True)
        if not self.data.binarise:
            return drawn
        with eval_mode(self.model):
            pixels = [binarised(batch.images).mul(255).to(torch.uint8) for batch in in_order(drawn, CHUNK)]
        return Split(torch.cat(pixels), drawn.labels)

    def reconstructed(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of held-out images decoded from their (mean) codes, beside the images: float32 ``[B, C, H, W]`` each."""
        batches = in_order(self.data.held_out, CHUNK)
        for decoded, batch in zip(self._reconstructions, batches, strict=True):
            yield decoded, batch.images

    def features(self, extractor: str) -> Compared:
        """The features of held-out and of generated images.

        Raises:
            Unmeasurable: there is no such extractor for these images, or not here.
        """
        network = self._extractor(extractor)
        if extractor not in self._features:
            held_out = self._of_real(extractor, self.data.held_out)
            generated = extract(network, self.generated.images, self.options.feature_precision)
            protocol = {**self._protocol(extractor), "generated": self.options.samples}
            if conditioned_on(self.model) == "left_half":  # so the generated images begin as the held-out ones do
                protocol["told"] = "the left half of a held-out image"
            if isinstance(network, Judges) and self.data.spec.classes:
                right = network.logits(held_out).argmax(1) == self.data.held_out.labels
                protocol["accuracy"] = f"{float(right.double().mean()):.4f}"
            self._features[extractor] = Compared(held_out, generated, protocol)
        return self._features[extractor]

    def logits(self, extractor: str) -> Compared:
        """The classes that an extractor which `Judges` sees in held-out and in generated images: their logits.

        Raises:
            Unmeasurable: there is no such extractor for these images, or not here.
        """
        network, seen = self._extractor(extractor), self.features(extractor)
        assert isinstance(network, Judges)
        return Compared(network.logits(seen.held_out), network.logits(seen.generated), seen.protocol)

    def of_training(self, extractor: str) -> tuple[Tensor, Facts]:
        """The features of the training images, float32 ``[T, D]``, and what they rest on.

        Raises:
            Unmeasurable: there is no such extractor for these images, or not here.
        """
        protocol = {**self._protocol(extractor), "train": len(self.data.train)}
        return self._of_real(extractor, self.data.train), protocol

    @cached_property
    def _reconstructions(self) -> list[Tensor]:
        model = self.model
        if not isinstance(model, Autoencodes):
            raise Unmeasurable(f"{type(model).__name__} does not reconstruct images")
        return [reconstruct(model, batch) for batch in in_order(self.data.held_out, CHUNK)]

    def _protocol(self, extractor: str) -> Facts:
        return {**self._extractor(extractor).protocol, "dtype": self.options.feature_precision}


def draw(model: Model, n: int, data: Data, *, seed: int = 0, like_held_out: bool = False) -> Split:
    """Generate ``n`` images, on the model's device, the same for the same weights and seed, and the classes asked for.

    A conditional model is told what `to_tell` says. Labels are ``HIDDEN`` where no class was asked for.

    Args:
        like_held_out: ask for classes as often as held-out images are of them, which they may be compared with.

    Raises:
        Unmeasurable: the model does not generate.
        BrokenModel, Diverged: what it makes are no images.
    """
    if not isinstance(model, Generates):
        raise Unmeasurable(f"{type(model).__name__} does not generate images")
    told = data.held_out.take(data.held_out.spaced(n)) if like_held_out else to_tell(data, n)
    parts = []
    with eval_mode(model, seed):
        for given in in_order(told, CHUNK):
            images = as_promised(model.sample(len(given), condition_of(model, given)), given.images.shape, "sample")
            parts.append(images.mul(255).round().to(torch.uint8))
    by_class = conditioned_on(model) == "labels"
    return Split(torch.cat(parts), told.labels if by_class else torch.full_like(told.labels, HIDDEN))


def to_tell(data: Data, n: int) -> Split:
    """What a conditional model is told of ``n`` images that it is to make: every class in turn, or left halves of images.

    The images are held-out ones, from all parts of the split.
    """
    labels = torch.arange(n, device=data.held_out.labels.device) % max(1, len(data.spec.classes))
    return Split(data.held_out.images[data.held_out.spaced(n)], labels)


def extract(network: Extractor, images: Tensor, precision: Precision) -> Tensor:
    """Features float32 ``[N, D]`` of images uint8 ``[N, C, H, W]``, on their device."""
    low = precision == "bfloat16"
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16, enabled=low):
        return torch.cat([network(as_floats(part)).float() for part in images.split(CHUNK)])


def chosen(total: int, n: int) -> Facts:
    """What a protocol says where ``n`` images of more are taken by `spaced`: which they are is part of what was measured."""
    return {"chosen": "one of each part"} if n < total else {}


def spaced(rows: Tensor, n: int) -> Tensor:
    """At most ``n`` rows, from all parts of them, which may be sorted."""
    return rows[subsets.spaced(len(rows), min(n, len(rows))).to(rows.device)]
