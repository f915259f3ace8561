"""The experiments are the documents' own: who sees which images, and what the shipped studies train."""

from __future__ import annotations

import tomllib
from collections import defaultdict
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench import registry
from bench.batches import DataOptions, prepare
from bench.contract import Autoencodes, Batch, ImageSpec, Split, Update
from bench.data import Data
from bench.models import model_class
from bench.models.acai import ACAI
from bench.models.wgan import WGAN
from bench.networks.blocks import keras_count
from bench.optimizers import TrainingOptions
from bench.study.catalogue import Catalogue
from bench.study.definition import FULL, Trial
from bench.study.file import load
from bench.training import train

STUDIES = Path(__file__).parent.parent / "studies"


def trials(study: str, dataset: str, known: Catalogue) -> dict[str, Trial]:
    """The first seed's trial of every variant that a shipped study trains on a data set."""
    loaded = load(STUDIES / f"{study}.toml", known, datasets=[dataset])
    return {trial.variant: trial for trial in loaded.grid(known, {}) if trial.seed == 0}


@pytest.fixture(scope="module")
def halves() -> Data:
    """Bodies and wings, 24 images of each of four classes, alike within a class: a pixel is 40 times the label."""
    spec = ImageSpec(1, 8, 8, ("horse", "deer", "bird", "airplane"))
    labels = torch.arange(96) % 4
    images = (40 * labels).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, *spec.shape)
    split = Split(images, labels)
    return prepare("toy", spec, split, split, DataOptions(second_half=("bird", "airplane")))


def counts(images: Tensor) -> tuple[int, int]:
    """How many bodies and how many wings, of images of `halves`."""
    labels = (images.detach()[:, 0, 0, 0] * 255 / 40).round()
    return int((labels < 2).sum()), int((labels >= 2).sum())


