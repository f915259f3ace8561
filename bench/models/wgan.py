"""The Wasserstein GAN: Arjovsky, Chintala and Bottou, 2017, https://arxiv.org/abs/1701.07875.

Generators of document 003, figure 25, and its critics for CIFAR-10, figure 26. It prints no critic for MNIST: here that follows
the figure's pattern, with widths in keeping (16, 32, 64, 128). ``lipschitz = "penalty"`` is the gradient penalty of Gulrajani
et al., 2017, https://arxiv.org/abs/1704.00028, beyond the document; they train it with Adam at 1e-4 and betas of 0 and 0.9,
which is not the default here.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Generates, ImageSpec, Model, Unsupported, Update
from bench.networks.adversarial import critic_batches
from bench.networks.blocks import check_choice, check_positive, check_repeats, keras_same_conv, leaky_relu

# RMSprop at 5e-5 and batches of 64, algorithm 1 of the paper: with five critic steps, 320 images are one step of the generator.
TRAINING: dict[str, Any] = {"optimizer": "rmsprop", "learning_rate": 5e-5, "batch_size": 320}
DROPOUT = 0.25  # in the critic, where the document's tables have it without a rate


@final
class WGAN(Model, Generates):
    """A critic that estimates the Wasserstein distance between generated and real images, and the generator that shortens it.

    A batch is cut into ``critic_steps`` parts, one for each step of the critic; then the generator makes one. So an epoch shows
    the critic every image once, and the generator descends images / batch size times. ``clip`` bounds the critic's parameters,
    ``penalty_weight`` weighs the gradient penalty, under which the critic has no batch normalisation and no dropout. Inside,
    images are in [-1, 1].
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 100,
        depth: Literal["shallow", "deep"] = "shallow",
        lipschitz: Literal["clip", "penalty"] = "clip",
        critic_steps: int = 5,
        clip: float = 0.01,
        penalty_weight: float = 10.0,
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, clip=clip, penalty_weight=penalty_weight)
        check_repeats(critic_steps=critic_steps)
        check_choice("depth", depth, ("shallow", "deep"))
        check_choice("lipschitz", lipschitz, ("clip", "penalty"))
        if spec.height % 4 or spec.width % 4:
            raise Unsupported(f"image sides must divide by 4, not {spec.height}x{spec.width}")
        self.latent_dim = latent_dim
        self.lipschitz = lipschitz
        self.critic_steps = critic_steps
        self.clip = clip
        self.penalty_weight = penalty_weight
        self.generator = _generator(spec, latent_dim, 256 if depth == "deep" else 128)
        self.critic = _critic(spec, depth, clipped=lipschitz == "clip")
        self._clip()

    def players(self) -> dict[str, nn.Module]:
        """The critic and the generator."""
        return {"critic": self.critic, "generator": self.generator}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Algorithm 1. ``wasserstein`` is the critic's estimate, E[C(real)] - E[C(fake)], up to its Lipschitz constant."""
        losses, estimates = [], []
        for images in critic_batches(batch.images * 2 - 1, self.critic_steps):
            fake = self.generator(self.codes(len(images))).detach()
            estimate = wasserstein(self.critic(images), self.critic(fake))
            loss = -estimate
            if self.lipschitz == "penalty":
                loss = loss + self.penalty_weight * gradient_penalty(self.critic, images, fake)
            update("critic", loss)
            self._clip()
            losses.append(loss)
            estimates.append(estimate)
        generator = -self.critic(self.generator(self.codes(len(images)))).float().mean()
        update("generator", generator)
        return {
            "critic": torch.stack(losses).mean(),
            "generator": generator,
            "wasserstein": torch.stack(estimates).mean(),
        }

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` to images ``[B, C, H, W]``."""
        images: Tensor = (self.generator(z) + 1) / 2
        return images

    def _clip(self) -> None:
        """Into [-clip, clip]; from the first on, so that it changes nothing where nothing was learnt."""
        if self.lipschitz == "clip":
            with torch.no_grad():
                for parameter in self.critic.parameters():
                    parameter.clamp_(-self.clip, self.clip)


def wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    """E[C(real)] - E[C(fake)] of a critic's values ``[B, 1]``; their supremum over 1-Lipschitz critics is the distance."""
    return real.float().mean() - fake.float().mean()


def gradient_penalty(critic: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """E[(||grad C|| - 1)^2] at random points between real and fake images ``[B, C, H, W]`` (Gulrajani et al., equation 3)."""
    with torch.enable_grad():
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = torch.lerp(fake, real, share).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
    penalty: Tensor = (gradient.float().flatten(1).norm(dim=1) - 1).square().mean()
    return penalty


def _generator(spec: ImageSpec, latent_dim: int, width: int) -> nn.Sequential:
    """Figure 25: nearest upsampling and 4x4 convolutions, from a quarter of the image's sides."""
    size = spec.height // 4, spec.width // 4
    layers: list[nn.Module] = [
        nn.Linear(latent_dim, width * size[0] * size[1]),
        nn.ReLU(),
        nn.Unflatten(1, (width, *size)),
    ]
    for inputs, outputs in ((width, width // 2), (width // 2, width // 4)):
        size = 2 * size[0], 2 * size[1]
        layers += [
            nn.Upsample(size),
            keras_same_conv(inputs, outputs, 4, 1, size),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        ]
    return nn.Sequential(*layers, keras_same_conv(width // 4, spec.channels, 4, 1, size), nn.Tanh())


def _critic(spec: ImageSpec, depth: str, *, clipped: bool) -> nn.Sequential:
    """Figure 26: 3x3 convolutions with zero padding, LeakyReLU, dropout; its widths where sides divide by 16.

    A gradient penalty is of one image each, and of one critic: under it batch normalisation and dropout are left out.
    """
    colour = spec.height % 16 == 0 and spec.width % 16 == 0
    if colour:
        widths = [16, 256, 1024] if depth == "shallow" else [16, 128, 256, 512, 1024, 1024]
        strides = [2, 2, 1] if depth == "shallow" else [2, 2, 2, 2, 1, 1]
    else:
        widths = [16, 32, 64, 128] if depth == "shallow" else [32, 64, 128, 256]
        strides = [2, 2, 2, 1]
    without_dropout = len(widths) - 2 if colour and depth == "deep" else None
    size = spec.height, spec.width
    layers: list[nn.Module] = []
    for index, ((inputs, outputs), stride) in enumerate(zip(pairwise([spec.channels, *widths]), strides, strict=True)):
        layers.append(keras_same_conv(inputs, outputs, 3, stride, size))
        size = -(-size[0] // stride), -(-size[1] // stride)
        if index == 1:
            layers.append(nn.ZeroPad2d((0, 1, 0, 1)))
            size = size[0] + 1, size[1] + 1
        if index and clipped:
            layers.append(nn.BatchNorm2d(outputs))
        layers.append(leaky_relu(0.2)())
        if clipped and index != without_dropout:
            layers.append(nn.Dropout(DROPOUT))
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * size[0] * size[1], 1))
