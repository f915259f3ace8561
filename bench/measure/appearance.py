"""What is said of images by eye as numbers: how sharp they are, how contrasted, how much of a grid shows in them.

Every number is of a set of images ``[N, C, H, W]`` in whatever unit: what compares is its ratio to that of real ones.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from bench.contract import Unmeasurable

CHUNK = 500  # images that are transformed at a time
HIGH = 0.25  # cycles per pixel, from which a frequency is high: half of the highest along an axis
DETAIL = 0.01  # the least share of energy in them that images must have to be compared in fine details; photographs have 4 to 7 %
PERIODS = (8, 4, 2)  # pixels: what strides of 2 leave behind, three, two or one layer before the last
APART = 4  # frequencies that two of a pattern must be apart for what lies between to be its surroundings
BLOCKS = (8, 4)  # pixels


def power(images: Tensor) -> Tensor:
    """The energy of images at every frequency, summed over them and their channels: float64 ``[H, W]`` in the order of an FFT.

    Each channel less its mean, under a Hann window along both axes, so that no border of the image counts as an edge. An exact
    frequency comes out in three bins along each axis, at 1/6, 2/3 and 1/6 of its energy.
    """
    height, width = images.shape[2:]
    window = torch.outer(*(torch.hann_window(side, device=images.device) for side in (height, width)))
    total = torch.zeros(height, width, dtype=torch.float64, device=images.device)
    for part in images.split(CHUNK):
        pixels = part.float()
        centred = pixels - pixels.mean(dim=(2, 3), keepdim=True)
        total += torch.fft.fft2(centred * window).abs().square().double().sum(dim=(0, 1))
    return total


def high_share(spectrum: Tensor) -> float:
    """The share of a `power` that lies at 1/4 cycle per pixel or above, whatever its direction: in details of under 4 pixels."""
    down, across = (torch.fft.fftfreq(side, device=spectrum.device) for side in spectrum.shape)
    high = torch.hypot(down.view(-1, 1), across) >= HIGH
    return float(spectrum[high].sum() / spectrum.sum())


def relative_sharpness(made: Tensor, real: Tensor) -> float:
    """The `high_share` of one `power` over that of real images; 1 where they are alike.

    Raises:
        Unmeasurable: the real ones have no such details, as images that were enlarged have none: whatever is made has more.
    """
    check_detail(real)
    return high_share(made) / high_share(real)


def check_detail(real: Tensor) -> None:
    """Nothing, where images of this `power` have details of under 4 pixels.

    Raises:
        Unmeasurable: they have none.
    """
    if (share := high_share(real)) < DETAIL:
        few = f"{100 * share:.2g} % of the energy of held-out images is in details of under 4 pixels"
        raise Unmeasurable(f"{few}, as of images that were enlarged: too little to compare with")


def period_of(height: int, width: int) -> int:
    """The longest of the periods 8, 4 and 2 pixels that divides both sides and whose frequencies are far enough apart.

    Raises:
        Unmeasurable: there is none.
    """
    for period in PERIODS:
        if all(side % period == 0 and side // period >= APART for side in (height, width)):
            return period
    raise Unmeasurable(f"no grid of {', '.join(map(str, PERIODS[::-1]))} pixels shows in {height}x{width}")


def grid_excess(spectrum: Tensor) -> float:
    """How far a `power` stands out at the frequencies of a grid of pixels, 1 where it does not.

    The mean, over the frequencies of whatever repeats every `period_of` pixels, of the energy there over the mean of the 16 bins
    around it at a distance of 2, which the window keeps clear of it.
    """
    height, width = spectrum.shape
    period = period_of(height, width)
    shifts = [shift for shift in product(range(-2, 3), repeat=2) if max(map(abs, shift)) == 2]
    around = sum((spectrum.roll(shift, dims=(0, 1)) for shift in shifts), torch.zeros_like(spectrum)) / len(shifts)
    excess = (spectrum / around)[:: height // period, :: width // period]
    return float(excess.flatten()[1:].mean())  # all but the frequency 0


def root_mean_square_contrast(images: Tensor) -> float:
    """The standard deviation of the pixels of a channel, averaged over channels and images.

    Peli, Contrast in complex images, 1990, https://doi.org/10.1364/JOSAA.7.002032.
    """
    deviations = [part.float().std(dim=(2, 3), correction=0).double().flatten() for part in images.split(CHUNK)]
    return float(torch.cat(deviations).mean())


def block_of(height: int, width: int) -> int:
    """8 or 4 pixels, the larger that divides both sides.

    Raises:
        Unmeasurable: neither does.
    """
    for block in BLOCKS:
        if all(side % block == 0 and side > block for side in (height, width)):
            return block
    raise Unmeasurable(f"no blocks of {' or '.join(map(str, BLOCKS[::-1]))} pixels fill {height}x{width}")


def block_excess(images: Tensor) -> float:
    """The mean absolute difference of neighbouring pixels across the borders of blocks of `block_of`, over that elsewhere."""
    block = block_of(*images.shape[2:])
    sums, counts = torch.zeros(2, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for part in images.split(CHUNK):
        for axis in (2, 3):
            steps = part.float().diff(dim=axis).abs().double().sum(dim=[each for each in range(4) if each != axis])
            border = (torch.arange(1, len(steps) + 1) % block == 0).to(steps.device)
            sums += torch.stack((steps[border].sum(), steps[~border].sum())).cpu()
            crossings = part.numel() // part.shape[axis]
            counts += torch.tensor([int(border.sum()), int((~border).sum())]) * crossings
    across, elsewhere = sums / counts
    return float(across / elsewhere)