class TestWhoSeesWhat:
    """Batches of two halves stay batches of two halves for every player."""

    @pytest.mark.parametrize("critic_steps", [1, 2, 7])
    def test_acais_players_all_see_both_halves(self, critic_steps: int, halves: Data) -> None:
        """gamma = 1 gives the critic the images themselves, after the mixtures; what is encoded to learn from has gradients."""
        model = ACAI(halves.spec, blocks=1, width=4, latent_channels=2, critic_steps=critic_steps, gamma=1.0)
        learnt: list[Tensor] = []
        criticised: list[Tensor] = []

        def encoded(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if model.training and torch.is_grad_enabled():
                learnt.append(inputs[0])

        def judged(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if model.training and not inputs[0].requires_grad:
                criticised.append(inputs[0])

        model.encoder.register_forward_pre_hook(encoded)
        model.critic.register_forward_pre_hook(judged)
        list(train(model, halves, TrainingOptions(epochs=2, batch_size=16), seed=0))
        steps = 2 * 96 // 16
        assert [counts(images) for images in learnt] == [(8, 8)] * steps
        assert len(criticised) == 2 * critic_steps * steps
        assert [counts(images) for images in criticised[1::2]] == [(8, 8)] * critic_steps * steps

    def test_the_autoencoder_learns_from_the_same_batches_however_often_the_critic_steps(
        self, halves: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        orders: list[Tensor] = []
        step = ACAI.step

        def watched(model: ACAI, batch: Batch, update: Update) -> dict[str, Tensor]:
            if model.training:
                orders.append(batch.labels)
            return step(model, batch, update)

        monkeypatch.setattr(ACAI, "step", watched)
        for critic_steps in (1, 3):
            model = ACAI(halves.spec, blocks=1, width=4, latent_channels=2, critic_steps=critic_steps)
            list(train(model, halves, TrainingOptions(epochs=2, batch_size=16), seed=0))
        first, second = torch.cat(orders[:12]), torch.cat(orders[12:])
        assert len(orders) == 24
        assert first[:96].bincount().tolist() == [24] * 4
        assert torch.equal(first, second)

    def test_a_killed_acai_goes_on_bit_equal(self, halves: Data, tmp_path: Path) -> None:
        """Both of its streams stand between two passes where an epoch ends."""
        options = TrainingOptions(epochs=1, batch_size=16)
        ends = []
        for folder in (None, tmp_path):
            torch.manual_seed(0)
            model = ACAI(halves.spec, blocks=1, width=4, latent_channels=2, critic_steps=3)
            if folder:
                list(train(model, halves, options, seed=0, folder=folder))
                torch.manual_seed(9)
                model = ACAI(halves.spec, blocks=1, width=4, latent_channels=2, critic_steps=3)
            list(train(model, halves, replace(options, epochs=3), seed=0, folder=folder))
            ends.append(model.state_dict())
        assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])

    def test_wgans_critic_sees_fresh_images_of_both_halves_at_every_step(
        self, halves: Data, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """An epoch of 96 images in batches of 24: four steps of the generator, and twelve of the critic with 8 images each."""
        model = WGAN(halves.spec, critic_steps=3)
        real: list[Tensor] = []
        generated: list[int] = []

        def judged(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            images = (inputs[0].detach() + 1) / 2
            grey = images.flatten(1)
            if model.training and torch.allclose(grey, grey[:, :1].expand_as(grey)):  # one value a picture: a real one
                real.append(images)

        def drawn(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if model.training:
                generated.append(len(inputs[0]))

        model.critic.register_forward_pre_hook(judged)
        model.generator.register_forward_pre_hook(drawn)
        list(train(model, halves, TrainingOptions(epochs=1, batch_size=24, optimizer="rmsprop"), seed=0))
        assert [counts(images) for images in real] == [(4, 4)] * 12
        assert counts(torch.cat(real)) == (48, 48)
        assert len(generated) == 12 + 4  # for the critic's steps, and the generator's own


PRINTED = {
    # Document 002: listing 2, and the discussion.
    ("vae_vs_gan", "imagenette"): {"conv_vae": {"": 4_348_547}, "dcgan": {"generator": 3_576_704}},
    # Listings 1 and 3, and the discussion's 1,256,698, which no widths of listing 3 come to: their totals leave 2 over 3.
    ("vae_vs_gan", "mnist"): {
        "vae": {"": 1_079_600},
        "gan": {"": 318_737},
        "gan of the vae's size": {"": 1_256_699},
    },
    ("gan_latent_dim", "mnist"): {"latent_dim=100": {"generator": 726_401}},  # document 003, figure 13
    ("gan_latent_dim", "cifar10"): {"latent_dim=100": {"generator": 4_516_739}},  # figure 14
    ("gan_depth", "mnist"): {
        "depth=shallow": {"generator": 726_401},
        "depth=deep": {"generator": 1_637_121},
    },
    ("gan_depth", "cifar10"): {
        "depth=shallow": {"generator": 4_516_739},
        "depth=deep": {"generator": 17_635_075},
    },
    ("wgan_latent_dim", "mnist"): {"latent_dim=100": {"generator": 798_305}},  # figure 25
    ("wgan_latent_dim", "cifar10"): {
        "latent_dim=100": {"critic": 2_485_953},  # figure 26
        "latent_dim=10": {"critic": 2_485_953},
    },
    ("wgan_depth", "mnist"): {
        "depth=shallow": {"generator": 798_305},
        "depth=deep": {"generator": 1_924_289},
    },
    ("wgan_depth", "cifar10"): {
        "depth=shallow": {"critic": 2_485_953},
        "depth=deep": {"critic": 15_673_153},  # the sum of its rows
    },
}
"""The totals that the documents print, by study, data set, variant and network, the whole model where none is named."""


class TestStudies:
    """What the shipped studies train, read from their files."""

    @pytest.mark.parametrize(("study", "dataset"), PRINTED, ids="-".join)
    def test_networks_are_as_large_as_the_documents_print_them(
        self, study: str, dataset: str, known: Catalogue
    ) -> None:
        """Counted as Keras does where document 003 is the source, which counts the moving statistics of batch normalisation."""
        found = trials(study, dataset, known)
        spec = registry.load("datasets", dataset).SPEC
        for variant, networks in PRINTED[study, dataset].items():
            model = model_class(found[variant].model)(spec, **found[variant].settings["params"])
            for network, total in networks.items():
                module = model.get_submodule(network)
                own = sum(parameter.numel() for parameter in module.parameters())
                assert (own if study == "vae_vs_gan" else keras_count(module)) == total, variant

    def test_the_gan_on_imagenette_learns_as_in_pytorchs_tutorial(self, known: Catalogue) -> None:
        trial = trials("vae_vs_gan", "imagenette", known)["dcgan"]
        assert (trial.settings["training"]["learning_rate"], trial.settings["training"]["betas"]) == (
            2e-4,
            [0.5, 0.999],
        )

    def test_document_001s_critic_takes_two_batches_for_each_of_the_autoencoders(self, known: Catalogue) -> None:
        """disc_train = 1 is two; its table has none, one and more than five."""
        steps = {
            name: trial.settings["params"]["critic_steps"]
            for name, trial in trials("acai_training", "cifar10", known).items()
        }
        assert steps.pop("critic_steps 1") == 1
        assert steps.pop("critic_steps 7") == 7
        assert set(steps.values()) == {2}
        sizes = {
            trial.settings["training"]["batch_size"] for trial in trials("acai_training", "cifar10", known).values()
        }
        assert sizes == {64}

    @pytest.mark.parametrize(("study", "name"), [("adversarial_vae", "f ACAI"), ("adversarial_models", "acai")])
    def test_document_000s_acai_stands_on_its_vaes_networks(self, study: str, name: str, known: Catalogue) -> None:
        params = trials(study, "cifar10", known)[name].settings["params"]
        own = trials(study, "cifar10", known)[
            "a baseline" if study == "adversarial_vae" else "adversarial_vae"
        ].settings["params"]
        assert (params["architecture"], params["blocks"]) == ("mirrored", 4)
        assert all(params[name] == own[name] for name in ("width", "upsample", "latent_dim", "spectral_norm"))

    def test_lines_are_interpolated_by_the_acai_authors_networks(self, known: Catalogue) -> None:
        """A code of 16 x 2 x 2 on a linear output, their rate and batch, and at least 1.2 million images over three seeds."""
        found = trials("interpolation", "lines", known)
        assert set(found) == {"ae", "vae", "acai"}
        for trial in found.values():
            params, training = trial.settings["params"], trial.settings["training"]
            model = model_class(trial.model)(ImageSpec(1, 32, 32), **params)
            assert isinstance(model, Autoencodes)
            assert model.encode(torch.zeros(1, 1, 32, 32)).shape == (1, 16, 2, 2)
            assert params["architecture"] == "berthelot"
            assert params.get("reconstruction", "mse_linear") == "mse_linear"
            assert (training["learning_rate"], training["batch_size"]) == (1e-4, 64)
            assert training["epochs"] * 50_000 >= 1_200_000
        assert load(STUDIES / "interpolation.toml", known).seeds == 3

    @pytest.mark.parametrize(("study", "told"), [("completion", "left_half"), ("style_transfer", "labels")])
    def test_document_004s_applications_are_of_a_simple_fully_connected_cvae(
        self, study: str, told: str, known: Catalogue
    ) -> None:
        trial = trials(study, "mnist", known)["fully connected"]
        assert trial.model == "cvae"
        assert (trial.settings["params"]["backbone"], trial.settings["params"]["condition"]) == ("mlp", told)
        training = trial.settings["training"]
        assert (training["batch_size"], training["learning_rate"]) == (100, 1e-3)

    def test_no_two_studies_judge_the_same_of_the_same_trials(self, known: Catalogue) -> None:
        """Two would give two verdicts, each corrected for other claims beside it."""
        judged = defaultdict[object, set[str]](set)
        for path in sorted(STUDIES.glob("*.toml")):
            file = tomllib.loads(path.read_text())
            for size, dataset in product((FULL, *file.get("sizes", {})), file["datasets"]):
                study = load(path, known, datasets=[dataset], size=size, seeds=1)
                keys = {} if study.is_search else {trial.variant: trial.key for trial in study.grid(known, {})}
                for claim in study.claims:
                    if not claim.why and dataset in (claim.datasets or (dataset,)):
                        pairs = frozenset(tuple(keys.get(str(side), side) for side in pair) for pair in claim.pairs)
                        judged[dataset, claim.metric, claim.relation, claim.margin, pairs].add(path.stem)
        assert [studies for studies in judged.values() if len(studies) > 1] == []

    def test_anchors_are_the_papers_systems_and_acai_is_trained_once(self, known: Catalogue) -> None:
        """ACAI's trial is that of the study of interpolations, so a store that holds one of them has both."""
        found = trials("anchors", "mnist", known)
        vae = found["vae 200-200-50"].settings
        assert (vae["params"]["hidden_dims"], vae["params"]["latent_dim"]) == ([200, 200], 50)
        assert (vae["data"]["binarise"], vae["evaluation"]["likelihood_draws"]) == ("dynamic", 5000)
        labels = {trial.settings["data"]["labelled"] for name, trial in found.items() if name.startswith("M2")}
        assert labels == {100, 600, 1000, 3000}
        assert trials("anchors", "lines", known)["acai"].key == trials("interpolation", "lines", known)["acai"].key
