"""Adversarially constrained autoencoder interpolation: Berthelot et al., 2018, https://arxiv.org/abs/1807.07543.

Equations 1 to 3 of the paper; networks of document 001, appendix 4, of document 000, or of the authors' code,
https://github.com/brain-research/acai. Errors are means over pixels, as the paper's are, so that they weigh what they do there
against the regulariser.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Autoencodes, Batch, Generates, ImageSpec, Model, Unsupported, Update
from bench.networks.blocks import check_choice, check_not_negative, check_positive, check_repeats
from bench.networks.fitted import FittedGaussian
from bench.networks.losses import RECONSTRUCTIONS, Reconstruction, image_of, pixel_errors
from bench.networks.mirrored import Mirrored
from bench.networks.pooled import Pooled

TRAINING: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": 64}  # the paper's rate and both sources' batch


@final
class ACAI(Model, Generates, Autoencodes):
    """An autoencoder whose interpolations a critic cannot tell from its reconstructions.

    The autoencoder descends once for every batch, the critic ``critic_steps`` times: on the same batch, and then on further ones,
    which the autoencoder does not learn from.

    ``architecture`` is `Pooled` as document 001 has it, or as the ACAI authors have it (``berthelot``): the critic is the
    encoder's network, its output averaged. ``mirrored`` is document 000's adversarial VAE, `Mirrored`, with as many convolutions
    as ``blocks``, a code of ``latent_dim`` numbers, which are the VAE's means, and the VAE's critic without batch normalisation,
    as no critic of the paper's has any. Behind it the regulariser outweighs the reconstruction: it enlarges grey images, which
    hardly differ, and with them the slope that pulls at them. On horses and birds the loss rose from the first epoch on.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        architecture: Literal["pooled", "berthelot", "mirrored"] = "pooled",
        latent_dim: int = 32,
        latent_channels: int = 16,
        blocks: int = 3,
        width: int = 16,
        activation: Literal["leaky_relu", "tanh"] = "leaky_relu",
        upsample: Literal["nearest", "transposed"] = "nearest",
        reconstruction: Reconstruction = "bce",
        spectral_norm: bool = False,
        critic_steps: int = 1,
        regularisation: float = 0.5,
        gamma: float = 0.2,
    ) -> None:
        super().__init__()
        check_repeats(critic_steps=critic_steps)
        check_positive(latent_dim=latent_dim, latent_channels=latent_channels, blocks=blocks, width=width)
        check_not_negative(regularisation=regularisation)
        if not 0 <= gamma <= 1:
            raise Unsupported(f"gamma = {gamma}: must be from 0 to 1")
        check_choice("architecture", architecture, ("pooled", "berthelot", "mirrored"))
        check_choice("reconstruction", reconstruction, RECONSTRUCTIONS)
        self.reconstruction: Reconstruction = reconstruction
        self.further_batches = critic_steps - 1
        self.regularisation = regularisation
        self.gamma = gamma
        self.code_shape: tuple[int, ...] = (latent_dim,)
        if architecture == "mirrored":
            mirrored = Mirrored(spec, latent_dim, blocks, 1, 1, width, False, upsample)
            gaussian = mirrored.encoder()
            critic = replace(mirrored, spectral_norm=spectral_norm).critic(batch_norm=False)
            self.encoder, self.decoder = nn.Sequential(gaussian.body, gaussian.mean), mirrored.decoder()
            self.critic = nn.Sequential(critic.body, critic.head)
        else:
            pooled = Pooled(
                spec, latent_channels, blocks, width, activation, upsample, authors=architecture == "berthelot"
            )
            self.code_shape = pooled.code_shape
            self.encoder, self.decoder = pooled.encoder(), pooled.decoder()
            self.critic = pooled.encoder(spectral=spectral_norm)
        self.prior = FittedGaussian(self.code_shape)

    def players(self) -> dict[str, nn.Module]:
        """The autoencoder, which is encoder and decoder, and the critic."""
        return {"autoencoder": nn.ModuleList((self.encoder, self.decoder)), "critic": self.critic}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """The critic's steps, equation 3, then the autoencoder's, equation 2.

        The term ``reconstruction_per_pixel`` is in nats per pixel with ``bce`` and a squared error otherwise. The critic sees
        images as the decoder leaves them, which with ``mse_linear`` may be outside of [0, 1].
        """
        codes = self.encoder(batch.images)
        values = self.decoder(codes)
        alpha = self.mixing(batch.images)
        mixed = self.unbounded(mix(codes, alpha))
        reconstructed = image_of(values, self.reconstruction)
        losses = [self.critic_loss(batch.images, reconstructed.detach(), mixed.detach(), alpha)]
        update("critic", losses[0])
        for further in batch.further:
            with torch.no_grad():
                other_codes, other_alpha = self.encoder(further.images), self.mixing(further.images)
                pair = self.unbounded(other_codes), self.unbounded(mix(other_codes, other_alpha))
            losses.append(self.critic_loss(further.images, *pair, other_alpha))
            update("critic", losses[-1])
        reconstruction = pixel_errors(values, batch.images, self.reconstruction, "mean")
        regulariser = self.coefficient(mixed).square().mean()
        loss = reconstruction + self.regularisation * regulariser
        update("autoencoder", loss)
        return {
            "autoencoder": loss,
            "critic": torch.stack(losses).mean(),
            "reconstruction_per_pixel": reconstruction,
            "regulariser": regulariser,
        }

    def mixing(self, images: Tensor) -> Tensor:
        """A coefficient alpha from U(0, 1/2) for each image, ``[B]``."""
        return torch.rand(len(images), device=images.device) / 2

    def coefficient(self, images: Tensor) -> Tensor:
        """The alpha that the critic reads off images ``[B, C, H, W]``: ``[B]``."""
        alpha: Tensor = self.critic(images).flatten(1).mean(1)
        return alpha

    def critic_loss(self, images: Tensor, reconstructed: Tensor, mixed: Tensor, alpha: Tensor) -> Tensor:
        """||C(mixed) - alpha||^2 + ||C(gamma x + (1 - gamma) x')||^2, averaged over the batch."""
        blend = torch.lerp(reconstructed.float(), images, self.gamma)
        return (self.coefficient(mixed) - alpha).square().mean() + self.coefficient(blend).square().mean()

    def settle(self, batches: Iterable[Batch]) -> None:
        """Fit the Gaussian of the codes."""
        self.prior.fit(self.encoder(batch.images) for batch in batches)

    def codes(self, n: int) -> Tensor:
        """``n`` draws from the Gaussian of the training images' codes, ``[n, *code_shape]``."""
        return self.prior.draw(n)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``[B, C, H, W]`` to codes ``[B, *code_shape]``."""
        codes: Tensor = self.encoder(images)
        return codes

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, *code_shape]`` to images ``[B, C, H, W]``."""
        return self.unbounded(z).clamp(0, 1)

    def unbounded(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """`decode` without its bounds, to learn through."""
        return image_of(self.decoder(z), self.reconstruction)


def mix(codes: Tensor, alpha: Tensor) -> Tensor:
    """alpha z_1 + (1 - alpha) z_2, where z_2 belongs to the image as far from the batch's end as z_1's is from its start.

    So batches of two halves mix one half with the other (document 001, section 1.3).
    """
    weight = alpha.view(-1, *[1] * (codes.ndim - 1))
    return weight * codes + (1 - weight) * codes.flip(0)
