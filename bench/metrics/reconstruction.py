"""How near held-out images come out again when each is decoded from its mean code.

reconstruction_mse: Mean squared error of reconstructed held-out images, per pixel, of images in [0, 1].
psnr: Peak signal-to-noise ratio of reconstructed held-out images, in decibels: the mean over images of 10 log10(1 / MSE).
ssim: Structural similarity of reconstructed to held-out images, in [-1, 1]: 1 where they are equal.
reconstruction_sharpness: ``sharpness`` of reconstructed held-out images: below 1 blurrier than the images themselves.

Structural similarity is that of Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004,
equation 13, https://doi.org/10.1109/TIP.2003.819861.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.contract import Autoencodes, Model
from bench.data import Data
from bench.measure.appearance import high_share, power
from bench.measure.context import Context
from bench.score import Score

VALUES = {"reconstruction_mse": "lower", "psnr": "higher", "ssim": "higher", "reconstruction_sharpness": "neither"}
NEEDS = Autoencodes
EXTRACTOR = None
WINDOW = 11  # pixels
DEVIATION = 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2  # the paper's K1 and K2, for images in [0, 1]


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The error over all pixels of all held-out images, two means over the images, and the share of all their energy."""
    error, signal, structure = 0.0, [], []
    height, width = data.held_out.images.shape[2:]
    spectra = torch.zeros(2, height, width, dtype=torch.float64, device=data.held_out.images.device)
    for decoded, images in context.reconstructed():
        error += float((decoded - images).square().double().sum())
        signal.append(decibels(decoded, images))
        structure.append(similarity(decoded, images))
        spectra += torch.stack((power(decoded), power(images)))
    made, real = (high_share(spectrum) for spectrum in spectra)
    return {
        "reconstruction_mse": Score(error / data.held_out.images.numel()),
        "psnr": Score(float(torch.cat(signal).mean())),
        "ssim": Score(float(torch.cat(structure).mean())),
        "reconstruction_sharpness": Score(made / real, protocol={"high": "from 1/4 cycle per pixel"}),
    }


def decibels(images: Tensor, originals: Tensor) -> Tensor:
    """10 log10(1 / MSE) of each image of ``[B, C, H, W]`` in ``[0, 1]``: ``[B]``; infinite where they are equal."""
    return -10 * (images - originals).square().double().flatten(1).mean(dim=1).log10()


def similarity(images: Tensor, originals: Tensor) -> Tensor:
    """The index of images ``[B, C, H, W]`` in ``[0, 1]``, averaged over channels and over where its window lies inside: ``[B]``.

    The window is the paper's, a Gaussian of deviation 1.5 on 11x11 pixels, smaller where the image is.
    """
    size = min(WINDOW, *(side - 1 + side % 2 for side in images.shape[2:]))
    offsets = torch.arange(size, device=images.device) - (size - 1) / 2
    line = (-offsets.square() / (2 * DEVIATION**2)).exp()
    window = torch.outer(line, line).div(line.sum() ** 2).expand(images.shape[1], 1, size, size)
    x, y = images.float(), originals.float()
    each = torch.cat((x, y, x * x, y * y, x * y))
    mean_x, mean_y, xx, yy, xy = F.conv2d(each, window, groups=images.shape[1]).chunk(5)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x.square() + mean_y.square() + C1)
    variances = xx - mean_x.square() + yy - mean_y.square()
    structure = (2 * (xy - mean_x * mean_y) + C2) / (variances + C2)
    return (luminance * structure).flatten(1).mean(dim=1)
