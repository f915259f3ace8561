"""Exact parameter counts, as the source documents print them."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from bench.contract import Batch, ImageSpec, Model, Unsupported, eval_mode
from bench.models.acai import ACAI
from bench.models.adversarial_vae import AdversarialVAE
from bench.models.ae import AE
from bench.models.conv_vae import ConvVAE
from bench.models.cvae import CVAE
from bench.models.cvae_gan import CVAEGAN
from bench.models.dcgan import DCGAN
from bench.models.draw import Draw
from bench.models.gan import GAN
from bench.models.ssl_vae import SSLVAE
from bench.models.ssl_vae_gan import SSLVAEGAN
from bench.models.supervised import Supervised
from bench.models.vae import VAE
from bench.models.vae_gan import VAEGAN
from bench.models.wgan import WGAN
from bench.networks.blocks import keras_count, normal_weights
from bench.training import no_update

MNIST = ImageSpec(1, 28, 28)
CIFAR10 = ImageSpec(3, 32, 32)
LABELLED = ImageSpec(1, 28, 28, tuple("0123456789"))
SVHN = ImageSpec(3, 32, 32, tuple("0123456789"))


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


def test_the_tutorials_dcgan_is_pytorchs() -> None:
    """Layer by layer for 3x64x64 images, noise of 100, width 64: convolutions without biases, two numbers a channel between."""
    model = DCGAN(ImageSpec(3, 64, 64), architecture="tutorial")
    generator = [100 * 512 * 16, 1024, 512 * 256 * 16, 512, 256 * 128 * 16, 256, 128 * 64 * 16, 128, 64 * 3 * 16]
    discriminator = [3 * 64 * 16, 64 * 128 * 16, 256, 128 * 256 * 16, 512, 256 * 512 * 16, 1024, 512 * 16]
    for network, layers in ((model.generator, generator), (model.discriminator, discriminator)):
        assert [count(layer) for layer in network if count(layer)] == layers
    for layer in [*model.generator, *model.discriminator]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.weight.numel() > 1e5:
            assert layer.weight.std().item() == pytest.approx(0.02, rel=0.02)
            assert layer.weight.mean().item() == pytest.approx(0, abs=1e-3)
    with eval_mode(model):
        assert model.discriminator(model.sample(2)).shape == (2, 1)


@pytest.mark.parametrize(
    ("layer", "shape", "inputs"),
    [
        (nn.Linear(400, 300), (64, 400), 400),
        (nn.Conv2d(32, 64, 5, stride=2), (8, 32, 20, 20), 32 * 25),
        (nn.ConvTranspose2d(128, 64, 5, stride=2), (8, 128, 20, 20), 128 * 25 / 4),  # a pixel meets a quarter of the 25
    ],
)
def test_normal_weights_double_the_variance_that_a_relu_halves(
    layer: nn.Linear | nn.Conv2d | nn.ConvTranspose2d, shape: tuple[int, ...], inputs: float
) -> None:
    torch.manual_seed(0)
    normal_weights(layer)
    assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / inputs), rel=0.02)
    out = layer(torch.randn(shape))
    inner = out if out.dim() == 2 else out[:, :, 2:-2, 2:-2]  # further in than a border's zeros
    assert inner.var().item() == pytest.approx(2, rel=0.1)


@pytest.mark.parametrize(
    ("model", "settings", "layer"),
    [
        (CVAE, {}, "decoder.0.0"),
        (CVAE, {"backbone": "mlp"}, "decoder.0"),
        (CVAEGAN, {}, "decoder.0.0"),
    ],
)
def test_a_decoder_hears_a_label_as_well_as_all_that_stands_beside_it(
    model: type[Model], settings: dict[str, str], layer: str
) -> None:
    """One of ten inputs is on: its weights are drawn as if it were the only one, those of the D beside it as of D + 10."""
    weight = model(LABELLED, **settings).get_submodule(layer).get_parameter("weight").detach()
    assert float(weight[:, -10:].std()) == pytest.approx(math.sqrt(2), rel=0.05)
    assert float(weight[:, :-10].std()) == pytest.approx(math.sqrt(2 / weight.shape[1]), rel=0.05)


def test_a_left_half_is_heard_pixel_by_pixel() -> None:
    weight = CVAE(LABELLED, condition="left_half").decoder.get_parameter("0.0.weight").detach()
    assert float(weight[:, -10:].std()) == pytest.approx(math.sqrt(2 / (50 + 392)), rel=0.05)


def test_the_tutorials_dcgan_is_for_one_size() -> None:
    with pytest.raises(Unsupported, match="architecture = 'tutorial' is for 64x64 images, not 32x32; take 'keras'"):
        DCGAN(CIFAR10, architecture="tutorial")


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
    with eval_mode(model):
        assert model.decode(model.encode(images)).shape == images.shape


def test_unpadded_decoder_returns_to_the_image() -> None:
    model = ConvVAE(ImageSpec(3, 64, 64), architecture="unpadded")
    with eval_mode(model):
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
    with eval_mode(model):
        assert model.discriminator(model.sample(2)).shape == (2, 1)


@pytest.mark.parametrize(
    ("depth", "layers", "total"),
    [
        ("shallow", [633_472, 131_136, 256, 32_800, 128, 513], 798_305),
        ("deep", [1_266_944, 524_416, 512, 131_136, 256, 1025], 1_924_289),
    ],
)
def test_wgan_generators_are_figure_25_of_document_003(depth: str, layers: list[int], total: int) -> None:
    generator = WGAN(MNIST, latent_dim=100, depth=depth).generator  # type: ignore[arg-type]
    assert rows(generator) == layers
    assert keras_count(generator) == total


@pytest.mark.parametrize(
    ("depth", "layers", "total", "flat"),
    [
        ("shallow", [448, 37_120, 1024, 2_360_320, 4096, 82_945], 2_485_953, 82_944),
        (
            "deep",
            [448, 18_560, 512, 295_168, 1024, 1_180_160, 2048, 4_719_616, 4096, 9_438_208, 4096, 9217],
            15_673_153,
            9216,
        ),
    ],
)
def test_wgan_critics_are_figure_26_of_document_003(depth: str, layers: list[int], total: int, flat: int) -> None:
    critic = WGAN(CIFAR10, depth=depth).critic  # type: ignore[arg-type]
    assert rows(critic) == layers
    assert keras_count(critic) == total
    assert critic[:-1](torch.rand(2, 3, 32, 32)).shape == (2, flat)


def test_acai_is_appendix_4_of_document_001() -> None:
    """(inputs, outputs, kernel) of every convolution in order, and the sizes between them."""
    model = ACAI(CIFAR10)

    def convolutions(network: nn.Module) -> list[tuple[int, int, int]]:
        found = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        assert all(layer.padding == (1, 1) and layer.stride == (1, 1) for layer in found)
        return [(layer.in_channels, layer.out_channels, layer.kernel_size[0]) for layer in found]

    encoder = [(3, 16, 1), (16, 16, 3), (16, 16, 3), (16, 32, 3), (32, 32, 3), (32, 64, 3), (64, 64, 3), (64, 128, 3)]
    assert convolutions(model.encoder) == [*encoder, (128, 16, 3)]
    assert convolutions(model.critic) == convolutions(model.encoder)
    decoder = [(16, 64, 3), (64, 64, 3), (64, 32, 3), (32, 32, 3), (32, 16, 3), (16, 16, 3), (16, 16, 3), (16, 3, 3)]
    assert convolutions(model.decoder) == decoder
    assert sum(isinstance(layer, nn.AvgPool2d) for layer in model.encoder.modules()) == 3
    assert sum(isinstance(layer, nn.Upsample) for layer in model.decoder.modules()) == 3
    with eval_mode(model):
        assert model.encode(torch.rand(2, 3, 32, 32)).shape == (2, 16, 4, 4)


@pytest.mark.parametrize("network", ["ae", "vae", "acai"])
def test_the_lines_networks_are_those_of_the_acai_authors(network: str) -> None:
    """(inputs, outputs, kernel) of their ``layers.py`` with scales = 4, depth = 16, latent = 16; images from -1 to 1."""
    lines, options = ImageSpec(1, 32, 32), {"architecture": "berthelot", "latent_channels": 16, "width": 16}
    model: AE | ConvVAE | ACAI
    if network == "vae":
        model = ConvVAE(lines, conv_layers=4, upsample="nearest", **options)  # type: ignore[arg-type]
    else:
        kind = AE if network == "ae" else ACAI
        model = kind(lines, blocks=4, reconstruction="mse_linear", **options)  # type: ignore[arg-type]
    pairs = [(16, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 16)]
    back = [(16, 128), (128, 128), (128, 64), (64, 64), (64, 32), (32, 32), (32, 16), (16, 16), (16, 16), (16, 1)]
    encoder, decoder = [(1, 16, 1), *((*pair, 3) for pair in pairs)], [(*pair, 3) for pair in back]
    networks = {"encoder": encoder, "decoder": decoder} | ({"critic": encoder} if network == "acai" else {})
    for name, layers in networks.items():
        module = getattr(model, name)
        found = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
        assert [(layer.in_channels, layer.out_channels, layer.kernel_size[0]) for layer in found] == layers
        assert all(layer.padding == ((layer.kernel_size[0] - 1) // 2,) * 2 for layer in found)  # TensorFlow's "same"
        slopes = {layer.negative_slope for layer in module.modules() if isinstance(layer, nn.LeakyReLU)}
        assert slopes == {0.2}
        for layer in found:
            wanted = (1.04 * layer.weight[0].numel()) ** -0.5
            few = 4 * wanted / (2 * layer.weight.numel()) ** 0.5
            assert layer.weight.std().item() == pytest.approx(wanted, abs=few)
            assert layer.bias is not None
            assert not layer.bias.any()
    images = torch.rand(2, 1, 32, 32)
    with eval_mode(model):
        assert model.encode(images).shape == (2, 16, 2, 2)
    first = next(layer for layer in model.encoder.modules() if not list(layer.children()))
    assert torch.equal(first(images), images * 2 - 1)
    assert sum(isinstance(layer, nn.AvgPool2d) for layer in model.encoder.modules()) == 4
    assert sum(isinstance(layer, nn.Upsample) for layer in model.decoder.modules()) == 4
    if isinstance(model, ConvVAE):
        assert count(model.encoder.mean) == count(model.encoder.log_variance) == 64 * 64 + 64


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def normalised(width: int) -> int:
    return 2 * width


@pytest.mark.parametrize("spec", [LABELLED, SVHN], ids=["mnist", "svhn"])
def test_conditional_networks_are_section_4_3_of_document_004(spec: ImageSpec) -> None:
    """For SVHN every width grows by 8/7."""
    grown = 1 if spec is LABELLED else 8 / 7

    def w(width: int) -> int:
        return round(width * grown)

    model = CVAEGAN(spec)
    channels, quarter = spec.channels, spec.height // 4
    encoder = decoder = critic = 0
    for inputs, outputs in pairwise([channels, w(28), w(56), w(108)]):
        encoder += linear(inputs * 25, outputs) + normalised(outputs)
    encoder += 2 * linear(w(108) * 4 * 4 + 10, 50)
    first = w(128) * quarter**2
    decoder += linear(60, first) + normalised(first)
    for inputs, outputs in pairwise([w(128), w(64), w(32)]):
        decoder += linear(inputs * 25, outputs) + normalised(outputs)
    decoder += linear(w(32) * 25, channels)
    for inputs, outputs in pairwise([channels, w(16), w(32), w(64)]):
        critic += linear(inputs * 9, outputs) + normalised(outputs)
    for inputs, outputs in pairwise([w(64) * 4 * 4, w(512), w(500)]):
        critic += linear(inputs, outputs) + normalised(outputs)
    critic += linear(w(500), 11)
    assert [count(each) for each in (model.encoder, model.decoder, model.discriminator)] == [encoder, decoder, critic]
    assert count(CVAE(spec)) == encoder + decoder
    with eval_mode(model):
        assert model.discriminator(torch.rand(2, *spec.shape))[1].shape == (2, w(512))


def test_the_fully_connected_m2_is_section_4_5_of_document_004() -> None:
    trunk = linear(784, 1024) + linear(1024, 1024) + 2 * normalised(1024) + linear(1024, 50) + linear(1024, 10)
    mean = linear(1024 + 10, 1024) + normalised(1024) + linear(1024, 50)
    decoder = linear(60, 1024) + linear(1024, 1024) + 2 * normalised(1024) + linear(1024, 784)
    assert count(SSLVAE(LABELLED)) == trunk + mean + decoder
    assert count(Supervised(LABELLED)) == trunk - linear(1024, 50)


def test_the_convolutional_m2_is_section_4_5_of_document_004() -> None:
    trunk = linear(25, 20) + normalised(20) + linear(20 * 25, 50) + normalised(50)
    trunk += linear(7 * 7 * 50, 1024) + normalised(1024) + linear(1024, 50) + linear(1024, 10)
    mean = linear(1024 + 10, 1024) + normalised(1024) + linear(1024, 50)
    decoder = linear(50, 500) + normalised(500) + linear(500, 7 * 7 * 50) + normalised(7 * 7 * 50)
    decoder += linear(50 * 25, 20) + normalised(20) + linear(20 * 25, 1) + normalised(1)
    decoder += linear(784 + 10, 512) + normalised(512) + linear(512, 784)
    assert count(SSLVAE(LABELLED, backbone="conv")) == trunk + mean + decoder
    assert count(SSLVAEGAN(LABELLED).networks) == trunk + mean + decoder
    assert count(Supervised(LABELLED, backbone="conv")) == trunk - linear(1024, 50)


@pytest.mark.parametrize(("told", "numbers"), [("labels", 10), ("left_half", 28 * 14)])
def test_the_fully_connected_cvae_is_as_wide_as_the_fully_connected_m2(told: str, numbers: int) -> None:
    model = CVAE(LABELLED, backbone="mlp", condition=told)  # type: ignore[arg-type]
    encoder = linear(784 + numbers, 1024) + linear(1024, 1024) + 2 * normalised(1024) + 2 * linear(1024, 50)
    decoder = linear(50 + numbers, 1024) + linear(1024, 1024) + 2 * normalised(1024) + linear(1024, 784)
    assert (count(model.encoder), count(model.decoder)) == (encoder, decoder)
    assert not any(isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) for layer in model.modules())


@pytest.mark.parametrize(("attention", "seen"), [(True, 25), (False, 784)])
@pytest.mark.parametrize(("conditional", "classes"), [(True, 10), (False, 0)])
def test_draw_is_section_4_6_of_document_004(attention: bool, seen: int, conditional: bool, classes: int) -> None:
    """LSTMs of 256 with two bias vectors each, as torch has them; five numbers for each look through a window."""

    def lstm(inputs: int) -> int:
        return 4 * 256 * (inputs + 256 + 2)

    model = Draw(LABELLED, attention=attention, conditional=conditional)
    expected = lstm(2 * seen + 256 + classes) + lstm(10 + classes) + linear(256, 20) + linear(256, seen)
    assert count(model) == expected + (2 * linear(256, 5) if attention else 0)
    assert (model.network.glimpses, model.network.latent_dim, model.network.window) == (10, 10, 5)


def test_the_adversarial_vae_has_a_critic_like_its_encoder() -> None:
    """The encoder's convolutions, and one apart, whose kernel is what is left of the image (document 000, section 1.3)."""
    model = AdversarialVAE(CIFAR10, conv_layers=4, width=32)
    convolutions = sum(linear(i * 16, o) + normalised(o) for i, o in pairwise([3, 32, 64, 128, 256]))
    assert count(model.critic) == convolutions + linear(256 * 2 * 2, 1)
    assert count(model.encoder) == convolutions + 2 * linear(256 * 2 * 2, 32)
    assert count(VAEGAN(CIFAR10, conv_layers=4, width=32).discriminator) == count(model.critic)
    acai = ACAI(CIFAR10, architecture="mirrored", blocks=4, width=32, upsample="transposed")
    # Behind batch normalisation it would learn grey.
    bare = sum(linear(i * 16, o) for i, o in pairwise([3, 32, 64, 128, 256]))
    assert count(acai.critic) == bare + linear(256 * 2 * 2, 1)
    assert count(acai.encoder) == count(model.encoder) - linear(256 * 2 * 2, 32)  # no variance
    assert count(acai.decoder) == count(model.decoder)
    assert acai.encode(torch.rand(2, 3, 32, 32)).shape == (2, 32)
