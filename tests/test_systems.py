"""What each system's losses come to where the answer is known, and that every condition matters."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, kl_divergence

from bench import registry
from bench.contract import (
    HIDDEN,
    Batch,
    Conditional,
    ImageSpec,
    Model,
    Unsupported,
    condition_of,
    eval_mode,
    no_update,
)
from bench.models import only_class
from bench.models.acai import ACAI, mix
from bench.models.cvae import CVAE
from bench.models.draw import Draw
from bench.models.ssl_vae import SSLVAE
from bench.models.ssl_vae_gan import SSLVAEGAN
from bench.models.wgan import WGAN, gradient_penalty, wasserstein
from bench.networks.adversarial import Fakes, critic_batches, k_plus_one_classes, vae_gan_step
from bench.networks.losses import cross_entropy_fake, cross_entropy_real
from bench.networks.recurrent import gaussian_filters
from bench.networks.semi_supervised import entropy, expected

SMALL = ImageSpec(1, 8, 8, ("a", "b", "c"))
GREY = ImageSpec(1, 28, 28, tuple("0123456789"))


def batch_of(spec: ImageSpec, labels: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(5)
    return Batch(torch.rand(len(labels), *spec.shape, generator=generator), torch.tensor(labels))


def conditional_models() -> dict[str, Model]:
    """Every model that is told something, by name: on its defaults, or asked to be."""
    found: dict[str, Model] = {}
    for name in registry.names("models"):
        torch.manual_seed(0)
        model = only_class(registry.load("models", name))
        if "conditional" in (model.__init__.__kwdefaults__ or {}):
            found[name] = model(GREY, conditional=True)
        elif isinstance(each := model(GREY), Conditional):
            found[name] = each
    found["cvae left_half"] = CVAE(GREY, condition="left_half")
    return found


CONDITIONAL = conditional_models()


class TestConditions:
    """A condition that is given is used, and one that cannot be given is refused."""

    def test_there_are_as_many_as_the_documents_describe(self) -> None:
        assert set(CONDITIONAL) == {
            "cvae",
            "cvae left_half",
            "cvae_gan",
            "ssl_vae",
            "ssl_vae_gan",
            "draw",
            "draw_gan",
        }

    @pytest.mark.parametrize("name", sorted(CONDITIONAL))
    def test_samples_follow_the_condition(self, name: str) -> None:
        model = CONDITIONAL[name]
        given = [condition_of(model, batch_of(GREY, [label] * 4)) for label in (2, 7)]
        if "left_half" in name:
            assert given[0] is not None
            given[1] = 1 - given[0]
        drawn = []
        for condition in given:
            with eval_mode(model, seed=1):
                drawn.append(model.sample(4, condition))
        assert not torch.allclose(drawn[0], drawn[1], atol=1e-3)

    @pytest.mark.parametrize("name", sorted(CONDITIONAL))
    def test_the_loss_follows_the_condition(self, name: str) -> None:
        model = CONDITIONAL[name]
        if "left_half" in name:
            pytest.skip("its condition is part of the image")
        terms = []
        for labels in ([0, 1, 2, 3], [4, 5, 6, 7]):
            with eval_mode(model, seed=1):
                terms.append(model.step(batch_of(GREY, labels), no_update))
        assert any(not torch.isclose(terms[0][name], terms[1][name]) for name in terms[0])

    @pytest.mark.parametrize("name", ["cvae", "cvae_gan", "ssl_vae", "ssl_vae_gan"])
    def test_images_without_classes_are_refused_before_training(self, name: str) -> None:
        with pytest.raises(Unsupported, match="labelled"):
            only_class(registry.load("models", name))(ImageSpec(1, 32, 32))

    @pytest.mark.parametrize("name", ["draw", "draw_gan"])
    def test_so_are_they_by_a_conditional_draw(self, name: str) -> None:
        model = only_class(registry.load("models", name))
        assert not isinstance(model(ImageSpec(1, 32, 32)), Conditional)
        with pytest.raises(Unsupported, match="labelled"):
            model(ImageSpec(1, 32, 32), conditional=True)

    def test_left_halves_need_no_label(self) -> None:
        model = CVAE(ImageSpec(1, 32, 32), condition="left_half")
        with eval_mode(model):
            assert model.sample(2, torch.rand(2, 1, 32, 16)).shape == (2, 1, 32, 32)

    @pytest.mark.parametrize("name", ["cvae", "cvae_gan", "draw"])
    def test_a_hidden_label_is_refused(self, name: str) -> None:
        with pytest.raises(ValueError, match="a label is hidden"):
            CONDITIONAL[name].step(batch_of(GREY, [1, HIDDEN]), no_update)


class TestSemiSupervised:
    """M2's bounds by enumeration."""

    def test_q_averages_over_classes_and_its_entropy_is_categoricals(self) -> None:
        logits = torch.randn(4, 3)
        q = Categorical(logits=logits)
        torch.testing.assert_close(entropy(logits), q.entropy())
        values = torch.randn(3, 4)  # class by class
        torch.testing.assert_close(expected(values.flatten(), logits), (q.probs.T * values).sum(0))

    @pytest.mark.parametrize("backbone", ["mlp", "conv"])
    def test_labelled_and_unlabelled_bounds_by_enumeration(self, backbone: str) -> None:
        """One image, codes without noise (log-variance at -inf by hand): every term written out for every label."""
        torch.manual_seed(0)
        model = SSLVAE(SMALL, backbone=backbone, latent_dim=2)  # type: ignore[arg-type]
        with torch.no_grad():
            model.networks.log_variance.weight.zero_()
            model.networks.log_variance.bias.fill_(-80.0)
        batch = batch_of(SMALL, [1])
        with eval_mode(model):
            terms = model.step(batch, no_update)
            features, log_variance, logits = model.networks.infer(batch.images)
            q, bounds = logits.softmax(1)[0], []
            for label in range(3):
                y = F.one_hot(torch.tensor([label]), 3).float()
                mean = model.networks.means(features, y)
                decoded = model.networks.decode(mean, y).sigmoid()
                likelihood = -F.binary_cross_entropy(decoded, batch.images, reduction="sum")
                prior, posterior = Normal(0.0, 1.0), Normal(mean, (0.5 * log_variance).exp())
                bounds.append(-(likelihood + math.log(1 / 3) - kl_divergence(posterior, prior).sum()))
        unlabelled = sum(q[y] * bounds[y] for y in range(3)) - Categorical(probs=q).entropy()
        torch.testing.assert_close(terms["labelled"], bounds[1], rtol=1e-4, atol=0)
        torch.testing.assert_close(terms["unlabelled"], unlabelled, rtol=1e-4, atol=0)
        torch.testing.assert_close(terms["classification"], -q[1].log(), rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(terms["loss"], terms["labelled"] + 0.1 * terms["classification"])

    def test_a_mixed_batch_weighs_its_images_alike_and_alpha_by_images_per_label(self) -> None:
        model = SSLVAE(SMALL, latent_dim=2, classification_weight=0.1)
        with eval_mode(model):
            terms = model.step(batch_of(SMALL, [0, HIDDEN, HIDDEN, HIDDEN]), no_update)
        alpha = 0.1 * 4 / 1  # Kingma et al.: 0.1 * images per labelled image
        total = terms["labelled"] + 3 * terms["unlabelled"] + alpha * terms["classification"]
        torch.testing.assert_close(terms["loss"], total / 4)

    def test_the_classifier_learns_from_images_without_labels(self) -> None:
        model = SSLVAE(SMALL, latent_dim=2, classification_weight=0.0)
        model.step(batch_of(SMALL, [0, HIDDEN, HIDDEN]), lambda _, loss: loss.backward())
        assert model.networks.classifier.weight.grad is not None
        assert model.networks.classifier.weight.grad.abs().max() > 0

    def test_the_discriminator_learns_nothing_through_q(self) -> None:
        model = SSLVAEGAN(GREY)
        seen: list[str] = []

        def update(player: str, loss: Tensor) -> None:
            if player == "discriminator":
                assert torch.autograd.grad(
                    loss, list(model.networks.parameters()), allow_unused=True, retain_graph=True
                )
                grads = torch.autograd.grad(
                    loss, list(model.networks.parameters()), allow_unused=True, retain_graph=True
                )
                assert all(grad is None for grad in grads)
            seen.append(player)

        model.step(batch_of(GREY, [0, 1, HIDDEN, HIDDEN]), update)
        assert seen == ["discriminator", "vae"]

    def test_images_are_compared_in_pixels_or_in_the_discriminators_layer(self) -> None:
        model = SSLVAEGAN(GREY)
        output = next(
            layer for layer in reversed(list(model.networks.decoder.modules())) if isinstance(layer, nn.Linear)
        )
        nn.init.zeros_(output.weight)  # so that every pixel is grey
        batch = batch_of(GREY, [0, 1, 2])

        def labelled(feature_variance: float | None) -> float:
            model.feature_variance = feature_variance
            with eval_mode(model):
                return float(model.step(batch, no_update)["labelled"])

        rest = labelled(1e30)
        assert labelled(None) - rest == pytest.approx(GREY.pixels * math.log(2), rel=1e-4)
        assert labelled(1.0) - rest == pytest.approx(2 * (labelled(2.0) - rest), rel=1e-3)
        assert labelled(1.0) > rest

    def test_the_printed_entropy_is_added_and_minus_one_subtracts_it(self) -> None:
        torch.manual_seed(0)
        model = SSLVAEGAN(GREY)
        batch = batch_of(GREY, [0, 1, HIDDEN, HIDDEN])
        with eval_mode(model):
            added = model.step(batch, no_update)["unlabelled"]
            h = entropy(model.classify(batch.images)[2:]).mean()
        model.entropy_weight = -1.0
        with eval_mode(model):
            subtracted = model.step(batch, no_update)["unlabelled"]
        torch.testing.assert_close(added - subtracted, 2 * h, rtol=1e-3, atol=1e-3)


class TestAdversaries:
    """Games and critics in closed form."""

    def test_k_plus_one_classes_at_even_odds(self) -> None:
        logits = torch.zeros(5, 11)
        assert cross_entropy_real(logits, torch.arange(5)).item() == pytest.approx(math.log(11))
        assert cross_entropy_fake(logits).item() == pytest.approx(math.log(11))

    def test_vae_gan_is_equations_2_and_3(self) -> None:
        """A discriminator that doubles its one pixel for features and reads the label's logit off a table."""

        class Table(nn.Module):
            def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
                pixel = images.flatten(1)
                return torch.cat((pixel, torch.zeros_like(pixel), -pixel), dim=1), 2 * pixel

        def image(value: float) -> Tensor:
            return torch.full((2, 1, 1, 1), value)

        losses: dict[str, Tensor] = {}
        terms = vae_gan_step(
            "vae",
            Table(),
            image(1.0),
            Fakes(image(0.5), image(0.25)),
            {"kl": torch.tensor(3.0)},
            k_plus_one_classes(torch.tensor([0, 0])),
            losses.__setitem__,
            feature_variance=2.0,
        )
        log_sum = {x: math.log(math.exp(x) + 1 + math.exp(-x)) for x in (1.0, 0.5, 0.25)}
        discriminator = (log_sum[1.0] - 1.0) + (log_sum[0.25] + 0.25) + (log_sum[0.5] + 0.5)
        adversarial = (log_sum[0.25] - 0.25) + (log_sum[0.5] - 0.5)
        features = (2 * 1.0 - 2 * 0.5) ** 2 / (2 * 2.0)
        assert losses["discriminator"].item() == pytest.approx(discriminator)
        assert terms["features"].item() == pytest.approx(features)
        assert terms["adversarial"].item() == pytest.approx(adversarial)
        assert losses["vae"].item() == pytest.approx(3.0 + features + adversarial)

    def test_turns_share_out_a_batch(self) -> None:
        parts = critic_batches(torch.arange(20.0).view(10, 2, 1, 1), 5)
        assert [len(part) for part in parts] == [2] * 5
        assert torch.cat(parts).flatten().sort().values.tolist() == list(range(20))
        assert [part[:, 0].flatten().tolist() for part in parts[:2]] == [[0, 10], [2, 12]]  # one of each half
        assert [len(part) for part in critic_batches(torch.rand(3, 1, 1, 1), 5)] == [1] * 3

    def test_the_wasserstein_estimate_of_two_points_is_their_distance(self) -> None:
        """Between delta(0) and delta(3), f(x) = x is an optimal 1-Lipschitz critic."""
        assert wasserstein(torch.full((4, 1), 3.0), torch.zeros(4, 1)).item() == 3

    def test_the_gradient_penalty_of_a_linear_critic_is_its_excess_slope(self) -> None:
        critic = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
        with torch.no_grad():
            critic[1].weight.copy_(torch.tensor([[3.0, 0.0, 4.0, 0.0]]))  # type: ignore[operator]
        penalty = gradient_penalty(critic, torch.rand(6, 1, 2, 2), torch.rand(6, 1, 2, 2))
        assert penalty.item() == pytest.approx((5 - 1) ** 2)

    def test_clipping_holds_from_the_first_and_the_penalty_has_no_batch_normalisation(self) -> None:
        clipped, penalised = WGAN(GREY, clip=0.02), WGAN(GREY, lipschitz="penalty")
        assert max(float(p.detach().abs().max()) for p in clipped.critic.parameters()) <= 0.02
        assert not any(isinstance(layer, nn.BatchNorm2d) for layer in penalised.critic)
        assert any(isinstance(layer, nn.BatchNorm2d) for layer in clipped.critic)

    def test_a_critic_learns_five_times_for_the_generators_once(self) -> None:
        moved: list[str] = []
        WGAN(GREY).step(batch_of(GREY, [0] * 20), lambda player, _: moved.append(player))
        assert moved == ["critic"] * 5 + ["generator"]


class TestInterpolation:
    """ACAI where the answer is known."""

    def test_codes_are_mixed_with_those_of_the_other_half(self) -> None:
        codes = torch.tensor([[0.0], [1.0], [10.0], [20.0]])
        alpha = torch.tensor([0.5, 0.0, 0.25, 0.0])
        assert mix(codes, alpha).flatten().tolist() == [10.0, 10.0, 0.25 * 10 + 0.75 * 1, 0.0]

    def test_at_alpha_zero_a_reversed_batch_is_reconstructed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """alpha = 0 mixes nothing in, so the critic's target and the regulariser are those of reconstructions."""
        torch.manual_seed(0)
        model = ACAI(replace(GREY), gamma=0.0)
        monkeypatch.setattr(model, "mixing", lambda images: torch.zeros(len(images)))
        batch = batch_of(GREY, [0] * 6)
        with eval_mode(model):
            terms = model.step(batch, no_update)
            read = model.coefficient(model.decode(model.encode(batch.images))).square().mean()
        torch.testing.assert_close(terms["regulariser"], read)
        torch.testing.assert_close(terms["critic"], 2 * read)
        torch.testing.assert_close(terms["autoencoder"], terms["reconstruction_per_pixel"] + 0.5 * read)

    def test_the_critic_sees_a_linear_output_as_it_is_and_the_world_its_bounds(self) -> None:
        model = ACAI(GREY, reconstruction="mse_linear")
        last = next(layer for layer in reversed(list(model.decoder.modules())) if isinstance(layer, nn.Conv2d))
        nn.init.zeros_(last.weight)
        assert last.bias is not None
        nn.init.constant_(last.bias, 4.0)
        shown: list[Tensor] = []
        model.critic.register_forward_pre_hook(lambda _, inputs: shown.append(inputs[0]))
        batch = batch_of(GREY, [0, 1])
        with eval_mode(model):
            terms = model.step(batch, no_update)
            assert model.decode(model.encode(batch.images)).unique().tolist() == [1]
        assert shown[0].unique().tolist() == [2.5]  # the mixture: (4 + 1) / 2
        torch.testing.assert_close(shown[1], 0.2 * batch.images + 0.8 * 2.5)
        torch.testing.assert_close(terms["reconstruction_per_pixel"], (4 - (batch.images * 2 - 1)).square().mean())

    def test_a_critic_that_reads_alpha_off_exactly_loses_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        model = ACAI(GREY)
        monkeypatch.setattr(model, "coefficient", lambda images: images.flatten(1).mean(1))
        alpha = torch.tensor([0.1, 0.4])
        mixed = alpha.view(2, 1, 1, 1).expand(2, 1, 28, 28)
        nothing = torch.zeros(2, 1, 28, 28)
        assert model.critic_loss(nothing, nothing, mixed, alpha).item() == pytest.approx(0)
        images = torch.ones(2, 1, 28, 28)
        assert model.critic_loss(images, nothing, mixed, alpha).item() == pytest.approx(0.2**2)  # gamma of the image


class TestDraw:
    """The recurrent network's parts."""

    def test_kl_is_summed_over_glimpses(self) -> None:
        torch.manual_seed(0)
        model = Draw(GREY)
        batch = batch_of(GREY, [0, 1, 2])
        with eval_mode(model):
            terms = model.step(batch, no_update)
        with eval_mode(model):
            drawing = model.network.reconstruct(batch.images, None)
        assert drawing.means.shape == (3, 10, 10)
        each = kl_divergence(Normal(drawing.means, (0.5 * drawing.log_variances).exp()), Normal(0.0, 1.0))
        torch.testing.assert_close(terms["kl"], each.sum(2).sum(1).mean())

    def test_canvases_add_up_stroke_by_stroke(self) -> None:
        model = Draw(GREY, glimpses=4)
        with eval_mode(model):
            canvases = model.canvases(batch_of(GREY, [0, 1]).images)
            assert torch.equal(canvases[-1], model.decode(model.encode(batch_of(GREY, [0, 1]).images)))
        assert canvases.shape == (4, 2, 1, 28, 28)

    def test_filters_are_a_grid_of_gaussians_that_sum_to_one(self) -> None:
        """Centre 14.5 of 28 pixels, stride 3: five filters at 8.5 to 20.5, equation 19, each a Gaussian of variance 1."""
        filters = gaussian_filters(torch.tensor([14.5]), torch.tensor([3.0]), torch.tensor([0.0]), 5, 28)
        pixels = torch.arange(1, 29.0)
        torch.testing.assert_close(filters.sum(2), torch.ones(1, 5))
        torch.testing.assert_close((filters[0] * pixels).sum(1), torch.tensor([8.5, 11.5, 14.5, 17.5, 20.5]))
        variance = (filters[0, 2] * (pixels - 14.5) ** 2).sum()
        assert variance.item() == pytest.approx(1, abs=1e-4)

    def test_a_filter_outside_the_image_stays_finite(self) -> None:
        filters = gaussian_filters(torch.tensor([1e4]), torch.tensor([9.0]), torch.tensor([-9.0]), 5, 28)
        assert filters.isfinite().all()

    @pytest.mark.parametrize("attention", [True, False])
    def test_attention_is_an_option_and_colour_is_drawn(self, attention: bool) -> None:
        model = Draw(ImageSpec(3, 16, 12), attention=attention)
        assert model.sample(2).shape == (2, 3, 16, 12)
