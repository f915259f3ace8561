"""The same questions on one GPU, in ten minutes: training beside bare loops, in both precisions, and what measuring takes.

    python -m perf.gpu [--tiny]

Prints for every system images per second in float32 and in bfloat16, the ratio to a bare loop of the same nets, the share of
the rate at which this GPU multiplies matrices, and what ``torch.compile`` gains; then the images per second that Inception's
network takes. ``--tiny`` takes few images and small systems and compiles nothing, on the processor where there is no GPU: it
shows that all of it works, and its figures mean nothing.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from statistics import median

import torch

from bench.features.inception import InceptionFeatures
from bench.measure.context import Precision, extract
from perf.fid import network
from perf.training import ROUNDS, SYSTEMS, Epoch, bare, gain, in_turn, matrix_rate, operations, ours, spread

IMAGES = 12_800  # of an epoch
FEATURES = 2000  # images through Inception
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
TINY = ("vae", "gan")


def main() -> int:
    """Print the tables; 1 where there is no GPU and none was to be done without."""
    tiny = "--tiny" in sys.argv
    if not (torch.cuda.is_available() or tiny):
        print("there is no GPU here; with --tiny all of it is tried on the processor", file=sys.stderr)
        return 1
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print(f"{torch.cuda.get_device_name(device) if device.type == 'cuda' else 'processor'}, torch {torch.__version__}")
    rate = matrix_rate(device)
    print(f"matrix products of float32: {rate / 1e12:.1f} TFLOP/s")
    for each in SYSTEMS:
        if tiny and each.model not in TINY:
            continue
        batch = 8 if tiny else max(each.batch, 128) if each.side > 8 else each.batch
        system = replace(each, batch=batch, images=2 * batch if tiny else IMAGES)
        loops: dict[str, Epoch] = {name: ours(system, device, name) for name in PRECISIONS}
        loops["bare"] = bare(system, device)
        taken = in_turn(loops, 1 if tiny else ROUNDS)
        seconds = {name: median(each.waited) for name, each in taken.items()}
        share = operations(system) * system.images / system.batch / seconds["float32"] / rate
        ratios = [a / b for a, b in zip(taken["float32"].waited, taken["bare"].waited, strict=True)]
        print(
            f"{system.model:<12} {system.side:>3} {system.batch:>4}  "
            + "  ".join(f"{name} {system.images / seconds[name]:>10,.0f} images/s" for name in PRECISIONS)
            + f"  / bare loop {spread(ratios)}  {share:.0%} of the rate",
            flush=True,
        )
        if not tiny:
            print(gain(system, device), flush=True)
    features = InceptionFeatures(network().to(device), "random")
    images = torch.randint(0, 256, (2 if tiny else FEATURES, 3, 32, 32), dtype=torch.uint8, device=device)
    for precision in PRECISIONS:
        extract(features, images[:2], precision)
        started = time.perf_counter()
        extract(features, images, precision).sum().item()
        print(f"Inception, {precision}: {len(images) / (time.perf_counter() - started):,.0f} images/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
