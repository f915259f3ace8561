"""Adversarial losses, and the steps that several adversarial systems share, as their papers print them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.contract import Update
from bench.networks.losses import bce_fake, bce_real, cross_entropy_fake, cross_entropy_real, squared_error


def non_saturating(
    generator: nn.Module, discriminator: nn.Module, real: Tensor, noise: Tensor, update: Update
) -> dict[str, Tensor]:
    """One discriminator step on a real and a fake batch, then one generator step with the non-saturating loss.

    Goodfellow et al., Generative Adversarial Nets, 2014, algorithm 1 and section 3, https://arxiv.org/abs/1406.2661.

    Args:
        real: images in the range that ``generator`` makes.
        noise: what ``generator`` makes as many fake ones of.
    """
    fake = generator(noise)
    real_logits, fake_logits = discriminator(real), discriminator(fake.detach())
    d_loss = bce_real(real_logits) + bce_fake(fake_logits)
    update("discriminator", d_loss)
    g_loss = bce_real(discriminator(fake))
    update("generator", g_loss)
    return {"discriminator": d_loss, "generator": g_loss}


@dataclass(frozen=True)
class AdversarialLoss:
    """What a discriminator's logits cost, averaged over the batch.

    Attributes:
        real: where the images count as real; a generator descends it on its own.
        fake: where they count as generated.
    """

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]


BINARY_CROSS_ENTROPY = AdversarialLoss(bce_real, bce_fake)


def k_plus_one_classes(labels: Tensor) -> AdversarialLoss:
    """Cross-entropy over k classes of real images and one, the last, of generated ones (document 004, section 3.2)."""
    return AdversarialLoss(lambda logits: cross_entropy_real(logits, labels), cross_entropy_fake)


@dataclass(frozen=True)
class Fakes:
    """The images that a VAE makes for a batch: its reconstructions, and as many drawn from the prior, ``[B, C, H, W]`` each.

    They are decoded apart. As one batch, whose batch normalisation is of both, half of a VAE/GAN's draws are checkers: on MNIST,
    after 100,000 images, fd_classifier is 35.6 ± 10.3 so and 12.5 ± 0.3 apart, reconstruction_mse 0.0368 ± 0.0017 and
    0.0392 ± 0.0018 (three seeds). What the decoder keeps for the trained model is then a mean of both kinds of batches, and costs
    reconstructions that little.
    """

    reconstructed: Tensor
    drawn: Tensor


def vae_gan_step(
    player: str,
    discriminator: nn.Module,
    images: Tensor,
    fakes: Fakes,
    vae_terms: Mapping[str, Tensor],
    adversarial: AdversarialLoss,
    update: Update,
    *,
    feature_variance: float | None,
) -> dict[str, Tensor]:
    """One step of both players of a VAE/GAN: document 004, equations 2 and 3, and with `k_plus_one_classes` its section 3.2.

    The VAE's player minimises ``vae_terms`` + ||f_l(x) - f_l(x')||^2 / 2 sigma^2 - log C(drawn) - log C(reconstructed), the
    discriminator -log C(x) - log(1 - C(drawn)) - log(1 - C(reconstructed)).

    Args:
        player: the VAE's name among the players.
        discriminator: gives logits and the features of its l-th layer.
        vae_terms: the VAE's own, by name: the KL divergence, and a reconstruction in pixels where there is one.
        feature_variance: sigma^2 of the features; None leaves their term out. The document prints none. With 1, features that are
            batch-normalised outweigh the discriminator so far that the prior's images stay scribbles and ignore their labels, on
            MNIST after three epochs; with 30 a VAE/GAN's code collapses. The models' default lies between.
    """
    d_loss = discriminator_loss(discriminator, images, fakes, adversarial)
    update("discriminator", d_loss)
    terms = dict(vae_terms)
    reconstructed_logits, reconstructed_features = discriminator(fakes.reconstructed)
    drawn_logits, _ = discriminator(fakes.drawn)
    if feature_variance is not None:
        with torch.no_grad():
            features = discriminator(images)[1]
        terms["features"] = squared_error(reconstructed_features, features) / (2 * feature_variance)
    terms["adversarial"] = adversarial.real(drawn_logits) + adversarial.real(reconstructed_logits)
    loss = torch.stack(list(terms.values())).sum()
    update(player, loss)
    return {player: loss, "discriminator": d_loss, **terms}


def discriminator_loss(discriminator: nn.Module, images: Tensor, fakes: Fakes, adversarial: AdversarialLoss) -> Tensor:
    """What a VAE/GAN's discriminator minimises; no gradient of it reaches the VAE."""
    return (
        adversarial.real(discriminator(images)[0])
        + adversarial.fake(discriminator(fakes.drawn.detach())[0])
        + adversarial.fake(discriminator(fakes.reconstructed.detach())[0])
    )


def critic_batches(images: Tensor, steps: int) -> list[Tensor]:
    """A batch cut into ``steps`` parts, one for every step of a critic that learns more often than its opponent.

    So each of its steps sees images of its own, as in algorithm 1 of Arjovsky et al., Wasserstein GAN, 2017. A part has every
    ``steps``-th image, and with them its share of whatever a batch was put together of. Of fewer images than that, one each.
    """
    count = min(steps, len(images))
    return [images[first::count] for first in range(count)]
