"""M2's classifier by itself, learning from labels alone: the control that shows what images without labels add.

Networks of document 004, section 4.5, after Kingma et al., Semi-Supervised Learning with Deep Generative Models, 2014,
https://arxiv.org/abs/1406.5298.
"""

from __future__ import annotations

from typing import Any, Literal, final

import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract import HIDDEN, Batch, Classifies, ImageSpec, Model, Update
from bench.networks.blocks import check_choice
from bench.networks.semi_supervised import classifier

TRAINING: dict[str, Any] = {"batch_size": 100}  # document 004, section 4


@final
class Supervised(Model, Classifies):
    """q(y | x) of ``ssl_vae``, layer for layer. What of a batch has no label is not looked at."""

    def __init__(self, spec: ImageSpec, *, backbone: Literal["mlp", "conv"] = "mlp") -> None:
        super().__init__()
        check_choice("backbone", backbone, ("mlp", "conv"))
        self.classifier = classifier(spec, convolutional=backbone == "conv")

    def players(self) -> dict[str, nn.Module]:
        """One: the classifier."""
        return {"classifier": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the mean of -log q(y | x) over the labelled images."""
        known = batch.labels != HIDDEN
        loss = F.cross_entropy(self.classify(batch.images[known]).float(), batch.labels[known])
        update("classifier", loss)
        return {"loss": loss}

    def classify(self, images: Tensor) -> Tensor:
        """Images ``[B, C, H, W]`` to the logits of q(y | x), ``[B, classes]``."""
        logits: Tensor = self.classifier(images)
        return logits
