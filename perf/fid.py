"""How fast images become Inception features: in memory, channels last, against pytorch-fid over image files, and torch-fidelity.

    python perf/fid.py

The same digits for all, and the same network randomly weighted: speed and parity do not depend on the weights. That of
torch-fidelity has names and weights of its own, and takes the digits from memory too. Prints images per second of each in one
run, their ratios, how far the features are from pytorch-fid's, and what bfloat16 does to the Fréchet distance. Exit status 1
where float32 is slower than either.
"""

from __future__ import annotations

import sys
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
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from bench.datasets import open_dataset
from bench.features.inception import InceptionFeatures
from bench.measure.context import extract
from bench.measure.distances import frechet_distance

IMAGES, BATCH, ROUNDS = 100, 50, 5  # 50 is pytorch-fid's own batch


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


def fidelity() -> Callable[[Tensor], Tensor]:
    """torch-fidelity's network, uint8 RGB images to features."""
    place = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
    with patch(place), patch.object(FeatureExtractorInceptionV3, "load_state_dict"):
        made = FeatureExtractorInceptionV3("inception", ["2048"])

    def features(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([made(part)[0] for part in images.expand(-1, 3, -1, -1).split(BATCH)])

    return features


def timed(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    """Images per second, and the features."""
    started = time.perf_counter()
    features = work()
    return len(features) / (time.perf_counter() - started), features


def main() -> int:
    """Alternate them, so that a machine whose speed drifts does not favour one; 1 where the bar is missed."""
    images = open_dataset("digits", Path()).test.images[:IMAGES]
    theirs, others_features, ours = network(), fidelity(), InceptionFeatures(network(), "random")
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
                timed(lambda: others_features(images)),
            ]
            rates.append([rate for rate, _ in runs])
            print("   ".join(f"{name} {rate:5.1f}/s" for name, rate in zip(NAMES, rates[-1], strict=True)), flush=True)
    reference, *others = (features for _, features in runs[:3])
    for name, features in zip(NAMES[1:3], others, strict=True):
        error = float((features - reference).norm() / reference.norm())
        print(f"{name}: features within {error:.1e} of pytorch-fid's, relatively")
    missed = False
    for name, index in (("pytorch-fid", 0), ("torch-fidelity", 3)):
        ratios = [sorted(rate[own] / rate[index] for rate in rates)[ROUNDS // 2] for own in (1, 2)]
        missed |= ratios[0] < 1
        print(
            f"times as fast as {name}: float32 {ratios[0]:.2f}, at least 1: {'MISSED' if ratios[0] < 1 else 'met'}; "
            f"bfloat16 {ratios[1]:.2f}"
        )
    half = len(images) // 2
    distances = [frechet_distance(features[:half], features[half:]) for features in (reference, *others)]
    print(
        "Fréchet distance of the two halves: "
        + ", ".join(f"{n} {d:.6g}" for n, d in zip(NAMES[:3], distances, strict=True))
    )
    return 1 if missed else 0


NAMES = ("pytorch-fid", "float32", "bfloat16", "torch-fidelity")

if __name__ == "__main__":
    sys.exit(main())
