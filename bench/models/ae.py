"""A plain autoencoder, the baseline that interpolation and generation are measured against.

Hinton and Salakhutdinov, Reducing the Dimensionality of Data with Neural Networks, Science 313, 2006,
https://doi.org/10.1126/science.1127647. It has no prior: samples are decoded from the Gaussian of its codes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal, final

from torch import Tensor, nn

from bench.contract import Autoencodes, Batch, Generates, ImageSpec, Model, Update
from bench.networks.blocks import check_choice, check_positive, image_mlp, mlp
from bench.networks.fitted import FittedGaussian
from bench.networks.losses import RECONSTRUCTIONS, Reconstruction, image_of, pixel_errors
from bench.networks.pooled import Pooled

TRAINING: dict[str, Any] = {}


@final
class AE(Model, Generates, Autoencodes):
    """``mlp`` goes through ``hidden_dims`` to ``latent_dim`` numbers, and back.

    ``pooled`` is `Pooled` as in document 001, ``berthelot`` as in the ACAI authors' code: ``blocks`` of two convolutions, the
    first ``width`` wide, and a code of ``latent_channels`` small pictures in place of ``latent_dim`` numbers.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        latent_dim: int = 2,
        hidden_dims: Sequence[int] = (512,),
        reconstruction: Reconstruction = "bce",
        architecture: Literal["mlp", "pooled", "berthelot"] = "mlp",
        latent_channels: int = 16,
        blocks: int = 3,
        width: int = 16,
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim, hidden_dims=hidden_dims)
        check_positive(latent_channels=latent_channels, blocks=blocks, width=width)
        check_choice("reconstruction", reconstruction, RECONSTRUCTIONS)
        check_choice("architecture", architecture, ("mlp", "pooled", "berthelot"))
        self.reconstruction: Reconstruction = reconstruction
        self.code_shape: tuple[int, ...] = (latent_dim,)
        if architecture == "mlp":
            self.encoder = nn.Sequential(nn.Flatten(), *mlp([spec.pixels, *hidden_dims, latent_dim]))
            self.decoder = image_mlp(spec, [latent_dim, *reversed(hidden_dims)])
        else:
            pooled = Pooled(spec, latent_channels, blocks, width, authors=architecture == "berthelot")
            self.code_shape = pooled.code_shape
            self.encoder, self.decoder = pooled.encoder(), pooled.decoder()
        self.prior = FittedGaussian(self.code_shape)

    def players(self) -> dict[str, nn.Module]:
        """One: the autoencoder."""
        return {"autoencoder": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the reconstruction error, summed over pixels."""
        values = self.decoder(self.encoder(batch.images))
        loss = pixel_errors(values, batch.images, self.reconstruction).flatten(1).sum(1).mean()
        update("autoencoder", loss)
        return {"loss": loss}

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
        """`decode` without its bounds, which with ``mse_linear`` it may leave."""
        return image_of(self.decoder(z), self.reconstruction)
