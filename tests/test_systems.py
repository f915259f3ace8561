"""What the documents' systems can do, and what their losses come to where the answer is known."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical, Normal, kl_divergence

from bench.batches import DataOptions, prepare, steps_per_epoch, stream
from bench.contract import (
    HIDDEN,
    Autoencodes,
    Batch,
    Classifies,
    Conditional,
    Draws,
    Generates,
    ImageSpec,
    Infers,
    Model,
    Split,
    Unsupported,
    as_floats,
    condition_of,
    conditioned_on,
    eval_mode,
)
from bench.models import model_class
from bench.models.acai import ACAI, mix
from bench.models.cvae import CVAE
from bench.models.draw import Draw
from bench.models.ssl_vae import SSLVAE
from bench.models.ssl_vae_gan import SSLVAEGAN
from bench.models.supervised import Supervised
from bench.networks.blocks import normal_weights
from bench.networks.recurrent import gaussian_filters
from bench.networks.semi_supervised import entropy, expected
from bench.training import no_update
from tests.promises import SYSTEMS

SMALL = ImageSpec(1, 8, 8, ("a", "b", "c"))
GREY = ImageSpec(1, 28, 28, tuple("0123456789"))


def batch_of(spec: ImageSpec, labels: list[int]) -> Batch:
    generator = torch.Generator().manual_seed(5)
    return Batch(torch.rand(len(labels), *spec.shape, generator=generator), torch.tensor(labels))


DOCUMENTS = {
    Generates: (SYSTEMS, "samples of every system"),
    Autoencodes: (
        ["acai", "adversarial_vae", "ae", "draw", "draw_gan", "vae_gan"],
        "000, 001: codes of horses and birds are mixed; 004, figures 10 and 11: reconstructions",
    ),
    Infers: (
        ["adversarial_vae", "conv_vae", "cvae", "cvae_gan", "ssl_vae", "ssl_vae_gan", "vae", "vae_gan"],
        "000, 002, 003, 004: a VAE has a q(z | x)",
    ),
    Conditional: (
        ["cvae", "cvae_gan", "draw", "draw_gan", "ssl_vae", "ssl_vae_gan"],
        "004, sections 2.2 to 2.4, 3.2 to 3.4: what is given a label",
    ),
    Classifies: (["ssl_vae", "ssl_vae_gan"], "004, section 4.5, table 1"),
    Draws: (["draw", "draw_gan"], "004, figures 10 and 11"),
}


@pytest.mark.parametrize("capability", DOCUMENTS)
def test_the_documents_systems_can_do_what_the_documents_show(capability: type[ABC]) -> None:
    names, source = DOCUMENTS[capability]
    assert [name for name in names if not issubclass(model_class(name), capability)] == [], source


def make(name: str, spec: ImageSpec, **settings: Any) -> Model:
    build: Callable[..., Model] = model_class(name)
    torch.manual_seed(0)
    return build(spec, **settings)


TOLD: list[tuple[str, dict[str, Any]]] = [
    ("cvae", {}),
    ("cvae_gan", {}),
    ("ssl_vae", {}),
    ("ssl_vae_gan", {}),
    ("draw", {"conditional": True}),
    ("draw_gan", {"conditional": True}),
]


class TestConditions:
    """What document 004's systems are told; that it matters is a promise of every model."""

    @pytest.mark.parametrize(("name", "settings"), TOLD)
    def test_labels_are_told_and_images_without_classes_refused_before_training(
        self, name: str, settings: dict[str, Any]
    ) -> None:
        assert conditioned_on(make(name, GREY, **settings)) == "labels"
        with pytest.raises(Unsupported, match="labelled"):
            make(name, ImageSpec(1, 32, 32), **settings)

    @pytest.mark.parametrize("name", ["draw", "draw_gan"])
    def test_draw_is_told_nothing_unless_it_is_conditional(self, name: str) -> None:
        assert conditioned_on(make(name, ImageSpec(1, 32, 32))) is None

    def test_left_halves_need_no_label(self) -> None:
        model = CVAE(ImageSpec(1, 32, 32), condition="left_half")
        assert conditioned_on(model) == "left_half"
        with eval_mode(model):
            assert model.sample(2, torch.rand(2, 1, 32, 16)).shape == (2, 1, 32, 32)

    def test_a_model_is_given_what_it_is_told(self) -> None:
        batch = batch_of(GREY, [3, 1])
        assert condition_of(make("vae", GREY), batch) is None
        assert condition_of(CVAE(GREY), batch) is batch.labels
        half = condition_of(CVAE(GREY, condition="left_half"), batch)
        assert half is not None
        assert torch.equal(half, batch.images[:, :, :, :14])

    @pytest.mark.parametrize(("name", "settings"), [each for each in TOLD if "ssl" not in each[0]])
    def test_a_hidden_label_is_refused(self, name: str, settings: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="a label is hidden"):
            make(name, GREY, **settings).step(batch_of(GREY, [1, HIDDEN]), no_update)

    @pytest.mark.parametrize("name", ["ssl_vae", "ssl_vae_gan"])
    def test_labels_that_are_not_given_are_drawn_before_the_codes(self, name: str) -> None:
        model = make(name, GREY)
        assert isinstance(model, SSLVAE | SSLVAEGAN)
        with eval_mode(model, seed=1):
            drawn = model.sample(20)
        with eval_mode(model, seed=1):
            labels = torch.randint(10, (20,))
            expected = model.decode(torch.randn(20, model.latent_dim), labels)
        assert torch.equal(drawn, expected)


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
        normal_weights(model.networks)  # at first no label matters, and here it is to
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

    @pytest.mark.parametrize("backbone", ["mlp", "conv"])
    def test_at_first_no_label_explains_an_image_better_and_the_known_ones_move_the_classifier(
        self, backbone: str
    ) -> None:
        """Drawn as for a ReLU, the bounds of an image differed by 20 nats, and moved q 70 times as much as its labels did."""
        torch.manual_seed(0)
        model = SSLVAE(GREY, backbone=backbone)  # type: ignore[arg-type]
        batch = batch_of(GREY, [0, 1, 2, 3] + [HIDDEN] * 4)
        found: dict[str, Tensor] = {}

        def update(player: str, loss: Tensor) -> None:
            found["loss"] = loss

        terms = model.step(batch, update)
        weight = model.networks.classifier.weight
        (of_labels,) = torch.autograd.grad(0.1 * terms["classification"], weight, retain_graph=True)
        (of_bounds,) = torch.autograd.grad(found["loss"] - 0.1 * terms["classification"], weight)
        assert of_bounds.norm() < of_labels.norm()

    def test_all_labels_of_an_image_see_one_draw(self) -> None:
        """Where no label is heard an image's bounds are one number, so U is L less the entropy of q."""
        torch.manual_seed(0)
        model = SSLVAE(GREY)
        normal_weights(model.networks)
        with torch.no_grad():
            model.networks.mean_of_label.weight.zero_()
            model.networks.decoder.get_parameter("layers.0.weight")[:, -10:] = 0
        batch = batch_of(GREY, [3, 5])
        with eval_mode(model):
            terms = model.step(batch, no_update)
            entropies = entropy(model.classify(batch.images))
        torch.testing.assert_close(terms["unlabelled"], terms["labelled"] - entropies.mean(), rtol=1e-5, atol=0)

    def test_a_mixed_batch_weighs_its_images_alike_and_alpha_by_images_per_label(self) -> None:
        model = SSLVAE(SMALL, latent_dim=2, classification_weight=0.1)
        with eval_mode(model):
            terms = model.step(batch_of(SMALL, [0, HIDDEN, HIDDEN, HIDDEN]), no_update)
        alpha = 0.1 * 4 / 1  # Kingma et al.: 0.1 * images per labelled image
        total = terms["labelled"] + 3 * terms["unlabelled"] + alpha * terms["classification"]
        torch.testing.assert_close(terms["loss"], total / 4)

    @pytest.mark.parametrize(("share", "size"), [(0.5, 6), (0.25, 4)])
    def test_an_epoch_averages_to_the_sum_over_all_images_whatever_share_of_a_batch_is_labelled(
        self, share: float, size: int
    ) -> None:
        """Twelve images, three of them labelled, codes without noise: the objective by enumeration against three steps' mean."""
        torch.manual_seed(0)
        model = SSLVAE(SMALL, latent_dim=2)
        with torch.no_grad():
            model.networks.log_variance.weight.zero_()
            model.networks.log_variance.bias.fill_(-80.0)
        pixels = torch.randint(
            0, 256, (12, *SMALL.shape), generator=torch.Generator().manual_seed(1), dtype=torch.uint8
        )
        split = Split(pixels, torch.arange(12) % 3)
        data = prepare("toy", SMALL, split, split, DataOptions(labelled=3, labelled_share=share))
        batches = stream(data.train, size, torch.Generator(), data.parts)
        steps = steps_per_epoch(12, size, data.parts)
        with eval_mode(model):
            losses = torch.stack([model.step(next(batches), no_update)["loss"] for _ in range(steps)])
            total = torch.zeros(())
            for image, label in zip(as_floats(pixels), data.train.labels, strict=True):
                terms = model.step(Batch(image[None], label[None].clamp(min=0)), no_update)
                known = label != HIDDEN
                total += terms["labelled"] if known else terms["unlabelled"]
                total += 0.1 * 12 * terms["classification"] / 3 if known else 0
        assert steps == 3
        torch.testing.assert_close(losses.mean(), total / 12)

    def test_a_batch_may_weigh_as_it_stands(self) -> None:
        model = SSLVAE(SMALL, latent_dim=2, classification_weight=0.0, weighting="batch")
        batch = replace(batch_of(SMALL, [0, HIDDEN]), weights=torch.tensor([0.2, 1.8]))
        with eval_mode(model):
            terms = model.step(batch, no_update)
        model.weighting = "images"
        with eval_mode(model):  # the same noise
            reweighted = model.step(batch, no_update)
        torch.testing.assert_close(terms["loss"], (terms["labelled"] + terms["unlabelled"]) / 2)
        torch.testing.assert_close(reweighted["loss"], 0.1 * terms["labelled"] + 0.9 * terms["unlabelled"])

    def test_both_players_weigh_images_by_how_many_there_are(self) -> None:
        """The discriminator's loss and the VAE's, of weights that leave labelled images alone or the others."""
        torch.manual_seed(0)
        model = SSLVAEGAN(GREY, classification_weight=0.0)
        batch = batch_of(GREY, [0, 1, HIDDEN, HIDDEN])
        found = {}
        for labelled in (0.0, 1.0, 0.25):
            weights = torch.tensor([2 * labelled] * 2 + [2 * (1 - labelled)] * 2)
            with eval_mode(model):
                found[labelled] = model.step(replace(batch, weights=weights), no_update)
        torch.testing.assert_close(found[1.0]["vae"], found[0.25]["labelled"])
        torch.testing.assert_close(found[0.0]["vae"], found[0.25]["unlabelled"])
        for player in ("vae", "discriminator"):
            torch.testing.assert_close(found[0.25][player], 0.25 * found[1.0][player] + 0.75 * found[0.0][player])

    @pytest.mark.parametrize("backbone", ["mlp", "conv"])
    def test_the_control_sees_labelled_images_alone(self, backbone: str) -> None:
        model = Supervised(SMALL, backbone=backbone)  # type: ignore[arg-type]
        batch = batch_of(SMALL, [0, HIDDEN, 2, HIDDEN])
        seen: list[Tensor] = []
        model.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with eval_mode(model):
            loss = model.step(batch, no_update)["loss"]
            logits = model.classify(batch.images[[0, 2]])
        assert torch.equal(seen[0], batch.images[[0, 2]])
        torch.testing.assert_close(loss, F.cross_entropy(logits, torch.tensor([0, 2])))

    def test_the_classifier_learns_from_images_without_labels(self) -> None:
        model = SSLVAE(SMALL, latent_dim=2, classification_weight=0.0)
        model.step(batch_of(SMALL, [0, HIDDEN, HIDDEN]), lambda _, loss: loss.backward())
        assert model.networks.classifier.weight.grad is not None
        assert model.networks.classifier.weight.grad.abs().max() > 0

    def test_the_discriminator_learns_nothing_through_q(self) -> None:
        """q(y | x) weighs its loss, and is no more learnt through it than the images are."""
        model = SSLVAEGAN(GREY)
        reached: dict[str, list[bool]] = {}

        def update(player: str, loss: Tensor) -> None:
            reached[player] = []
            for part in (model.networks, model.networks.classifier, model.discriminator):
                gradients = torch.autograd.grad(loss, list(part.parameters()), allow_unused=True, retain_graph=True)
                reached[player].append(any(gradient is not None for gradient in gradients))

        model.step(batch_of(GREY, [0, 1, HIDDEN, HIDDEN]), update)
        assert list(reached) == ["discriminator", "vae"]
        assert reached == {"discriminator": [False, False, True], "vae": [True, True, True]}

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
        printed, bound = SSLVAEGAN(GREY), SSLVAEGAN(GREY, entropy_weight=-1.0)
        bound.load_state_dict(printed.state_dict())
        batch = batch_of(GREY, [0, 1, HIDDEN, HIDDEN])
        losses = []
        for model in (printed, bound):
            torch.manual_seed(1)
            with eval_mode(model):
                losses.append(model.step(batch, no_update)["unlabelled"])
        added, subtracted = losses
        with eval_mode(printed):
            h = entropy(printed.classify(batch.images)[2:]).mean()
        torch.testing.assert_close(added - subtracted, 2 * h, rtol=1e-3, atol=1e-3)


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
            batch = batch_of(GREY, [0, 1])
            canvases = model.canvases(model.encode(batch.images))
            drawing = model.network.reconstruct(batch.images, None, noisy=False)
        assert torch.equal(canvases, drawing.canvases.sigmoid())  # painted from the codes as while they were found
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
