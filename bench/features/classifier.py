"""Features of a small classifier trained on the data set itself: the ones that mean something for digits, with no download.

A convolutional network of two blocks, trained once on all training images of a data set, whatever a trial is given of them, and
kept under a hash of the images and labels it saw. No two kinds of processors train quite the same one, and distances in two are
two measures: so that of the suite's own sets comes with it, in ``weights``, made by this file. Its accuracy on the held-out
split stands in the protocol of every number that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from bench.batches import steps_per_epoch, stream
from bench.cache import cached, digest
from bench.contract import HIDDEN, ImageSpec, Split, Unmeasurable
from bench.data import Data

RECIPE = (
    "3 convolutions to 64 channels, 64 features; AdamW 3e-3 in one cycle, batch 128, 2 to 40 passes, at most 1000 steps, seed 0; "
    "version 3"
)
FEATURES = 64
COSTLY_ON_CPU = False
BATCH = 128
STEPS = 250  # where that is between 2 passes over the images and 40: small sets are seen more often
MOST_STEPS = 1000  # half a minute of one core
WEIGHTS = Path(__file__).with_name("weights")
"""``DATASET-DIGEST.safetensors``, copied from ``mlruns/cache/classifier-DIGEST.safetensors`` of a store that had none to copy;
``DATASET-searched-DIGEST`` has not seen what a search measures its proposals on."""


class Classifier(nn.Module):
    """Images to 64 features, and those to class logits."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(spec.channels, 32, 5, 2),
            *_convolution(32, 64, 3, 1),
            nn.MaxPool2d(2),
            *_convolution(64, 64, 3, 1),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
            nn.Linear(64 * 16, FEATURES),
            nn.BatchNorm1d(FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, len(spec.classes))

    def forward(self, images: Tensor) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to logits ``[B, classes]``."""
        logits: Tensor = self.head(self.body(images * 2 - 1))
        return logits


class ClassifierFeatures:
    """The trained classifier as an extractor that `Judges`."""

    def __init__(self, network: Classifier, classes: list[int]) -> None:
        """Of all classes that the network knows, those at the places ``classes`` are told apart, in that order."""
        self.network = network.eval().requires_grad_(False)
        self.classes = classes
        weights = digest(*network.state_dict().values())[:12]
        self.protocol: Mapping[str, str] = {"extractor": "the data set's own classifier", "weights": weights}

    def __call__(self, images: Tensor) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to ``[B, 64]``."""
        features: Tensor = self.network.body(images * 2 - 1)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, 64]`` to the logits of the classes, ``[B, K]``."""
        logits: Tensor = self.network.head(features)
        return logits[:, self.classes]


def fetch(data_dir: Path) -> None:
    """Nothing comes from elsewhere."""


def located(data_dir: Path) -> str:
    """In words, how the weights are had."""
    return (
        "nothing to get: that of the suite's data sets comes with it, others' are trained when they are first asked for"
    )


def load(data: Data, cache: Path, data_dir: Path) -> ClassifierFeatures:
    """The classifier of all training images and their labels, on the data's device; trained where neither the suite nor ``cache``
    holds it.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    whole = data.whole
    train = whole.split.take(whole.split.labels != HIDDEN)
    if not data.spec.classes or len(train) < len(whole.classes):
        raise Unmeasurable(f"data set {data.name} has no labels to train a classifier on")
    device = data.held_out.images.device
    network = _untrained(replace(data.spec, classes=whole.classes), device)
    seen = digest(train.images, train.labels, recipe=RECIPE)[:16]
    like = {key: (value.dtype, value.shape) for key, value in network.state_dict().items()}

    def made() -> Mapping[str, Tensor]:
        for shipped in WEIGHTS.glob(f"*-{seen}.safetensors"):
            return load_file(shipped)
        return _trained(network, train.to(device)).state_dict()

    network.load_state_dict(cached(cache / f"classifier-{seen}.safetensors", made, device, like))
    return ClassifierFeatures(network, [whole.classes.index(name) for name in data.spec.classes])


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def _untrained(spec: ImageSpec, device: torch.device) -> Classifier:
    """The network under its own seed; the caller's random state is as it was."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Classifier(spec).to(device)


def _trained(network: Classifier, train: Split) -> Classifier:
    passes = steps_per_epoch(len(train), BATCH)
    steps = min(max(2 * passes, min(STEPS, 40 * passes)), MOST_STEPS)
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=steps)
    batches = stream(train, BATCH, torch.Generator().manual_seed(0))
    with torch.enable_grad():
        for _ in range(steps):
            batch = next(batches)
            loss = F.cross_entropy(network(batch.images), batch.labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network
