"""What every file of models/ keeps, whatever it holds."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench import registry
from bench.contract import (
    Autoencodes,
    Batch,
    Classifies,
    Conditional,
    Draws,
    ImageSpec,
    Infers,
    Model,
    Unsupported,
    condition_of,
    eval_mode,
    no_update,
    reconstruct,
)
from bench.models import only_class
from bench.study.catalogue import Catalogue
from bench.study.types import fits
from bench.training import Optimizers, TrainingOptions

MODELS = registry.names("models")
SPECS = {
    "grey": ImageSpec(1, 28, 28, tuple("0123456789")),
    "colour": ImageSpec(3, 32, 32, tuple("abcdefghij")),
}


def build(name: str, spec: ImageSpec) -> Model:
    """The model on its defaults; skipped where it says that it does not take these images."""
    torch.manual_seed(0)
    try:
        return only_class(registry.load("models", name))(spec)
    except Unsupported as error:
        pytest.skip(str(error))


def make_batch(spec: ImageSpec, n: int = 8) -> Batch:
    """Noise images with labels of every class."""
    generator = torch.Generator().manual_seed(1)
    return Batch(torch.rand(n, *spec.shape, generator=generator), torch.arange(n) % len(spec.classes))


def snapshot(model: Model) -> dict[str, Tensor]:
    """Every parameter and buffer, copied."""
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(params=[(name, spec) for name in MODELS for spec in SPECS], ids=lambda pair: "-".join(pair))
def case(request: pytest.FixtureRequest) -> tuple[Model, Batch, ImageSpec]:
    name, spec = request.param
    return build(name, SPECS[spec]), make_batch(SPECS[spec]), SPECS[spec]


@pytest.mark.parametrize("name", MODELS)
def test_hyperparameters_are_typed_keywords_with_defaults_that_fit(name: str, known: Catalogue) -> None:
    parameters = list(inspect.signature(only_class(registry.load("models", name))).parameters.values())
    assert [p.name for p in parameters if p.kind is not p.KEYWORD_ONLY] == ["spec"]
    for option_name, option in known.params[name].items():
        assert option.default is not inspect.Parameter.empty
        assert fits(option.default, option.type), option_name


@pytest.mark.parametrize("name", MODELS)
def test_setting_names_mean_one_thing(name: str, known: Catalogue) -> None:
    others = [option for options in known.options.values() for option in options]
    assert not set(known.params[name]) & set(others)
    assert len(others) == len(set(others))


@pytest.mark.parametrize("name", MODELS)
def test_training_defaults_are_training_options(name: str, known: Catalogue) -> None:
    for option, value in known.training_defaults[name].items():
        if isinstance(value, dict):
            assert set(value) <= known.player_options
        else:
            assert fits(value, known.options["training"][option].type)


@pytest.mark.parametrize("name", MODELS)
def test_the_file_says_where_the_model_is_from(name: str) -> None:
    assert any(word in (registry.load("models", name).__doc__ or "") for word in ("http", "arXiv", "doi"))


def test_players_share_out_the_parameters(case: tuple[Model, Batch, ImageSpec]) -> None:
    model = case[0]
    owned = [id(p) for player in model.players().values() for p in player.parameters()]
    assert len(owned) == len(set(owned))
    assert set(owned) == {id(p) for p in model.parameters()}


def test_terms_are_finite_scalars(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, batch, _ = case
    for name, value in model.step(batch, no_update).items():
        assert value.ndim == 0, name
        assert value.isfinite(), name


def test_an_update_moves_its_player_and_no_other(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, batch, _ = case
    descent = Optimizers(model, TrainingOptions(optimizer="sgd", learning_rate=1e-3))
    owners = {id(p): name for name, player in model.players().items() for p in player.parameters()}
    moved: list[str] = []

    def update(player: str, loss: Tensor) -> None:
        before = {id(p): p.detach().clone() for p in model.parameters()}
        descent.update(player, loss)
        changed = {owners[id(p)] for p in model.parameters() if not torch.equal(before[id(p)], p)}
        assert changed == {player}
        moved.append(player)

    model.step(batch, update)
    assert set(moved) == set(model.players())


def test_a_step_runs_in_bfloat16(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, batch, _ = case
    descent = Optimizers(model, TrainingOptions())
    with torch.autocast("cpu", torch.bfloat16):
        terms = model.step(batch, descent.update)
    assert all(value.isfinite() for value in terms.values())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_looking_leaves_no_trace(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, batch, _ = case
    before, state = snapshot(model), torch.get_rng_state()
    with eval_mode(model):
        model.step(batch, no_update)
    after = snapshot(model)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert torch.equal(state, torch.get_rng_state())


def test_samples_are_images_and_follow_the_seed(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, _, spec = case
    condition = condition_of(model, make_batch(spec, 4))
    with eval_mode(model, seed=3):
        first = model.sample(4, condition)
    with eval_mode(model, seed=3):
        second = model.sample(4, condition)
    assert first.shape == (4, *spec.shape)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert torch.equal(first, second)


def test_codes_decode_to_images(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, batch, spec = case
    if not isinstance(model, Autoencodes):
        pytest.skip("does not autoencode")
    with eval_mode(model):
        condition = condition_of(model, batch)
        codes = model.encode(batch.images, condition)
        decoded = model.decode(codes, condition)
        assert torch.equal(codes, model.encode(batch.images, condition))
    assert len(codes) == len(batch)
    assert decoded.shape == (len(batch), *spec.shape)
    assert 0 <= decoded.min() <= decoded.max() <= 1


CAN = {
    "acai": {Autoencodes},
    "adversarial_vae": {Autoencodes, Infers},
    "ae": {Autoencodes},
    "conv_vae": {Autoencodes, Infers},
    "cvae": {Autoencodes, Infers, Conditional},
    "cvae_gan": {Autoencodes, Infers, Conditional},
    "dcgan": set(),
    "draw": {Autoencodes, Draws},
    "draw_gan": {Autoencodes, Draws},
    "gan": set(),
    "ssl_vae": {Autoencodes, Infers, Conditional, Classifies},
    "ssl_vae_gan": {Autoencodes, Infers, Conditional, Classifies},
    "vae": {Autoencodes, Infers},
    "vae_gan": {Autoencodes, Infers},
    "wgan": set(),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_can_what_its_system_can_and_no_more(name: str) -> None:
    """What is drawn and measured of a model follows from this alone."""
    model = build(name, SPECS["grey"])
    every = (Autoencodes, Infers, Conditional, Classifies, Draws)
    assert {capability for capability in every if isinstance(model, capability)} == CAN[name]


def test_posteriors_are_gaussians_whose_means_are_the_codes(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, batch, _ = case
    if not isinstance(model, Infers):
        pytest.skip("has no posterior")
    with eval_mode(model):
        condition = condition_of(model, batch)
        mean, log_variance = model.posterior(batch.images, condition)
        assert torch.equal(mean, model.encode(batch.images, condition))
    assert mean.shape == log_variance.shape
    assert log_variance.isfinite().all()


def test_canvases_end_in_the_image(case: tuple[Model, Batch, ImageSpec]) -> None:
    model, batch, spec = case
    if not isinstance(model, Draws):
        pytest.skip("does not draw step by step")
    with eval_mode(model):
        reconstructed = model.canvases(batch.images, condition_of(model, batch))
        assert torch.equal(reconstructed[-1], reconstruct(model, batch))
    with eval_mode(model, seed=3):
        generated = model.canvases(4)
    with eval_mode(model, seed=3):
        assert torch.equal(generated[-1], model.sample(4))
    assert generated.shape[1:] == (4, *spec.shape)


def test_weights_travel_as_safetensors(case: tuple[Model, Batch, ImageSpec], tmp_path: Path) -> None:
    model = case[0]
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, tmp_path / "m.safetensors")
    expected = snapshot(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    model.load_state_dict(load_file(tmp_path / "m.safetensors"))
    assert all(torch.equal(expected[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("vae", {"latent_dim": 0}, "latent_dim = 0: must be positive"),
        ("vae", {"hidden_dims": [512, -1]}, r"hidden_dims = \[512, -1\]: must be positive"),
        ("ae", {"reconstruction": "l1"}, "reconstruction = 'l1': must be one of bce, mse"),
        ("conv_vae", {"conv_layers": 5}, "can be halved 4 times at most"),
        ("conv_vae", {"linear_layers": 3}, "linear_layers = 3: must be 1 or 2"),
        ("conv_vae", {"architecture": "unpadded"}, "64x64 images, not 28x28"),
        ("dcgan", {"depth": "abyssal"}, "must be one of shallow, deep"),
        ("wgan", {"lipschitz": "hope"}, "lipschitz = 'hope': must be one of clip, penalty"),
        ("wgan", {"critic_steps": 0}, "critic_steps = 0: must be positive"),
        ("adversarial_vae", {"conv_layers": 5}, "can be halved 4 times at most"),
        ("vae_gan", {"feature_variance": 0.0}, r"feature_variance = 0.0: must be positive"),
        ("acai", {"blocks": 5}, "blocks = 5: a 28x28 image is too small"),
        ("acai", {"reconstruction": "l1"}, "reconstruction = 'l1': must be one of bce, mse"),
        ("acai", {"activation": "relu"}, "activation = 'relu': must be one of leaky_relu, tanh"),
        ("cvae", {"condition": "right_half"}, "condition = 'right_half': must be one of labels, left_half"),
        ("ssl_vae", {"backbone": "lstm"}, "backbone = 'lstm': must be one of mlp, conv"),
        ("draw", {"window": 0}, "window = 0: must be positive"),
        ("draw_gan", {"glimpses": -1}, "glimpses = -1: must be positive"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(Unsupported, match=message):
        only_class(registry.load("models", name))(SPECS["grey"], **settings)


def test_dcgan_names_the_sides_it_takes() -> None:
    with pytest.raises(Unsupported, match="must divide by 4, not 30x28"):
        only_class(registry.load("models", "dcgan"))(ImageSpec(1, 30, 28))
