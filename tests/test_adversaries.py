"""What players of adversarial systems minimise, in closed form: their discriminator is a table of known logits."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import product

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from bench.contract import HIDDEN, Batch, ImageSpec
from bench.models.adversarial_vae import AdversarialVAE
from bench.models.cvae_gan import CVAEGAN
from bench.models.dcgan import DCGAN
from bench.models.draw_gan import DrawGAN
from bench.models.gan import GAN
from bench.models.ssl_vae_gan import SSLVAEGAN
from bench.models.vae_gan import VAEGAN
from bench.models.wgan import WGAN, gradient_penalty, wasserstein
from bench.networks.adversarial import (
    BINARY_CROSS_ENTROPY,
    Fakes,
    critic_batches,
    discriminator_loss,
    k_plus_one_classes,
    non_saturating,
    vae_gan_step,
)
from bench.networks.losses import cross_entropy_fake, cross_entropy_real
from bench.networks.recurrent import Drawing
from bench.training import no_update

SMALL = ImageSpec(1, 8, 8, ("a", "b", "c"))
REAL, RECONSTRUCTED, DRAWN = 0.9, 0.6, 0.2  # the greys by which a table knows the images


class Table(nn.Module):
    """A discriminator that reads its logits, and its features, off a table by the grey of an image's first pixel."""

    def __init__(self, logits: Mapping[float, Sequence[float]], features: Mapping[float, float] | None = None) -> None:
        super().__init__()
        self.greys = torch.tensor(list(logits))
        self.logits = torch.tensor(list(logits.values()))
        self.features = torch.tensor([(features or {}).get(grey, 0.0) for grey in logits])

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        distance = (images.detach().flatten(1)[:, :1] - self.greys).abs()
        assert float(distance.amin(1).max()) < 1e-4, "an image of a grey that the table does not know"
        row = distance.argmin(1)
        return self.logits[row], self.features[row].view(-1, 1)


