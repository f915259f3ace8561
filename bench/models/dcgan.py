"""The deep convolutional GAN: Radford, Metz and Chintala, Unsupervised Representation Learning with DCGANs, 2016.

https://arxiv.org/abs/1511.06434. ``architecture = "keras"`` has the generators of document 003, figures 13 and 14. It does not
print the discriminators: here they are strided convolutions with LeakyReLU and dropout, as wide as the generator they face. Two
habits of the paper were tried on MNIST and left out, since these generators have no batch normalisation behind their linear
layer: batch normalisation in the discriminator, which then outruns them (a loss of 0.1 against 6), and weights from N(0, 0.02),
from which they collapse. ``"tutorial"`` keeps both: it is PyTorch's, https://docs.pytorch.org/tutorials/beginner/dcgan_faces_tutorial.html,
whose generator has the 3,576,704 parameters that document 002 gives its GAN on Imagenette.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Generates, ImageSpec, Model, Unsupported, Update
from bench.networks.adversarial import non_saturating
from bench.networks.blocks import check_choice, check_positive, conv, keras_same_transpose, leaky_relu

TRAINING: dict[str, Any] = {"learning_rate": 2e-4, "betas": (0.5, 0.999)}  # section 4 of the paper
DROPOUT = 0.3  # in the discriminator


@final
class DCGAN(Model, Generates):
    """Noise to image through transposed convolutions. Inside, images are in [-1, 1].

    ``keras``: sides that divide by 16 take document 003's CIFAR-10 generator, which doubles the size four times; other sides that
    divide by 4 take its MNIST generator, which doubles it twice. ``deep`` doubles the channels of ``shallow``. ``tutorial`` is
    for 64x64 images and has no depth to choose.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 100,
        architecture: Literal["keras", "tutorial"] = "keras",
        depth: Literal["shallow", "deep"] = "shallow",
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim)
        check_choice("architecture", architecture, ("keras", "tutorial"))
        check_choice("depth", depth, ("shallow", "deep"))
        self.latent_dim = latent_dim
        if architecture == "tutorial":
            self.generator, self.discriminator = _tutorial(spec, latent_dim)
            return
        factor = 2 if depth == "deep" else 1
        if spec.height % 16 == 0 and spec.width % 16 == 0:
            self.generator = _colour_generator(spec, latent_dim, 512 * factor)
            widths = [spec.channels, *(64 * factor * 2**layer for layer in range(4))]
        elif spec.height % 4 == 0 and spec.width % 4 == 0:
            self.generator = _grey_generator(spec, latent_dim, 128 * factor)
            widths = [spec.channels, 64 * factor, 128 * factor]
        else:
            raise Unsupported(f"image sides must divide by 4, not {spec.height}x{spec.width}")
        shrink = 2 ** (len(widths) - 1)
        flat = widths[-1] * (spec.height // shrink) * (spec.width // shrink)
        layers = [
            nn.Sequential(*conv(*pair, 5, 2, 2, activation=leaky_relu(0.2)), nn.Dropout(DROPOUT))
            for pair in pairwise(widths)
        ]
        self.discriminator = nn.Sequential(*layers, nn.Flatten(), nn.Linear(flat, 1))

    def players(self) -> dict[str, nn.Module]:
        """The discriminator and the generator."""
        return {"discriminator": self.discriminator, "generator": self.generator}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """One step of each player, the generator's on the non-saturating loss."""
        noise = self.codes(len(batch))
        return non_saturating(self.generator, self.discriminator, batch.images * 2 - 1, noise, update)

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        images: Tensor = (self.generator(z) + 1) / 2
        return images


def _tutorial(spec: ImageSpec, latent_dim: int) -> tuple[nn.Sequential, nn.Sequential]:
    """Five convolutions without biases each way, 4x4, batch-normalised but at both ends; weights from N(0, 0.02)."""
    if (spec.height, spec.width) != (64, 64):
        raise Unsupported(
            f"architecture = 'tutorial' is for 64x64 images, not {spec.height}x{spec.width}; take 'keras'"
        )
    first = nn.ConvTranspose2d(latent_dim, 512, 4, bias=False)
    generator: list[nn.Module] = [nn.Unflatten(1, (latent_dim, 1, 1)), first, nn.BatchNorm2d(512), nn.ReLU()]
    for inputs, outputs in pairwise((512, 256, 128, 64)):
        layer = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
        generator += [layer, nn.BatchNorm2d(outputs), nn.ReLU()]
    generator += [nn.ConvTranspose2d(64, spec.channels, 4, 2, 1, bias=False), nn.Tanh()]
    discriminator: list[nn.Module] = [nn.Conv2d(spec.channels, 64, 4, 2, 1, bias=False), leaky_relu(0.2)()]
    for inputs, outputs in pairwise((64, 128, 256, 512)):
        discriminator += [nn.Conv2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), leaky_relu(0.2)()]
    discriminator += [nn.Conv2d(512, 1, 4, bias=False), nn.Flatten()]
    for module in (*generator, *discriminator):
        if isinstance(module, (nn.BatchNorm2d, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.normal_(module.weight, float(isinstance(module, nn.BatchNorm2d)), 0.02)
    return nn.Sequential(*generator), nn.Sequential(*discriminator)


def _grey_generator(spec: ImageSpec, latent_dim: int, width: int) -> nn.Sequential:
    """Figure 13: 3x3 kernels, strides 2, 1, 2, ReLU."""
    height, across = spec.height // 4, spec.width // 4
    layers: list[nn.Module] = [nn.Linear(latent_dim, width * height * across), nn.Unflatten(1, (width, height, across))]
    for inputs, outputs, stride in ((width, width // 2, 2), (width // 2, width // 4, 1)):
        layers += [keras_same_transpose(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, keras_same_transpose(width // 4, spec.channels, 3, 2), nn.Tanh())


def _colour_generator(spec: ImageSpec, latent_dim: int, width: int) -> nn.Sequential:
    """Figure 14: 5x5 kernels, stride 2, LeakyReLU."""
    height, across = spec.height // 16, spec.width // 16
    layers: list[nn.Module] = [nn.Linear(latent_dim, width * height * across), nn.Unflatten(1, (width, height, across))]
    for outputs in (width // 2, width // 4, width // 8):
        layers += [nn.BatchNorm2d(2 * outputs), nn.LeakyReLU(0.2), keras_same_transpose(2 * outputs, outputs, 5, 2)]
    last = keras_same_transpose(width // 8, spec.channels, 5, 2)
    return nn.Sequential(*layers, nn.BatchNorm2d(width // 8), nn.LeakyReLU(0.2), last, nn.Tanh())
