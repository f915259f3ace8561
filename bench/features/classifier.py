"""Features of a small classifier trained on the data set itself: the ones that mean something for digits, with no download.

A convolutional network of two blocks, trained once for each training split under a fixed seed, kept under a hash of the images
and labels it saw. Its accuracy on the held-out split stands in the protocol of every number that uses it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.batches import steps_per_epoch, stream
from bench.cache import cached, digest
from bench.contract import HIDDEN, ImageSpec, Split, Unmeasurable
from bench.data import Data

RECIPE = (
    "3 convolutions to 64 channels, 64 features; AdamW 3e-3 in one cycle, batch 128, 2 to 40 passes, seed 0; version 2"
)
FEATURES = 64
COSTLY_ON_CPU = False
BATCH = 128
STEPS = 250  # where that is between 2 passes over the images and 40: small sets are seen more often


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

    def __init__(self, network: Classifier) -> None:
        self.network = network.eval().requires_grad_(False)
        weights = digest(*network.state_dict().values())[:12]
        self.protocol: Mapping[str, str] = {"extractor": "the data set's own classifier", "weights": weights}

    def __call__(self, images: Tensor) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to ``[B, 64]``."""
        features: Tensor = self.network.body(images * 2 - 1)
        return features

    def logits(self, features: Tensor) -> Tensor:
        """Features ``[B, 64]`` to the logits of the classes, ``[B, K]``."""
        logits: Tensor = self.network.head(features)
        return logits


def fetch(data_dir: Path) -> None:
    """Nothing comes from elsewhere."""


def located(data_dir: Path) -> str:
    """In words, how the weights are had."""
    return "nothing to get: trained on each data set when it is first asked for"


def load(data: Data, cache: Path, data_dir: Path) -> ClassifierFeatures:
    """The classifier of the training images and all their labels, on their device; trained where ``cache`` does not hold it.

    Raises:
        Unmeasurable: the data set has no labels.
    """
    train = Split(data.train.images, data.train_labels)
    train = train.take(train.labels != HIDDEN)
    if not data.spec.classes or len(train) < len(data.spec.classes):
        raise Unmeasurable(f"data set {data.name} has no labels to train a classifier on")
    network = _untrained(data.spec, train.images.device)
    name = f"classifier-{digest(train.images, train.labels, recipe=RECIPE)[:16]}.safetensors"
    like = {key: (value.dtype, value.shape) for key, value in network.state_dict().items()}
    weights = cached(cache / name, lambda: _trained(data.spec, train).state_dict(), train.images.device, like)
    network.load_state_dict(weights)
    return ClassifierFeatures(network)


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> list[nn.Module]:
    layer = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return [layer, nn.BatchNorm2d(outputs), nn.ReLU()]


def _untrained(spec: ImageSpec, device: torch.device) -> Classifier:
    """The network under its own seed; the caller's random state is as it was."""
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return Classifier(spec).to(device)


def _trained(spec: ImageSpec, train: Split) -> Classifier:
    network = _untrained(spec, train.images.device)
    passes = steps_per_epoch(len(train), BATCH)
    steps = max(2 * passes, min(STEPS, 40 * passes))
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
