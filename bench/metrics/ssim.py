"""Structural similarity of held-out images to what each is decoded to from its mean code, in [-1, 1]: 1 where they are equal.

Wang et al., Image Quality Assessment: From Error Visibility to Structural Similarity, 2004, equation 13,
https://doi.org/10.1109/TIP.2003.819861. A file of its own, since it takes several times as long as all of ``reconstruction``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.contract import Autoencodes, Model
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score

VALUES = {"ssim": "higher"}
NEEDS = Autoencodes
EXTRACTOR = None
WINDOW = 11  # pixels
DEVIATION = 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2  # the paper's K1 and K2, for images in [0, 1]


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    """The mean over all held-out images."""
    return {"ssim": Score(float(torch.cat([similarity(*pair) for pair in context.reconstructed()]).mean()))}


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
