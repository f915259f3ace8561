"""What several adversarial systems play: rounds between players, as their papers print them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.contract import Update
from bench.networks.losses import judged_class, judged_fake, judged_last_class, judged_real, squared_error


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
    discriminator_loss = judged_real(real_logits) + judged_fake(fake_logits)
    update("discriminator", discriminator_loss)
    generator_loss = judged_real(discriminator(fake))
    update("generator", generator_loss)
    return {"discriminator": discriminator_loss, "generator": generator_loss}


@dataclass(frozen=True)
class AdversarialLoss:
    """How a discriminator's logits become losses, averaged over the batch: taken for real, and taken for generated."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]


REAL_OR_FAKE = AdversarialLoss(judged_real, judged_fake)


def one_class_more(labels: Tensor) -> AdversarialLoss:
    """k + 1 classes: the right one of k for a real image, the last for a generated one (document 004, section 3.2)."""
    return AdversarialLoss(lambda logits: judged_class(logits, labels), judged_last_class)


@dataclass(frozen=True)
class Fakes:
    """What an autoencoder makes of a batch: its reconstructions, and images drawn from the prior, ``[B, C, H, W]`` each."""

    reconstructed: Tensor
    drawn: Tensor


def vae_and_discriminator(
    player: str,
    discriminator: nn.Module,
    images: Tensor,
    fakes: Fakes,
    bound: Mapping[str, Tensor],
    verdict: AdversarialLoss,
    update: Update,
    *,
    feature_variance: float | None,
) -> dict[str, Tensor]:
    """One round of a VAE/GAN: document 004, equations 2 and 3, and with `one_class_more` its section 3.2.

    The VAE's player minimises ``bound`` + ||f_l(x) - f_l(x')||^2 / 2 sigma^2 - log C(drawn) - log C(reconstructed), the
    discriminator -log C(x) - log(1 - C(drawn)) - log(1 - C(reconstructed)).

    Args:
        player: the VAE's name among the players.
        discriminator: gives logits and the features of its l-th layer.
        bound: what the VAE minimises besides, by name: the KL divergence, and a reconstruction in pixels where there is one.
        feature_variance: sigma^2 of the features; None leaves their term out. The document prints none. With 1, features that are
            batch-normalised outweigh the discriminator so far that the prior's images stay scribbles and ignore their labels, on
            MNIST after three epochs; with 30 a VAE/GAN's code collapses. The models' default lies between.
    """
    discriminator_loss = tell_apart(discriminator, images, fakes, verdict)
    update("discriminator", discriminator_loss)
    terms = dict(bound)
    reconstructed_logits, reconstructed_features = discriminator(fakes.reconstructed)
    drawn_logits, _ = discriminator(fakes.drawn)
    if feature_variance is not None:
        with torch.no_grad():
            features = discriminator(images)[1]
        terms["features"] = squared_error(reconstructed_features, features) / (2 * feature_variance)
    terms["adversarial"] = verdict.real(drawn_logits) + verdict.real(reconstructed_logits)
    loss = torch.stack(list(terms.values())).sum()
    update(player, loss)
    return {player: loss, "discriminator": discriminator_loss, **terms}


def tell_apart(discriminator: nn.Module, images: Tensor, fakes: Fakes, verdict: AdversarialLoss) -> Tensor:
    """The discriminator's loss, which no forger gets a gradient of."""
    return (
        verdict.real(discriminator(images)[0])
        + verdict.fake(discriminator(fakes.drawn.detach())[0])
        + verdict.fake(discriminator(fakes.reconstructed.detach())[0])
    )


def turns(images: Tensor, steps: int) -> tuple[Tensor, ...]:
    """A batch cut into ``steps`` parts, one for every step of a critic that learns more often than its opponent.

    So each of its steps sees images of its own, as in algorithm 1 of Arjovsky et al., Wasserstein GAN, 2017.
    """
    return images.chunk(steps)
