"""Adversarially constrained autoencoder interpolation: Berthelot et al., 2018, https://arxiv.org/abs/1807.07543.

Equations 1 to 3 of the paper; networks of document 001, appendix 4. Errors are means over pixels, as the paper's are, so that
they weigh what they do there against the regulariser.
"""

from __future__ import annotations

from typing import Any, Literal, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.contract import Autoencodes, Batch, Generates, ImageSpec, Model, Update
from bench.networks.blocks import check_choice, check_positive
from bench.networks.pooled import Pooled

TRAINING: dict[str, Any] = {"learning_rate": 1e-4, "batch_size": 64}  # the paper's rate and both sources' batch


@final
class ACAI(Model, Generates, Autoencodes):
    """An autoencoder whose interpolations a critic cannot tell from its reconstructions.

    The critic is the encoder's network, its output averaged. The autoencoder descends once for every batch, the critic
    ``critic_steps`` times: on the same batch, and on as many further ones, which the autoencoder does not learn from.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_channels: int = 16,
        blocks: int = 3,
        width: int = 16,
        activation: Literal["leaky_relu", "tanh"] = "leaky_relu",
        upsample: Literal["nearest", "transposed"] = "nearest",
        reconstruction: Literal["bce", "mse"] = "bce",
        spectral_norm: bool = False,
        critic_steps: int = 1,
        regularisation: float = 0.5,
        gamma: float = 0.2,
    ) -> None:
        super().__init__()
        networks = Pooled(spec, latent_channels, blocks, width, activation, upsample)
        check_positive(critic_steps=critic_steps)
        check_choice("reconstruction", reconstruction, ("bce", "mse"))
        self.code_shape = networks.code_shape
        self.reconstruction = reconstruction
        self.further_batches = critic_steps - 1
        self.regularisation = regularisation
        self.gamma = gamma
        self.encoder = networks.encoder()
        self.decoder = networks.decoder()
        self.critic = networks.encoder(spectral=spectral_norm)

    def players(self) -> dict[str, nn.Module]:
        """The autoencoder, which is encoder and decoder, and the critic."""
        return {"autoencoder": nn.ModuleList((self.encoder, self.decoder)), "critic": self.critic}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """The critic's steps, equation 3, then the autoencoder's, equation 2.

        The term ``reconstruction_per_pixel`` is in nats per pixel with ``bce`` and a squared error with ``mse``.
        """
        codes = self.encoder(batch.images)
        logits = self.decoder(codes)
        alpha = self.mixing(batch.images)
        mixed = self.decode(mix(codes, alpha))
        losses = [self.critic_loss(batch.images, logits.sigmoid().detach(), mixed.detach(), alpha)]
        update("critic", losses[0])
        for further in batch.further:
            with torch.no_grad():
                other_codes, other_alpha = self.encoder(further.images), self.mixing(further.images)
                pair = self.decode(other_codes), self.decode(mix(other_codes, other_alpha))
            losses.append(self.critic_loss(further.images, *pair, other_alpha))
            update("critic", losses[-1])
        if self.reconstruction == "bce":
            reconstruction = F.binary_cross_entropy_with_logits(logits.float(), batch.images)
        else:
            reconstruction = F.mse_loss(logits.float().sigmoid(), batch.images)
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

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), for which an autoencoder was never trained, ``[n, *code_shape]``."""
        return torch.randn(n, *self.code_shape, device=self.device)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        """Images ``[B, C, H, W]`` to codes ``[B, *code_shape]``."""
        codes: Tensor = self.encoder(images)
        return codes

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, *code_shape]`` to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(z))


def mix(codes: Tensor, alpha: Tensor) -> Tensor:
    """alpha z_1 + (1 - alpha) z_2, where z_2 belongs to the image as far from the batch's end as z_1's is from its start.

    So batches of two halves mix one half with the other (document 001, section 1.3).
    """
    weight = alpha.view(-1, *[1] * (codes.ndim - 1))
    return weight * codes + (1 - weight) * codes.flip(0)
