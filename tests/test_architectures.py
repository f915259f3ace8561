"""Exact parameter counts, as the source documents print them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from bench.contract import Batch, ImageSpec, Unsupported, aside, no_update
from bench.models.conv_vae import ConvVAE
from bench.models.dcgan import DCGAN
from bench.models.gan import GAN
from bench.models.vae import VAE
from bench.nets import keras_count

MNIST = ImageSpec(1, 28, 28)
CIFAR10 = ImageSpec(3, 32, 32)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def rows(module: nn.Sequential) -> list[int]:
    """Keras's count of every layer that has parameters."""
    return [keras_count(layer) for layer in module if keras_count(layer)]


def test_vae_is_listing_1_of_document_002() -> None:
    model = VAE(MNIST, hidden_dims=[512, 256], latent_dim=16)
    assert count(model) == 1_079_600
    shapes = [tuple(p.shape) for p in model.parameters() if p.ndim == 2]
    assert shapes == [(512, 784), (256, 512), (32, 256), (256, 16), (512, 256), (784, 512)]


@pytest.mark.parametrize(("hidden", "latent"), [(128, 2), (256, 2), (512, 2), (512, 5), (512, 10)])
def test_vae_of_document_003(hidden: int, latent: int) -> None:
    expected = 784 * hidden + hidden + hidden * 2 * latent + 2 * latent
    expected += latent * hidden + hidden + hidden * 784 + 784
    assert count(VAE(MNIST, hidden_dims=[hidden], latent_dim=latent)) == expected


def test_conv_vae_is_listing_2_of_document_002() -> None:
    model = ConvVAE(ImageSpec(3, 64, 64), architecture="unpadded", latent_dim=32)
    assert count(model) == 4_348_547
    assert count(model.encoder.mean) == count(model.encoder.log_variance) == 1024 * 32 + 32


def test_gan_is_listing_3_of_document_002() -> None:
    model = GAN(MNIST)
    assert count(model.generator) == 64 * 256 + 256 + 256 * 784 + 784
    assert count(model.discriminator) == 784 * 128 + 128 + 128 + 1


@pytest.mark.parametrize(
    ("spec", "depth", "layers", "total"),
    [
        (MNIST, "shallow", [633_472, 73_792, 256, 18_464, 128, 289], 726_401),
        (MNIST, "deep", [1_266_944, 295_040, 512, 73_792, 256, 577], 1_637_121),
        (
            CIFAR10,
            "shallow",
            [206_848, 2048, 3_277_056, 1024, 819_328, 512, 204_864, 256, 4803],
            4_516_739,
        ),
        (
            CIFAR10,
            "deep",
            [413_696, 4096, 13_107_712, 2048, 3_277_056, 1024, 819_328, 512, 9603],
            17_635_075,
        ),
    ],
)
def test_dcgan_is_figures_13_and_14_of_document_003(spec: ImageSpec, depth: str, layers: list[int], total: int) -> None:
    generator = DCGAN(spec, latent_dim=100, depth=depth).generator  # type: ignore[arg-type]
    assert rows(generator) == layers
    assert keras_count(generator) == total


@pytest.mark.parametrize(("conv_layers", "side"), [(1, 14), (2, 7), (3, 3), (4, 1)])
def test_mirrored_conv_vae_halves_the_image(conv_layers: int, side: int) -> None:
    model = ConvVAE(MNIST, conv_layers=conv_layers, width=32)
    assert model.encoder.mean.in_features == 32 * 2 ** (conv_layers - 1) * side * side


@pytest.mark.parametrize("upsample", ["transposed", "nearest"])
@pytest.mark.parametrize("linear_layers", [1, 2])
@pytest.mark.parametrize("conv_layers", [3, 4])
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 33, 33)])
def test_mirrored_decoder_returns_to_the_image(
    shape: tuple[int, int, int], conv_layers: int, linear_layers: int, upsample: str
) -> None:
    model = ConvVAE(
        ImageSpec(*shape),
        conv_layers=conv_layers,
        linear_layers=linear_layers,  # type: ignore[arg-type]
        upsample=upsample,  # type: ignore[arg-type]
        width=4,
        spectral_norm=True,
    )
    images = torch.rand(2, *shape)
    with aside(model):
        assert model.decode(model.encode(images)).shape == images.shape


def test_unpadded_decoder_returns_to_the_image() -> None:
    model = ConvVAE(ImageSpec(3, 64, 64), architecture="unpadded")
    with aside(model):
        assert model.sample(2).shape == (2, 3, 64, 64)


def test_a_decoder_that_misses_the_image_names_the_one_that_reaches_it() -> None:
    with pytest.raises(Unsupported, match="cannot reach 33x32; take upsample = 'nearest'"):
        ConvVAE(ImageSpec(1, 33, 32), conv_layers=3)
    assert ConvVAE(ImageSpec(1, 33, 32), conv_layers=3, upsample="nearest").sample(1).shape == (1, 1, 33, 32)


def test_spectral_norm_bounds_every_convolution_and_adds_no_parameter() -> None:
    torch.manual_seed(0)
    plain, bounded = ConvVAE(MNIST, width=4), ConvVAE(MNIST, width=4, spectral_norm=True)
    assert keras_count(plain) == keras_count(bounded)
    batch = Batch(torch.rand(2, 1, 28, 28), torch.zeros(2, dtype=torch.int64))
    for _ in range(200):  # one power iteration for each pass: the estimate closes in on the largest singular value
        bounded.step(batch, no_update)
    layers = [layer for layer in bounded.modules() if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d))]
    assert len(layers) == 6
    for layer in layers:
        weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
        assert torch.linalg.matrix_norm(weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    ("spec", "start"), [(ImageSpec(3, 64, 64), (512, 4, 4)), (ImageSpec(3, 96, 32), (512, 6, 2)), (MNIST, (128, 7, 7))]
)
def test_dcgan_starts_from_the_size_that_doubles_to_the_image(spec: ImageSpec, start: tuple[int, int, int]) -> None:
    model = DCGAN(spec)
    assert next(layer for layer in model.generator if isinstance(layer, nn.Unflatten)).unflattened_size == start
    with aside(model):
        assert model.discriminator(model.sample(2)).shape == (2, 1)
