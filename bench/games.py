"""What several adversarial systems play: one round of a game between two players, as its paper prints it."""

from __future__ import annotations

from torch import Tensor, nn

from bench.contract import Update
from bench.losses import judged_fake, judged_real


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