class Logits(Table):
    """A `Table` without features."""

    def forward(self, images: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(images)[0]


class Makes(nn.Module):
    """Makes images of one value, whatever it is given."""

    def __init__(self, value: float, spec: ImageSpec = SMALL) -> None:
        super().__init__()
        self.value, self.spec = nn.Parameter(torch.tensor(value)), spec

    def forward(self, z: Tensor) -> Tensor:
        return self.value.expand(len(z), *self.spec.shape)


class Infers(nn.Module):
    """Gives every image the same mean and log-variance of its code."""

    def __init__(self, mean: float, log_variance: float, latent_dim: int) -> None:
        super().__init__()
        self.code = mean, log_variance, latent_dim

    def forward(self, images: Tensor, *condition: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_variance, latent_dim = self.code
        return torch.full((len(images), latent_dim), mean), torch.full((len(images), latent_dim), log_variance)


class Tells(nn.Module):
    """A decoder whose images tell a code that was inferred, which is far away from zero, from one that was drawn."""

    def forward(self, z: Tensor) -> Tensor:
        grey = torch.where(z[:, 0] > 6, RECONSTRUCTED, DRAWN)
        return grey.logit().view(-1, 1, 1, 1).expand(-1, *SMALL.shape)


FAR = Infers(8.0, -20.0, 2)  # where no draw from the prior comes, with no noise to speak of
FAR_KL = 2 * 0.5 * (8.0**2 + math.exp(-20) - 1 + 20)


def images(grey: float, n: int = 2, spec: ImageSpec = SMALL) -> Tensor:
    return torch.full((n, *spec.shape), grey)


def batch(labels: Sequence[int] = (0, 2), grey: float = REAL) -> Batch:
    return Batch(images(grey, len(labels)), torch.tensor(labels))


class Updates(dict[str, Tensor]):
    """What every player is asked to descend, in the order in which it is."""

    def __call__(self, player: str, loss: Tensor) -> None:
        self[player] = loss


def as_real(logit: float) -> float:
    """-log C of a logit."""
    return float(softplus(torch.tensor(-logit)))


def as_fake(logit: float) -> float:
    """-log(1 - C) of a logit."""
    return float(softplus(torch.tensor(logit)))


def as_class(logits: Sequence[float], label: int) -> float:
    """-log C_y of logits."""
    return math.log(sum(math.exp(logit) for logit in logits)) - logits[label]


def bernoulli(grey: float, of: float, spec: ImageSpec = SMALL) -> float:
    """Nats of an image of one grey under pixels that are ``of`` it."""
    return -spec.pixels * (grey * math.log(of) + (1 - grey) * math.log(1 - of))


def near(found: Mapping[str, Tensor], expected: Mapping[str, Tensor | float]) -> None:
    """Each number to 2e-4, where every term that a player has weighs far more."""
    numbers = [{name: torch.as_tensor(value).item() for name, value in each.items()} for each in (found, expected)]
    assert numbers[0] == pytest.approx(numbers[1], abs=2e-4, rel=0)


class TestGAN:
    """Real images at 1.5 and fake ones at -0.5: no two of the four losses are alike."""

    def test_the_discriminator_tells_real_from_fake_and_the_generator_wants_to_be_real(self) -> None:
        updates = Updates()
        discriminator = Logits({REAL: [1.5], DRAWN: [-0.5]})
        terms = non_saturating(Makes(DRAWN), discriminator, images(REAL), torch.zeros(2, 1), updates)
        near(updates, {"discriminator": as_real(1.5) + as_fake(-0.5), "generator": as_real(-0.5)})
        assert list(updates) == ["discriminator", "generator"]
        assert terms == updates

    @pytest.mark.parametrize("kind", [GAN, DCGAN])
    def test_real_images_are_shown_in_the_range_that_the_generator_makes(self, kind: type[GAN | DCGAN]) -> None:
        """A pixel of 0.9 is 0.8 in [-1, 1]; the generator's 0.2 is 0.6 in [0, 1]."""
        model, updates = kind(SMALL), Updates()
        model.generator = Makes(0.2)  # type: ignore[assignment]
        model.discriminator = Logits({0.8: [1.5], 0.2: [-0.5]})  # type: ignore[assignment]
        model.step(batch(), updates)
        near(updates, {"discriminator": as_real(1.5) + as_fake(-0.5), "generator": as_real(-0.5)})
        assert model.sample(3).flatten().tolist() == pytest.approx([0.6] * 3 * 64)


class TestWGAN:
    """A critic that gives real images 4 and fake ones 1."""

    def test_the_critic_widens_what_the_generator_narrows(self) -> None:
        model, updates = WGAN(SMALL), Updates()
        model.generator = Makes(0.2)  # type: ignore[assignment]
        model.critic = Logits({0.8: [4.0], 0.2: [1.0]})  # type: ignore[assignment]
        terms = model.step(batch([0] * 10), updates)
        near(terms, {"critic": 1.0 - 4.0, "generator": -1.0, "wasserstein": 4.0 - 1.0})
        near(updates, {"critic": 1.0 - 4.0, "generator": -1.0})

    def test_losses_are_told_in_float32_whatever_the_step_is_computed_in(self) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            terms = WGAN(SMALL).step(batch([0] * 10), no_update)
        assert {name: term.dtype for name, term in terms.items()} == dict.fromkeys(terms, torch.float32)

    def test_the_penalty_is_added_to_the_critics_loss(self) -> None:
        """A critic of slope 2: 64 pixels of weight 0.25 give 12.8 to images of 0.8, 3.2 to those of 0.2."""
        model, updates = WGAN(SMALL, lipschitz="penalty", penalty_weight=10.0), Updates()
        model.generator = Makes(0.2)  # type: ignore[assignment]
        linear = nn.Linear(64, 1, bias=False)
        nn.init.constant_(linear.weight, 0.25)
        model.critic = nn.Sequential(nn.Flatten(), linear)
        terms = model.step(batch([0] * 10), updates)
        near(updates, {"critic": 3.2 - 12.8 + 10 * (2 - 1) ** 2, "generator": -3.2})
        near(terms, {"critic": 3.2 - 12.8 + 10, "generator": -3.2, "wasserstein": 12.8 - 3.2})

    def test_the_wasserstein_estimate_of_two_points_is_their_distance(self) -> None:
        """Between delta(0) and delta(3), f(x) = x is an optimal 1-Lipschitz critic."""
        assert wasserstein(torch.full((4, 1), 3.0), torch.zeros(4, 1)).item() == 3

    def test_the_gradient_penalty_of_a_linear_critic_is_its_excess_slope(self) -> None:
        critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
        with torch.no_grad():
            critic[1].weight.copy_(torch.tensor([[3.0, 0.0, 4.0, 0.0]]))  # type: ignore[operator]
        penalty = gradient_penalty(critic, torch.rand(6, 1, 2, 2), torch.rand(6, 1, 2, 2))
        assert penalty.item() == pytest.approx((5 - 1) ** 2)

    def test_clipping_holds_from_the_first_and_the_penalty_has_no_batch_normalisation_nor_dropout(self) -> None:
        spec = ImageSpec(1, 28, 28)
        clipped, penalised = WGAN(spec, clip=0.02), WGAN(spec, lipschitz="penalty")
        assert max(float(p.detach().abs().max()) for p in clipped.critic.parameters()) <= 0.02
        for kind in (nn.BatchNorm2d, nn.Dropout):
            assert not any(isinstance(layer, kind) for layer in penalised.critic)
            assert any(isinstance(layer, kind) for layer in clipped.critic)

    def test_a_critic_learns_five_times_for_the_generators_once(self) -> None:
        moved: list[str] = []
        WGAN(SMALL).step(batch([0] * 20), lambda player, _: moved.append(player))
        assert moved == ["critic"] * 5 + ["generator"]

    def test_critic_batches_share_out_a_batch_with_both_halves_in_each(self) -> None:
        parts = critic_batches(torch.arange(20.0).view(10, 2, 1, 1), 5)
        assert [len(part) for part in parts] == [2] * 5
        assert torch.cat(parts).flatten().sort().values.tolist() == list(range(20))
        assert [part[:, 0].flatten().tolist() for part in parts[:2]] == [[0, 10], [2, 12]]  # one of each half
        assert [len(part) for part in critic_batches(torch.rand(3, 1, 1, 1), 5)] == [1] * 3

    def test_each_term_of_both_players(self) -> None:
        """Codes N(1, 2) of two units; every image is decoded to one grey."""
        model, updates = AdversarialVAE(SMALL), Updates()
        model.encoder = Infers(1.0, math.log(2), 2)  # type: ignore[assignment]
        model.decoder = Makes(math.log(RECONSTRUCTED / (1 - RECONSTRUCTED)))  # type: ignore[assignment]
        model.critic = Table({REAL: [1.5], RECONSTRUCTED: [-0.5]})  # type: ignore[assignment]
        terms = model.step(batch(), updates)
        kl = 2 * 0.5 * (1.0 + 2.0 - 1 - math.log(2))
        reconstruction = bernoulli(REAL, RECONSTRUCTED)
        adversarial, critic = as_real(-0.5), as_fake(-0.5) + as_real(1.5)
        near(updates, {"critic": critic, "vae": kl + reconstruction + adversarial})
        near(terms, {**updates, "reconstruction": reconstruction, "kl": kl, "adversarial": adversarial})


LOGITS = {REAL: [1.5], RECONSTRUCTED: [0.3], DRAWN: [-0.7]}
CLASSES = {REAL: [0.5, -1.0, 0.1, 0.9], RECONSTRUCTED: [1.1, 0.2, -0.6, 0.4], DRAWN: [-0.3, 0.8, 0.6, -1.2]}
FEATURES = {REAL: 5.0, RECONSTRUCTED: 2.0, DRAWN: -4.0}


class TestVAEGAN:
    """Document 004, equations 2 and 3, and section 3.2 with k + 1 classes."""

    @property
    def binary(self) -> tuple[float, float]:
        """What the discriminator minimises, and the VAE's adversarial term."""
        real, reconstructed, drawn = (logits[0] for logits in LOGITS.values())
        return as_real(real) + as_fake(drawn) + as_fake(reconstructed), as_real(drawn) + as_real(reconstructed)

    def by_class(self, labels: Sequence[int]) -> tuple[float, float]:
        """The same with k + 1 classes, averaged over images with these labels."""
        real, reconstructed, drawn = CLASSES.values()
        told = sum(as_class(real, y) for y in labels) / len(labels)
        wanted = sum(as_class(drawn, y) + as_class(reconstructed, y) for y in labels) / len(labels)
        return told + as_class(drawn, 3) + as_class(reconstructed, 3), wanted

    def features(self, variance: float) -> float:
        return (FEATURES[REAL] - FEATURES[RECONSTRUCTED]) ** 2 / (2 * variance)

    def test_k_plus_one_classes_at_even_odds(self) -> None:
        logits = torch.zeros(5, 11)
        assert cross_entropy_real(logits, torch.arange(5)).item() == pytest.approx(math.log(11))
        assert cross_entropy_fake(logits).item() == pytest.approx(math.log(11))

    @pytest.mark.parametrize("classes", [False, True])
    def test_the_step_is_equations_2_and_3(self, classes: bool) -> None:
        labels = [0, 2]
        discriminator = Table(CLASSES if classes else LOGITS, FEATURES)
        loss = k_plus_one_classes(torch.tensor(labels)) if classes else BINARY_CROSS_ENTROPY
        fakes, updates = Fakes(images(RECONSTRUCTED), images(DRAWN)), Updates()
        kl = {"kl": torch.tensor(3.0)}
        terms = vae_gan_step("vae", discriminator, images(REAL), fakes, kl, loss, updates, feature_variance=2.0)
        d_loss, adversarial = self.by_class(labels) if classes else self.binary
        near(updates, {"discriminator": d_loss, "vae": 3.0 + self.features(2.0) + adversarial})
        near(terms, {**updates, "kl": 3.0, "features": self.features(2.0), "adversarial": adversarial})
        assert list(updates) == ["discriminator", "vae"]

    def test_the_discriminators_loss_takes_no_gradient_to_the_images(self) -> None:
        made = [images(grey).requires_grad_() for grey in (RECONSTRUCTED, DRAWN)]
        discriminator = lambda shown: (shown.flatten(1)[:, :1], shown)  # noqa: E731
        loss = discriminator_loss(discriminator, images(REAL), Fakes(*made), BINARY_CROSS_ENTROPY)  # type: ignore[arg-type]
        assert not loss.requires_grad
        assert loss.item() == pytest.approx(as_real(REAL) + as_fake(RECONSTRUCTED) + as_fake(DRAWN))

    def test_vae_gan_compares_reconstructions_and_shows_both_fakes(self) -> None:
        model, updates = VAEGAN(SMALL, latent_dim=2, feature_variance=2.0), Updates()
        model.encoder, model.decoder, model.discriminator = FAR, Tells(), Table(LOGITS, FEATURES)  # type: ignore[assignment]
        terms = model.step(batch(), updates)
        d_loss, adversarial = self.binary
        near(updates, {"discriminator": d_loss, "vae": FAR_KL + self.features(2.0) + adversarial})
        near(terms, {**updates, "kl": FAR_KL, "features": self.features(2.0), "adversarial": adversarial})

    def test_cvae_gan_has_k_plus_one_classes(self) -> None:
        labels = [0, 2, 2, 1]
        model, updates = CVAEGAN(SMALL, latent_dim=2, feature_variance=2.0), Updates()
        model.encoder, model.decoder, model.discriminator = FAR, Tells(), Table(CLASSES, FEATURES)  # type: ignore[assignment]
        model.step(batch(labels), updates)
        d_loss, adversarial = self.by_class(labels)
        near(updates, {"discriminator": d_loss, "vae": FAR_KL + self.features(2.0) + adversarial})

    @pytest.mark.parametrize("kind", [VAEGAN, CVAEGAN, SSLVAEGAN])
    def test_decodes_reconstructions_and_draws_apart(self, kind: type[VAEGAN | CVAEGAN | SSLVAEGAN]) -> None:
        """Each under its own batch's statistics, and each code and draw beside the label of its image."""
        model = kind(SMALL, latent_dim=2)
        decoder = model.networks.decoder if isinstance(model, SSLVAEGAN) else model.decoder
        seen: list[Tensor] = []
        decoder.register_forward_pre_hook(lambda _, inputs: seen.append(torch.cat(inputs, dim=1)))
        labels = torch.tensor([0, 2, 2, 1])
        model.step(Batch(torch.rand(4, *SMALL.shape), labels), no_update)
        assert len(seen) == 2
        assert not torch.equal(seen[0][:, :2], seen[1][:, :2])
        if kind is not VAEGAN:
            under_every_label = [] if kind is CVAEGAN else [0] * 4 + [1] * 4 + [2] * 4
            for inputs in seen:
                assert inputs[:, 2:].argmax(1).tolist() == [0, 2, 2, 1, *under_every_label]

    @pytest.mark.parametrize(("conditional", "feature_loss"), list(product([False, True], repeat=2)))
    def test_draw_gan_shows_the_last_canvases(self, conditional: bool, feature_loss: bool) -> None:
        labels = [0, 2, 2, 1]
        model = DrawGAN(SMALL, conditional=conditional, feature_loss=feature_loss, feature_variance=2.0)
        updates = Updates()

        class Strokes(nn.Module):
            """Two canvases, of which only the last counts, from two codes N(1, 2) of one unit."""

            classes = model.network.classes

            def reconstruct(self, images: Tensor, labels: Tensor | None) -> Drawing:
                codes = torch.ones(len(images), 2, 1), torch.full((len(images), 2, 1), math.log(2))
                return Drawing(self.painted(len(images), RECONSTRUCTED), *codes)

            def draw(self, z: Tensor, labels: Tensor | None) -> Tensor:
                return self.painted(len(z), DRAWN)

            def noise(self, n: int) -> Tensor:
                return torch.randn(n, 2, 1)

            def painted(self, n: int, grey: float) -> Tensor:
                return torch.stack((images(0.5, n), images(grey, n))).logit()

        model.network = Strokes()  # type: ignore[assignment]
        model.discriminator = Table(CLASSES if conditional else LOGITS, FEATURES)  # type: ignore[assignment]
        terms = model.step(batch(labels), updates)
        d_loss, adversarial = self.by_class(labels) if conditional else self.binary
        compared = self.features(2.0) if feature_loss else bernoulli(REAL, RECONSTRUCTED)
        kl = 2 * 0.5 * (1.0 + 2.0 - 1 - math.log(2))
        near(updates, {"discriminator": d_loss, "draw": kl + compared + adversarial})
        name = "features" if feature_loss else "reconstruction"
        near(terms, {**updates, "kl": kl, name: compared, "adversarial": adversarial})


class Tabled(nn.Module):
    """M2's networks as tables: the code's mean and the image decoded depend on the label, as does q(y | x) on the image."""

    classes = 3
    MEANS = 8.0, 9.0, 10.0
    Q = ((0.2, -0.4, 1.0), (1.2, 0.3, -0.8), (-0.5, 0.7, 0.1), (0.4, 0.4, -1.5))  # logits, by image

    def infer(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return torch.zeros(len(images), 1), torch.full((len(images), 1), -20.0), torch.tensor(self.Q[: len(images)])

    def every_label(self, n: int) -> Tensor:
        return torch.eye(3).repeat_interleave(n, dim=0)

    def means(self, features: Tensor, labels: Tensor) -> Tensor:
        return (labels @ torch.tensor(self.MEANS)).view(-1, 1)

    def decode(self, z: Tensor, labels: Tensor) -> Tensor:
        inferred, label = z[:, 0] > 6, labels.argmax(1)
        greys = torch.where(inferred, torch.tensor(self.RECONSTRUCTED)[label], torch.tensor(self.DRAWN)[label])
        return greys.logit().view(-1, 1, 1, 1)

    REAL = 0.05, 0.15, 0.25, 0.35  # greys, by image
    RECONSTRUCTED = 0.45, 0.55, 0.65  # by label
    DRAWN = 0.75, 0.85, 0.95


class TestSemiSupervisedGAN:
    """Document 004, section 3.3, term by term for every image and label."""

    PIXEL = ImageSpec(1, 1, 1)
    FAKE = 3  # the class of generated images

    @pytest.mark.parametrize("labels", [[2, 0, HIDDEN, HIDDEN], [1, HIDDEN, HIDDEN], [0, 1, 2]])
    @pytest.mark.parametrize("feature_loss", [False, True])
    def test_losses_by_enumeration(self, labels: list[int], feature_loss: bool) -> None:
        model = SSLVAEGAN(
            SMALL, latent_dim=1, feature_loss=feature_loss, feature_variance=2.0, classification_weight=0.5
        )
        generator = torch.Generator().manual_seed(4)
        greys = (*Tabled.REAL, *Tabled.RECONSTRUCTED, *Tabled.DRAWN)
        logits = dict(zip(greys, torch.randn(10, 4, generator=generator).tolist(), strict=True))
        features = dict(zip(greys, torch.randn(10, generator=generator).tolist(), strict=True))
        model.networks, model.discriminator = Tabled(), Table(logits, features)  # type: ignore[assignment]
        updates = Updates()
        real = Tabled.REAL[: len(labels)]
        terms = model.step(Batch(torch.tensor(real).view(-1, 1, 1, 1), torch.tensor(labels)), updates)

        def discriminator(image: float, y: int) -> float:
            generated = Tabled.RECONSTRUCTED[y], Tabled.DRAWN[y]
            return as_class(logits[image], y) + sum(as_class(logits[fake], self.FAKE) for fake in generated)

        def vae(image: float, y: int) -> float:
            reconstructed, drawn = Tabled.RECONSTRUCTED[y], Tabled.DRAWN[y]
            compared = bernoulli(image, reconstructed, self.PIXEL)
            if feature_loss:
                compared = (features[image] - features[reconstructed]) ** 2 / (2 * 2.0)
            kl = 0.5 * (Tabled.MEANS[y] ** 2 + math.exp(-20) - 1 + 20)
            return kl + compared + as_class(logits[drawn], y) + as_class(logits[reconstructed], y)

        q = torch.tensor(Tabled.Q).softmax(1).tolist()
        h = [-sum(p * math.log(p) for p in row) for row in q]
        known = [place for place, label in enumerate(labels) if label != HIDDEN]
        hidden = [place for place, label in enumerate(labels) if label == HIDDEN] or known

        def averaged(loss: object) -> tuple[float, float]:
            assert callable(loss)
            labelled = [loss(real[i], labels[i]) for i in known]
            unlabelled = [sum(q[i][y] * loss(real[i], y) for y in range(3)) for i in hidden]
            return sum(labelled) / len(known), sum(unlabelled) / len(hidden)

        share = len(known) / len(labels)
        classification = sum(as_class(Tabled.Q[i], labels[i]) for i in known) / len(known)
        told, averaged_told = averaged(discriminator)
        labelled, unlabelled = averaged(vae)
        unlabelled += sum(h[i] for i in hidden) / len(hidden)
        d_loss = share * told + (1 - share) * averaged_told
        loss = share * labelled + (1 - share) * unlabelled + 0.5 * classification
        near(updates, {"discriminator": d_loss, "vae": loss})
        near(
            terms,
            {**updates, "labelled": labelled, "unlabelled": unlabelled, "classification": classification},
        )


def test_a_step_without_an_update_gives_the_same_losses() -> None:
    model, updates = AdversarialVAE(SMALL).eval(), Updates()
    torch.manual_seed(0)
    moved = model.step(batch(), updates)
    torch.manual_seed(0)
    held_out = model.step(batch(), no_update)
    assert held_out == moved
