"""How near held-out images come out again when each is decoded from its mean code.

reconstruction_mse: Mean squared error of reconstructed held-out images, per pixel, of images in [0, 1].
psnr: Peak signal-to-noise ratio of reconstructed held-out images, in decibels: the mean over images of 10 log10(1 / MSE).
reconstruction_sharpness: ``sharpness`` of reconstructed held-out images: below 1 blurrier than the images themselves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from bench.contract import Autoencodes, Model, Unmeasurable
from bench.data import Data
from bench.measure.appearance import power, relative_sharpness
from bench.measure.context import Context
from bench.score import Score

VALUES = {"reconstruction_mse": "lower", "psnr": "higher", "reconstruction_sharpness": "neither"}
UNITS = {"psnr": "dB", "reconstruction_sharpness": "times held-out"}
NEEDS = Autoencodes
EXTRACTOR = None


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The error over all pixels of all held-out images, the mean over the images, and the share of all their energy."""
    error, signal = 0.0, []
    height, width = data.held_out.images.shape[2:]
    spectra = torch.zeros(2, height, width, dtype=torch.float64, device=data.held_out.images.device)
    for decoded, images in context.reconstructed():
        error += float((decoded - images).square().double().sum())
        signal.append(decibels(decoded, images))
        spectra += torch.stack((power(decoded), power(images)))
    scores = {
        "reconstruction_mse": Score(error / data.held_out.images.numel()),
        "psnr": Score(float(torch.cat(signal).mean())),
    }
    try:
        sharpness = relative_sharpness(*spectra)
        scores["reconstruction_sharpness"] = Score(sharpness, protocol={"high": "from 1/4 cycle per pixel"})
    except Unmeasurable as error:
        scores["reconstruction_sharpness"] = Score(None, str(error))
    return scores


def decibels(images: Tensor, originals: Tensor) -> Tensor:
    """10 log10(1 / MSE) of each image of ``[B, C, H, W]`` in ``[0, 1]``: ``[B]``; infinite where they are equal."""
    return -10 * (images - originals).square().double().flatten(1).mean(dim=1).log10()
