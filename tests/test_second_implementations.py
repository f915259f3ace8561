"""What is measured, against the libraries that others measure it with."""

from __future__ import annotations

import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from sklearn.datasets import load_sample_image
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from tqdm import tqdm

from bench.measure.distances import frechet_distance, kernel_distances
from bench.measure.manifolds import manifolds
from bench.metrics.reconstruction import decibels
from bench.metrics.ssim import similarity

tqdm.monitor_interval = 0  # of torch-fidelity's progress bars: the thread behind them would outlive its test


def features(n: int, dimensions: int, seed: int, *, shift: float = 0.0) -> Tensor:
    """Correlated, positive and skewed, as a network's are after its ReLU: float32 ``[n, dimensions]``."""
    generator = torch.Generator().manual_seed(seed)
    mixture = torch.randn(dimensions, dimensions, generator=torch.Generator().manual_seed(99)) / dimensions**0.5
    drawn: Tensor = torch.randn(n, dimensions, generator=generator) @ mixture + shift
    return drawn.relu()


@pytest.mark.parametrize(("n", "m", "dimensions"), [(2000, 1500, 64), (400, 300, 256), (100, 90, 256)])
def test_the_frechet_distance_is_torch_fidelitys(n: int, m: int, dimensions: int) -> None:
    """Of more and of fewer vectors than dimensions; theirs takes the eigenvalues of a product that is not symmetric."""
    one, two = features(n, dimensions, 0), features(m, dimensions, 1, shift=0.2)
    theirs = fid_statistics_to_metric(
        *(fid_features_to_statistics(each.double()) for each in (one, two)), verbose=False
    )
    expected = theirs["frechet_inception_distance"]
    assert frechet_distance(one, two) == pytest.approx(expected, rel=1e-6 if min(n, m) > dimensions else 1e-4)


def test_the_kernel_distance_is_torch_fidelitys() -> None:
    one, two = features(1500, 64, 2).double(), features(1300, 64, 3, shift=0.1).double()
    whole = kid_features_to_metric(
        one[:1000], two[:1000], kid_subsets=1, kid_subset_size=1000, rng_seed=0, verbose=False
    )
    (found,) = kernel_distances(one[:1000], two[:1000], subsets=1)  # all of them, in whatever order
    assert float(found) == pytest.approx(whole["kernel_inception_distance_mean"], rel=1e-9)
    many = kid_features_to_metric(one, two, kid_subsets=200, kid_subset_size=100, rng_seed=0, verbose=False)
    subsets = kernel_distances(one, two, subsets=200, size=100)
    spread = float(subsets.std())
    assert spread == pytest.approx(many["kernel_inception_distance_std"], rel=0.15)  # three standard errors of one
    error = spread * (2 / 200) ** 0.5
    assert float(subsets.mean()) == pytest.approx(many["kernel_inception_distance_mean"], abs=3 * error)


@pytest.mark.parametrize("neighbours", [3, 5])
def test_precision_and_recall_are_torch_fidelitys(neighbours: int) -> None:
    real, generated = features(700, 16, 4).double(), features(600, 16, 5, shift=0.3).double()
    theirs = prc_features_to_metric(generated, real, prc_neighborhood=neighbours, verbose=False)
    found = manifolds(real, generated, neighbours)
    assert found.precision == pytest.approx(theirs["precision"], abs=1e-7)  # a mean of float32
    assert found.recall == pytest.approx(theirs["recall"], abs=1e-7)
    assert 0.1 < found.precision < 0.99


@pytest.fixture(scope="module")
def photographs() -> tuple[Tensor, Tensor]:
    """Pieces of a photograph, and the same with noise: float32 ``[8, 3, 64, 96]`` in ``[0, 1]``."""
    whole = torch.tensor(load_sample_image("china.jpg")).permute(2, 0, 1).float().div(255)
    pieces = torch.stack(
        [whole[:, top : top + 64, left : left + 96] for top in (0, 150) for left in (0, 100, 300, 500)]
    )
    noise = torch.randn(pieces.shape, generator=torch.Generator().manual_seed(0))
    strength = torch.linspace(0.02, 0.4, len(pieces)).view(-1, 1, 1, 1)
    return pieces, (pieces + strength * noise).clamp(0, 1)


def test_structural_similarity_is_scikit_images(photographs: tuple[Tensor, Tensor]) -> None:
    originals, damaged = photographs
    expected = [
        structural_similarity(
            original.double().numpy(),
            image.double().numpy(),
            gaussian_weights=True,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=0,
        )
        for original, image in zip(originals, damaged, strict=True)
    ]
    # Variances of a bright and even sky, some 1e-3, are differences of float32 numbers near 1.
    assert similarity(damaged, originals).tolist() == pytest.approx(expected, abs=5e-5)
    assert min(expected) < 0.1 < 0.7 < max(expected)


def test_the_signal_to_noise_ratio_is_scikit_images(photographs: tuple[Tensor, Tensor]) -> None:
    pairs = [(original.double().numpy(), image.double().numpy()) for original, image in zip(*photographs, strict=True)]
    expected = [peak_signal_noise_ratio(original, image, data_range=1) for original, image in pairs]
    assert decibels(photographs[1], photographs[0]).tolist() == pytest.approx(expected, rel=1e-6)
