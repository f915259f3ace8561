"""How fast images become Inception features: in memory, channels last, against pytorch-fid's own path over image files.

    python perf/fid.py

The same digits and the same network for all, randomly weighted: speed and parity do not depend on the weights. Prints images
per second of each in one run, their ratios, how far the features are from pytorch-fid's, and what bfloat16 does to the Fréchet
distance.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import torch
import torchvision
from PIL import Image
from pytorch_fid import fid_score
from pytorch_fid import inception as pytorch_fid
from torch import Tensor, nn

from bench.datasets import open_dataset
from bench.features.inception import InceptionFeatures
from bench.measure.context import extract
from bench.measure.distances import frechet_distance

IMAGES, BATCH, ROUNDS = 100, 50, 3  # 50 is pytorch-fid's own batch


def network() -> nn.Module:
    """pytorch-fid's network with weights that keep the scale of what goes through it."""
    torch.manual_seed(0)
    with (
        patch.object(pytorch_fid, "load_state_dict_from_url"),
        patch.object(torchvision.models.Inception3, "load_state_dict"),
    ):
        made: nn.Module = pytorch_fid.InceptionV3().eval()
    for layer in made.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return made


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Images per second, and the features."""
    started = time.perf_counter()
    features = work()
    return len(features) / (time.perf_counter() - started), features


def main() -> None:
    """Alternate the three, so that a machine whose speed drifts does not favour one."""
    images = open_dataset("digits", Path()).test.images[:IMAGES]
    theirs, ours = network(), InceptionFeatures(network(), "random")
    rates: list[list[float]] = []
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{number:03}.png" for number in range(len(images))]
        for image, file in zip(images, files, strict=True):
            Image.fromarray(image[0].numpy()).save(file)
        for _ in range(ROUNDS):
            runs = [
                timed(lambda: torch.from_numpy(fid_score.get_activations(files, theirs, BATCH, num_workers=0))),
                timed(lambda: extract(ours, images, "float32")),
                timed(lambda: extract(ours, images, "bfloat16")),
            ]
            rates.append([rate for rate, _ in runs])
            print("   ".join(f"{name} {rate:5.1f}/s" for name, rate in zip(NAMES, rates[-1], strict=True)), flush=True)
    reference, *others = (features for _, features in runs)
    for index, (name, features) in enumerate(zip(NAMES[1:], others, strict=True), start=1):
        ratio = sorted(rate[index] / rate[0] for rate in rates)[ROUNDS // 2]
        error = float((features - reference).norm() / reference.norm())
        print(f"{name}: median ratio {ratio:.2f}, features within {error:.1e} of pytorch-fid's, relatively")
    half = len(images) // 2
    distances = [frechet_distance(features[:half], features[half:]) for features in (reference, *others)]
    print(
        "Fréchet distance of the two halves: "
        + ", ".join(f"{n} {d:.6g}" for n, d in zip(NAMES, distances, strict=True))
    )


NAMES = ("pytorch-fid", "float32", "bfloat16")

if __name__ == "__main__":
    main()
