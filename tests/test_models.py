"""Every file of models/ keeps its promises, what breaks one is told so, and what cannot be built is refused in one line."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench import checks, registry
from bench.checks import Broken, NotPromised
from bench.checks.subjects import Subject
from bench.contract import (
    Batch,
    Classifies,
    Conditional,
    Draws,
    Generates,
    ImageSpec,
    Infers,
    Model,
    Unsupported,
    Update,
    condition_of,
)
from bench.models import model_class, training_defaults
from bench.networks.blocks import one_hot
from bench.networks.conditional import need_classes
from bench.registry import RegistryError
from tests.promises import promises, try_promise

GREY = ImageSpec(1, 28, 28, tuple("0123456789"))


@pytest.mark.parametrize(("name", "promise"), promises("models"))
def test_every_model_keeps_its_promises(name: str, promise: str) -> None:
    try_promise("models", name, promise)


class Kept(Model, Generates, Infers, Draws, Classifies, Conditional):
    """Two linear players that can do everything and keep every promise."""

    seen: Tensor

    def __init__(self, spec: ImageSpec, *, latent_dim: int = 2, told: bool = True) -> None:
        super().__init__()
        self.condition = "labels" if told else None
        self.latent_dim = latent_dim
        self.classes = need_classes(spec)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, 2 * latent_dim))
        self.decoder = nn.Sequential(nn.Linear(latent_dim + 10, spec.pixels), nn.Unflatten(1, spec.shape))
        self.critic = nn.Sequential(nn.Flatten(), nn.Linear(spec.pixels, self.classes))
        self.register_buffer("seen", torch.zeros(1))

    def players(self) -> dict[str, nn.Module]:
        return {"vae": nn.ModuleList((self.encoder, self.decoder)), "critic": self.critic}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        critic = F.cross_entropy(self.classify(batch.images).float(), batch.labels)
        update("critic", critic)
        mean, log_variance = self.posterior(batch.images)
        z = mean + log_variance.exp() * torch.randn_like(mean)
        vae = F.mse_loss(self.decode(z, condition_of(self, batch)).float(), batch.images)
        update("vae", vae)
        return {"vae": vae, "critic": critic}

    def codes(self, n: int) -> Tensor:
        return torch.randn(n, self.latent_dim)

    def posterior(self, images: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        return mean, log_variance

    def canvases(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        y = torch.zeros(len(z), 10) if condition is None else one_hot(condition, 10)
        image = self.decoder(torch.cat((z, y), dim=1)).sigmoid()
        return torch.stack((image / 2, image))

    def classify(self, images: Tensor) -> Tensor:
        logits: Tensor = self.critic(images)
        return logits


def subject(kind: type[Model], **changes: Any) -> Subject:
    return replace(Subject(kind, "https://arxiv.org/abs/1312.6114", {"batch_size": 8}), **changes)


@pytest.mark.parametrize("promise", checks.of("models")[1])
def test_a_model_that_can_do_everything_keeps_every_promise(promise: str) -> None:
    checks.of("models")[1][promise](subject(Kept))


def flaw(**methods: Any) -> type[Model]:
    """`Kept` with some of its methods replaced."""
    return type("Flawed", (Kept,), methods)


def after(method: str, change: Callable[..., Any]) -> type[Model]:
    """`Kept` with what one of its methods returns changed: ``change(model, found, *arguments)``."""
    original = getattr(Kept, method)
    return flaw(**{method: lambda self, *arguments: change(self, original(self, *arguments), *arguments)})


def built(change: Callable[[Kept], None]) -> type[Model]:
    """`Kept` with something done to it once it is built."""

    def build(self: Kept, spec: ImageSpec, *, latent_dim: int = 2, told: bool = True) -> None:
        Kept.__init__(self, spec, latent_dim=latent_dim, told=told)
        change(self)

    return flaw(__init__=build)


class Positional(Kept):
    def __init__(self, spec: ImageSpec, latent_dim: int = 2) -> None:
        super().__init__(spec, latent_dim=latent_dim)


class Untyped(Kept):
    def __init__(self, spec: ImageSpec, *, latent_dim=2) -> None:  # type: ignore[no-untyped-def]
        super().__init__(spec, latent_dim=latent_dim)


class Misfit(Kept):
    def __init__(self, spec: ImageSpec, *, hidden_dims: Sequence[int] = 512) -> None:  # type: ignore[assignment]
        super().__init__(spec)


class Demanding(Kept):
    def __init__(self, spec: ImageSpec, *, latent_dim: int) -> None:
        super().__init__(spec, latent_dim=latent_dim)


class Taken(Kept):
    def __init__(self, spec: ImageSpec, *, batch_size: int = 2) -> None:
        super().__init__(spec)


class Unnamed(Model, Generates):
    """Classifies, and does not say so."""

    def __init__(self, spec: ImageSpec) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1)

    def players(self) -> dict[str, nn.Module]:
        return {"network": self.network}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        return {}

    def codes(self, n: int) -> Tensor:
        return torch.zeros(n, 1)

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return z

    def classify(self, images: Tensor) -> Tensor:
        return images


def unlabelled(model: Kept, batch: Batch, update: Update) -> dict[str, Tensor]:
    return Kept.step(model, Batch(batch.images, torch.zeros_like(batch.labels)), update)


def counted(model: Kept, batch: Batch, update: Update) -> dict[str, Tensor]:
    """A step that counts itself where no checkpoint looks."""
    vars(model)["steps"] = vars(model).get("steps", 0) + 1
    return Kept.step(model, batch, lambda player, loss: update(player, loss / vars(model)["steps"]))


def seen(model: Kept, batch: Batch, update: Update) -> dict[str, Tensor]:
    model.seen += 1
    return Kept.step(model, batch, update)


def without_classes(model: Kept, spec: ImageSpec, *, latent_dim: int = 2, told: bool = True) -> None:
    Kept.__init__(model, replace(spec, classes=GREY.classes), latent_dim=latent_dim, told=told)


def overconfident(model: Kept, terms: dict[str, Tensor], batch: Batch, update: Update) -> dict[str, Tensor]:
    """log(1 - p) of a probability that float32 tells from 1, and bfloat16 does not."""
    p = torch.addmm(torch.zeros(1, 1), torch.ones(1, 8), torch.ones(8, 1)).sigmoid()
    return terms | {"critic": (1 - p).log().squeeze()}


def tied(model: Kept) -> None:
    model.encoder[1].weight = nn.Parameter(model.critic[1].get_parameter("weight").detach()[:4])
    model.register_buffer("view", model.encoder[1].weight.detach())


FLAWS: list[tuple[Subject | type[Model], str, str]] = [
    (subject(Kept, source="A VAE."), "the_docstring_names_its_source", "must name the paper"),
    (Positional, "hyperparameters_are_typed_keywords", "after *, keywords; not spec, latent_dim"),
    (Untyped, "hyperparameters_are_typed_keywords", "latent_dim: must have a type"),
    (Misfit, "hyperparameters_are_typed_keywords", "hidden_dims = 512: must be a list, each item a whole number"),
    (Demanding, "hyperparameters_are_typed_keywords", "latent_dim: must have a default"),
    (Taken, "a_setting_has_one_meaning", "batch_size: [training] has a setting of that name"),
    (subject(Kept, training={"lr": 1e-3}), "training_holds", "no option of training 'lr'"),
    (subject(Kept, training={"epochs": 1.5}), "training_holds", "epochs = 1.5: must be a whole number"),
    (subject(Kept, training={"critic": {"epochs": 2}}), "training_holds", "no option of training 'epochs'"),
    (subject(Kept, training={"critic": {"betas": 2}}), "training_holds", "betas = 2: must be a list"),
    (
        Unnamed,
        "the_class_line",
        "it has classify, which nothing will use: write class Unnamed(Model, ..., Classifies)",
    ),
    (flaw(players=lambda self: {"vae": self.encoder}), "players_share_out", "decoder.0.weight must belong to one"),
    (flaw(players=lambda self: {"vae": self, "critic": self.critic}), "players_share_out", "not to vae and critic"),
    (
        after("players", lambda self, found: found | {"spare": nn.Linear(1, 1)}),
        "players_share_out",
        "make it an attribute",
    ),
    (after("step", lambda self, terms, *_: {}), "loss_terms_are_finite", "step returns no terms"),
    (
        after("step", lambda self, terms, *_: terms | {"kl": torch.zeros(3)}),
        "loss_terms_are_finite",
        "kl must be a scalar",
    ),
    (
        after("step", lambda self, terms, *_: terms | {"kl": terms["vae"].log() * torch.inf}),
        "loss_terms_are_finite",
        "kl is -inf",
    ),
    (
        flaw(step=lambda self, batch, update: Kept.step(self, batch, lambda *_: None)),
        "an_update",
        "never calls update for critic, vae",
    ),
    (
        flaw(step=lambda self, batch, update: Kept.step(self, batch, lambda p, loss: update(p, 0 * loss))),
        "an_update",
        "moves nobody",
    ),
    (
        flaw(step=lambda self, batch, update: Kept.step(self, batch, lambda p, loss: update("v" + p, loss))),
        "an_update",
        "no player 'vcritic'",
    ),
    (
        flaw(step=lambda self, *_: torch.ones(())),
        "loss_terms",
        "step must return its loss terms by name, as {'loss': loss}",
    ),
    (flaw(step=lambda self, *_: {"vae": 1.0}), "loss_terms", "1x28x28: vae must be a Tensor, not float"),
    (flaw(players=lambda self: {"critic": self.critic, "vae": self}), "an_update", "update('critic', ...) moves vae"),
    (after("step", overconfident), "a_step_runs_in_bfloat16", "critic is -inf in bfloat16"),
    (flaw(step=seen), "looking_leaves_no_trace", "seen changes in eval mode"),
    (
        after("sample", lambda self, images, *_: 2 * images),
        "samples_are_images",
        "sample must return images, float32 [8, 1, 28, 28] in [0, 1], and they lie in [0",
    ),
    (
        after("sample", lambda self, images, *_: images[:, 0]),
        "samples_are_images",
        "in [0, 1], not float32 [8, 28, 28]",
    ),
    (
        after("sample", lambda self, images, *_: images.double()),
        "samples_are_images",
        "in [0, 1], not float64 [8, 1, 28, 28]",
    ),
    (
        after("sample", lambda self, images, *_: images / 0),
        "samples_are_images",
        "sample returned images that are not all finite numbers",
    ),
    (after("sample", lambda self, images, *_: images * random.random()), "samples_are_images", "one seed makes two"),
    (after("sample", lambda self, images, *_: images * 0), "samples_are_images", "two seeds make the same"),
    (
        after("encode", lambda self, z, *_: z + torch.randn_like(z)),
        "an_image_has_one_code",
        "encode gives other codes the second time",
    ),
    (
        after("codes", lambda self, z, *_: z[:, :1]),
        "codes_decode",
        "codes of the prior and of images must have one shape",
    ),
    (
        after("codes", lambda self, z, *_: z.long()),
        "codes_decode",
        "codes must make 8 codes of floats, not torch.int64",
    ),
    (after("encode", lambda self, z, *_: 2 * z), "the_code_is", "encode is another code than the posterior's mean"),
    (after("posterior", lambda self, pair, *_: (pair[0], pair[1][:, :1])), "the_code_is", "have shapes"),
    (
        after("posterior", lambda self, pair, *_: (pair[0], pair[1] * torch.inf)),
        "the_code_is",
        "log-variance is not finite",
    ),
    (after("decode", lambda self, images, *_: images / 2), "canvases_end", "the last canvas is not the decoded image"),
    (after("canvases", lambda self, found, *_: found[-1]), "canvases_end", "canvases must be [T, B, C, H, W]"),
    (
        after("classify", lambda self, logits, *_: logits[:, 1:]),
        "classes_have_logits",
        "must be [8, 10], not [8, 9]",
    ),
    (after("classify", lambda self, logits, *_: logits * torch.nan), "classes_have_logits", "logits are not finite"),
    (
        flaw(decode=lambda self, z, condition=None: Kept.decode(self, z)),
        "samples_follow_the_condition",
        "whatever it is told",
    ),
    (flaw(step=unlabelled), "the_loss_follows_the_label", "no loss term changes with the labels"),
    (flaw(__init__=without_classes), "labels_need_classes", "images without classes must be Unsupported"),
    (built(tied), "weights_travel", "safetensors cannot save it"),
    (flaw(step=counted), "an_interrupted_training", "ends otherwise than undisturbed"),
]


@pytest.mark.parametrize(("broken", "promise", "message"), FLAWS, ids=[f"{p}: {m}" for _, p, m in FLAWS])
def test_what_breaks_a_promise_is_told_so(broken: Subject | type[Model], promise: str, message: str) -> None:
    (check,) = [check for name, check in checks.of("models")[1].items() if name.startswith(f"check_{promise}")]
    with pytest.raises(Broken, match=re.escape(message)) as caught:
        check(broken if isinstance(broken, Subject) else subject(broken))
    assert "\n" not in str(caught.value)


def test_every_promise_can_be_broken() -> None:
    named = {name for name in checks.of("models")[1] for _, promise, _ in FLAWS if name.startswith(f"check_{promise}")}
    assert named == set(checks.of("models")[1])


def test_a_model_for_other_images_promises_nothing_of_these() -> None:
    def build(self: Kept, spec: ImageSpec, *, latent_dim: int = 2) -> None:
        raise Unsupported("64x64 alone")

    check = checks.of("models")[1]["check_loss_terms_are_finite_numbers"]
    with pytest.raises(NotPromised, match=r"it takes no images of 1x28x28 \(64x64 alone\) or 3x32x32 \(64x64 alone\)"):
        check(subject(flaw(__init__=build)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("TRAINING = {}", r"^models/mine.py: defines no model; it must define one class, as class VAE\(Model, ...\)$"),
        ("class A(Model): ...\nclass B(A): ...", r"^models/mine.py: defines 2 models, A and B; it must define one"),
    ],
)
def test_a_file_that_defines_none_or_several_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.py").write_text(f"from bench.contract import Model\n{text}\n")
    registry.visit(tmp_path)
    try:
        with pytest.raises(RegistryError, match=message):
            model_class("mine")
    finally:
        registry.visit(None)


def test_a_file_without_training_defaults_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine.py").write_text("X = 1\n")
    registry.visit(tmp_path)
    try:
        with pytest.raises(RegistryError, match=r"^models/mine.py: defines no TRAINING; it must, as TRAINING: dict"):
            training_defaults("mine")
    finally:
        registry.visit(None)


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
    build: Callable[..., Model] = model_class(name)
    with pytest.raises(Unsupported, match=message):
        build(GREY, **settings)


def test_dcgan_names_the_sides_it_takes() -> None:
    build: Callable[..., Model] = model_class("dcgan")
    with pytest.raises(Unsupported, match="must divide by 4, not 30x28"):
        build(ImageSpec(1, 30, 28))
