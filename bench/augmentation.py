"""What is done to training images anew in every batch: on their device, by a generator there."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What is done, in this order; nothing by default.

    Attributes:
        horizontal_flip: mirror each image from left to right with probability one half.
        random_crop: put so many black pixels on every side of each image and cut one of the old size out, anywhere.
        noise: the standard deviation of the Gaussian noise added to every pixel, which then stays in [0, 1].
        binarise: make every pixel white with its grey value for the probability, and else black.
    """

    horizontal_flip: bool = False
    random_crop: int = 0
    noise: float = 0.0
    binarise: bool = False

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """float32 ``[B, C, H, W]`` in ``[0, 1]`` to the same."""
        if self.horizontal_flip:
            images = flipped(images, generator)
        if self.random_crop:
            images = cropped(images, self.random_crop, generator)
        if self.noise:
            images = noisy(images, self.noise, generator)
        if self.binarise:
            images = binarised(images, generator)
        return images


def flipped(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each of ``[B, C, H, W]`` mirrored from left to right with probability one half."""
    chosen = torch.rand(len(images), generator=generator, device=images.device) < 0.5
    return torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)


def cropped(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each of ``[B, C, H, W]`` moved by up to ``padding`` pixels down or up and right or left, black where it leaves.

    He et al., Deep Residual Learning for Image Recognition, 2016, section 4.2, with 4 pixels.
    """
    height, width = images.shape[2:]
    windows = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    corner = torch.randint(2 * padding + 1, (2, len(images)), generator=generator, device=images.device)
    return windows[torch.arange(len(images), device=images.device), :, corner[0], corner[1]]


def noisy(images: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Independent N(0, deviation^2) added to every pixel of ``[B, C, H, W]``, cut off at 0 and 1."""
    noise = torch.randn(images.shape, generator=generator, device=images.device)
    return (images + deviation * noise).clamp(0, 1)


def binarised(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Bernoulli draws of grey values ``[B, C, H, W]`` in ``[0, 1]``, every channel by itself: 0 or 1, float32.

    Salakhutdinov and Murray, On the Quantitative Analysis of Deep Belief Networks, 2008, section 5.
    """
    return (torch.rand(images.shape, generator=generator, device=images.device) < images).float()
