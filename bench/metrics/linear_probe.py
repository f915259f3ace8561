"""Accuracy on held-out images of a logistic regression from their codes, fitted on training images: what the codes tell.

Alain and Bengio, Understanding intermediate layers using linear classifier probes, 2016, https://arxiv.org/abs/1610.01644.
"""

from __future__ import annotations

import torch

from bench.contract import HIDDEN, Autoencodes, Split, Unmeasurable, conditioned_on, in_order
from bench.data import Data
from bench.measure.context import Context, chosen
from bench.score import Score

VALUES = {"linear_probe": "higher"}
UNITS = {"linear_probe": "share"}
NEEDS = Autoencodes
EXTRACTOR = None
IMAGES = 3000  # training images; more change little and cost seconds


def measure(model: Autoencodes, data: Data, context: Context) -> dict[str, Score]:
    """The share of held-out images told rightly, from standardised mean codes.

    Raises:
        Unmeasurable: the encoder is told the class or half of the image, or the data set has no labels.
    """
    from sklearn.linear_model import LogisticRegression  # takes half a second to read, which every command would pay
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if conditioned_on(model) is not None:
        raise Unmeasurable("its encoder is told part of the answer")
    train = Split(data.train.images, data.train_labels)
    train = train.take((train.labels != HIDDEN).nonzero().flatten())
    protocol = chosen(len(train), IMAGES)
    train = train.take(train.spaced(min(IMAGES, len(train))))
    if len(train.labels.unique()) < 2:
        raise Unmeasurable(f"data set {data.name} has no labels to tell")
    codes, held_out = (
        torch.cat([model.encode(batch.images).flatten(1) for batch in in_order(split)]).cpu().numpy()
        for split in (train, data.held_out)
    )
    probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probe.fit(codes, train.labels.cpu().numpy())
    accuracy = float(probe.score(held_out, data.held_out.labels.cpu().numpy()))
    return {"linear_probe": Score(accuracy, protocol={"fitted_on": len(train), **protocol})}
