"""The conditional variational autoencoder: Sohn, Lee and Yan, Learning Structured Output Representation, 2015.

https://papers.nips.cc/paper/5775. Losses of document 004, section 2.2; networks of its section 4.3. Its section 4.4 has "a simple
fully-connected CVAE" in their place, whose sizes it does not print, and takes the left half of the image for a condition.
"""

from __future__ import annotations

from typing import Any, Literal, final

import torch
from torch import Tensor, nn

from bench.contract import Batch, Condition, Conditional, Generates, ImageSpec, Infers, Model, Update, condition_of
from bench.networks.blocks import check_choice, check_positive, reparameterised
from bench.networks.conditional import as_vector, condition_width, decoder, encoder, mlp_decoder, mlp_encoder
from bench.networks.losses import negative_elbo

TRAINING: dict[str, Any] = {"batch_size": 100}  # document 004, section 4


@final
class CVAE(Model, Generates, Infers, Conditional):
    """A VAE whose encoder and decoder are told the label of the image, or its left half.

    ``backbone = "mlp"`` has two hidden layers each way, as wide as those of the document's fully connected M2 and like them
    batch-normalised, with softplus.
    """

    def __init__(
        self,
        spec: ImageSpec,
        *,
        backbone: Literal["conv", "mlp"] = "conv",
        latent_dim: int = 50,
        condition: Condition = "labels",
    ) -> None:
        super().__init__()
        check_positive(latent_dim=latent_dim)
        check_choice("backbone", backbone, ("conv", "mlp"))
        check_choice("condition", condition, ("labels", "left_half"))
        self.spec = spec
        self.latent_dim = latent_dim
        self.condition = condition
        numbers = condition_width(spec, condition)
        classes = numbers if condition == "labels" else 0
        encodes, decodes = (mlp_encoder, mlp_decoder) if backbone == "mlp" else (encoder, decoder)
        self.encoder = encodes(spec, latent_dim, numbers)
        self.decoder = decodes(spec, latent_dim + numbers, classes)

    def players(self) -> dict[str, nn.Module]:
        """One: the vae."""
        return {"vae": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Descend the negative bound on log p(x | y)."""
        y = as_vector(condition_of(self, batch), self.spec)
        mean, log_variance = self.encoder(batch.images, y)
        logits = self.decoder(torch.cat((reparameterised(mean, log_variance), y), dim=1))
        terms = negative_elbo(logits, batch.images, mean, log_variance)
        update("vae", terms["loss"])
        return terms

    def codes(self, n: int) -> Tensor:
        """``n`` draws from N(0, I), ``[n, latent_dim]``."""
        return torch.randn(n, self.latent_dim, device=self.device)

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Images ``[B, C, H, W]`` and their condition to mean and log-variance, ``[B, latent_dim]`` each."""
        mean, log_variance = self.encoder(images, as_vector(condition, self.spec))
        return mean, log_variance

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        """Codes ``[B, latent_dim]`` and a condition to images ``[B, C, H, W]``."""
        return torch.sigmoid(self.decoder(torch.cat((z, as_vector(condition, self.spec)), dim=1)))
