"""Metrics, features and the evaluation that brings them together."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from pytorch_fid import inception as pytorch_fid

from bench import registry
from bench.contract import HIDDEN, Split, Unmeasurable, eval_mode
from bench.data import Data
from bench.features import Extractor, classifier, inception
from bench.measure.context import EvaluationOptions, draw
from bench.measure.evaluation import evaluate
from bench.measure.measurements import measurements
from bench.metrics.reconstruction import decibels
from bench.models.ae import AE
from bench.models.cvae import CVAE
from bench.models.gan import GAN
from bench.models.vae import VAE
from bench.paths import Paths
from bench.score import Metric, Score
from bench.study.catalogue import catalogue
from bench.study.definition import StudyError
from bench.study.file import build
from tests.promises import promises, try_promise

OPTIONS = EvaluationOptions(samples=64)


@pytest.fixture
def vae(few_digits: Data) -> VAE:
    torch.manual_seed(0)
    return VAE(few_digits.spec, hidden_dims=[16])


@torch.inference_mode()
def seen(extractor: Extractor, images: torch.Tensor) -> torch.Tensor:
    return extractor(images)


@pytest.mark.parametrize(("name", "promise"), promises("metrics"))
def test_every_measurement_keeps_its_promises(name: str, promise: str) -> None:
    try_promise("metrics", name, promise)


@pytest.mark.parametrize(("name", "promise"), promises("features"))
def test_every_extractor_keeps_its_promises(
    name: str, promise: str, inside: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(inside.data))  # weights that this machine may have are not asked for
    try_promise("features", name, promise)


def test_psnr_of_known_errors() -> None:
    originals = torch.zeros(2, 1, 4, 4)
    images = torch.stack((torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), 0.01)))
    assert decibels(images, originals).tolist() == pytest.approx([20, 40], rel=1e-6)


def test_reconstruction_metrics_of_a_known_autoencoder(few_digits: Data, cache: Path, tmp_path: Path) -> None:
    model = AE(few_digits.spec)
    with torch.no_grad():
        for parameter in model.decoder.parameters():
            parameter.zero_()  # every pixel of every image is decoded to one half
    scores = evaluate(
        model, few_digits, ["reconstruction_mse", "psnr", "test_loss"], OPTIONS, cache=cache, data_dir=tmp_path
    )
    errors = (few_digits.held_out.images.double() / 255 - 0.5).square().flatten(1).mean(1)
    assert scores["reconstruction_mse"].value == pytest.approx(float(errors.mean()), rel=1e-6)
    assert scores["psnr"].value == pytest.approx(float((-10 * errors.log10()).mean()), rel=1e-6)
    assert scores["test_loss"].value == pytest.approx(784 * math.log(2), rel=1e-6)


def test_blanks_have_their_reasons(few_digits: Data, cache: Path, tmp_path: Path) -> None:
    model = GAN(few_digits.spec)
    scores = evaluate(model, few_digits, ["test_loss", "psnr", "fid"], OPTIONS, cache=cache, data_dir=tmp_path)
    assert {name: score.value for name, score in scores.items()} == {"test_loss": None, "psnr": None, "fid": None}
    assert scores["test_loss"].reason == "no single objective: discriminator and generator have one each"
    assert scores["psnr"].reason == "GAN is not something that autoencodes"
    assert scores["fid"].reason.startswith("114 images through inception take about 1 min without a GPU")


def test_fid_without_weights_says_where_they_belong(vae: VAE, few_digits: Data, cache: Path, tmp_path: Path) -> None:
    torch.hub.set_dir(tmp_path / "hub")
    options = EvaluationOptions(samples=8, inception_on_cpu=True)
    score = evaluate(vae, few_digits, ["fid"], options, cache=cache, data_dir=tmp_path / "data")["fid"]
    assert score.value is None
    assert score.reason == f"no Inception weights: put pytorch-fid's {inception.FILE} into data/"


def test_a_metric_that_raises_fails_alone(
    vae: VAE, few_digits: Data, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def broken(*_: Any) -> dict[str, Score]:
        calls.append(1)
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr(registry.load("metrics", "prdc"), "measure", broken)
    partly = {"reconstruction_mse": Score(float("nan")), "psnr": Score(3.0)}
    monkeypatch.setattr(registry.load("metrics", "reconstruction"), "measure", lambda *_: partly)
    metrics = ["precision", "reconstruction_mse", "psnr", "reconstruction_sharpness", "recall", "test_loss", "nonsense"]
    scores = evaluate(vae, few_digits, metrics, OPTIONS, cache=cache, data_dir=tmp_path)
    assert list(scores) == metrics
    assert {scores[name].reason for name in ("precision", "recall")} == {"ZeroDivisionError: by zero"}
    assert len(calls) == 1
    assert scores["reconstruction_mse"] == Score(None, "came out as nan")
    assert scores["psnr"] == Score(3.0, "", {"split": "test", "images": "50", "precision": "float32", "threads": "1"})
    assert scores["reconstruction_sharpness"] == Score(None, "was not among what its file measured")
    assert scores["test_loss"].value is not None
    assert scores["nonsense"].reason.startswith("no metric 'nonsense'; there are: active_units, ")


def test_structural_similarity_is_taken_where_it_is_asked_for(
    vae: VAE, few_digits: Data, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = []

    def counted(decoded: torch.Tensor, originals: torch.Tensor) -> torch.Tensor:
        images.append(len(decoded))
        return torch.ones(len(decoded))

    monkeypatch.setattr(registry.load("metrics", "ssim"), "similarity", counted)
    for metrics, taken in ((["reconstruction_mse", "psnr"], 0), (["ssim"], 50)):
        scores = evaluate(vae, few_digits, metrics, OPTIONS, cache=cache, data_dir=tmp_path)
        assert all(score.value is not None for score in scores.values())
        assert sum(images) == taken


def test_too_few_images_for_their_neighbours_are_a_reason_and_no_failure(
    vae: VAE, few_digits: Data, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    few = replace(few_digits, held_out=few_digits.held_out.take(torch.arange(5)))
    names = list(registry.load("metrics", "prdc").VALUES)
    scores = evaluate(vae, few, names, OPTIONS, cache=cache, data_dir=tmp_path)
    assert {score.value for score in scores.values()} == {None}
    reason = "needs more than 5 images of each kind, not 5 held out and 64 generated"
    assert {score.reason for score in scores.values()} == {reason}
    assert not caplog.records


@pytest.fixture
def guests(tmp_path: Path) -> Iterator[Path]:
    """A folder for metrics of a user's own."""
    (tmp_path / "metrics").mkdir()
    registry.visit(tmp_path)
    yield tmp_path / "metrics"
    registry.visit(None)


def test_metrics_of_a_users_own_harm_those_who_ask_for_them_alone(guests: Path) -> None:
    """One cannot be imported, one says nothing of what it measures, one claims a name that is another's."""
    (guests / "broken.py").write_text("import nowhere\n")
    (guests / "silent.py").write_text('"""Nothing."""\n')
    (guests / "sideways.py").write_text('VALUES = {"angle": "sideways"}\n')
    (guests / "claims.py").write_text('VALUES = {"psnr": "lower", "mine": "higher"}\n')
    measured = measurements()
    assert measured.files["mine"] == "claims"
    assert measured.metrics["mine"] == Metric("mine", "higher")
    assert measured.files["reconstruction_mse"] == "reconstruction"
    assert set(measured.metrics) == set(measured.files)
    assert measured.unread == {
        "broken": "metrics/broken.py:1: cannot be imported: ModuleNotFoundError: No module named 'nowhere'",
        "silent": "metrics/silent.py: must hold VALUES, the better direction of what it measures by name "
        "(module 'bench_guests.metrics.silent' has no attribute 'VALUES')",
        "sideways": "metrics/sideways.py: must hold VALUES, the better direction of what it measures by name "
        "(angle = 'sideways': must be one of 'lower', 'higher', 'neither')",
        "psnr": "metrics claims and reconstruction both measure 'psnr': one of them needs another name",
    }
    study = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"]}
    assert build({**study, "metrics": ["mine", "ssim"]}, Path("x.toml"), catalogue())
    with pytest.raises(
        StudyError, match=r"x.toml: no metric 'psnr'.*; metrics claims and reconstruction both measure 'psnr'"
    ):
        build({**study, "metrics": ["psnr"]}, Path("x.toml"), catalogue())


def test_protocols_say_what_a_value_rests_on(vae: VAE, few_digits: Data, cache: Path, tmp_path: Path) -> None:
    scores = evaluate(vae, few_digits, ["test_loss", "fd_classifier"], OPTIONS, cache=cache, data_dir=tmp_path)
    assert scores["test_loss"].protocol == {"split": "test", "images": "50", "precision": "float32", "threads": "1"}
    protocol = scores["fd_classifier"].protocol
    assert protocol["generated"] == "64"
    assert protocol["extractor"] == "the data set's own classifier"
    assert len(str(protocol["weights"])) == 12
    assert 0.5 < float(protocol["accuracy"]) <= 1


def test_evaluation_leaves_no_trace(vae: VAE, few_digits: Data, cache: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    vae.train()
    state, weights = torch.get_rng_state(), {name: value.clone() for name, value in vae.state_dict().items()}
    evaluate(vae, few_digits, ["test_loss", "fd_classifier"], OPTIONS, cache=cache, data_dir=tmp_path)
    assert torch.equal(state, torch.get_rng_state())
    assert vae.training
    assert all(torch.equal(weights[name], value) for name, value in vae.state_dict().items())


def test_drawn_images_are_bytes_and_repeat(vae: VAE, few_digits: Data) -> None:
    drawn = draw(vae, 9, few_digits, seed=1)
    assert drawn.images.shape == (9, 1, 28, 28)
    assert drawn.labels.tolist() == [HIDDEN] * 9  # none was asked for
    assert torch.equal(drawn.images, draw(vae, 9, few_digits, seed=1).images)
    assert not torch.equal(drawn.images, draw(vae, 9, few_digits, seed=2).images)


def test_a_conditional_model_draws_every_class_in_turn(few_digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = CVAE(few_digits.spec), []
    decode = model.decode

    def spy(z: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        assert condition is not None
        asked.append(condition.tolist())
        return decode(z, condition)

    monkeypatch.setattr(model, "decode", spy)
    assert draw(model, 12, few_digits).labels.tolist() == [*range(10), 0, 1]
    assert asked == [[*range(10), 0, 1]]


def test_what_is_compared_with_held_out_images_has_their_classes_as_often(few_digits: Data) -> None:
    """A third of those of this split are of one class; asked for a tenth, no model could come near them."""
    held_out = few_digits.held_out
    skewed = replace(few_digits, held_out=Split(held_out.images[:30], torch.tensor([7] * 10 + [*range(10)] * 2)))
    drawn = draw(CVAE(few_digits.spec), 60, skewed, like_held_out=True)
    assert drawn.labels.bincount(minlength=10).tolist() == [4, 4, 4, 4, 4, 4, 4, 24, 4, 4]
    assert draw(VAE(few_digits.spec), 60, skewed, like_held_out=True).labels.unique().tolist() == [HIDDEN]


@pytest.mark.parametrize("condition", ["labels", "left_half"])
def test_a_protocol_says_where_generated_images_begin_as_held_out_ones_do(
    condition: Literal["labels", "left_half"], few_digits: Data, cache: Path, tmp_path: Path
) -> None:
    model = CVAE(few_digits.spec, condition=condition)
    score = evaluate(model, few_digits, ["fd_classifier"], OPTIONS, cache=cache, data_dir=tmp_path)["fd_classifier"]
    told = {"left_half": "the left half of a held-out image"}
    assert score.protocol.get("told") == told.get(condition)


def test_a_model_that_completes_is_given_the_left_halves_of_held_out_images(
    few_digits: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, asked = CVAE(few_digits.spec, condition="left_half"), []
    decode = model.decode

    def spy(z: torch.Tensor, condition: torch.Tensor | None = None) -> torch.Tensor:
        asked.append(condition)
        return decode(z, condition)

    monkeypatch.setattr(model, "decode", spy)
    draw(model, 25, few_digits)
    assert asked[0] is not None
    places = few_digits.held_out.spaced(25)
    assert torch.equal(places // 2, torch.arange(25))  # one of each two of the 50
    assert torch.equal(asked[0], few_digits.held_out.images[places, :, :, :14].float() / 255)


@pytest.mark.filterwarnings("ignore:.*weights.*:UserWarning")
def test_inception_is_pytorch_fids_network_with_the_weights_in_the_file(
    few_digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.hub.set_dir(tmp_path / "hub")
    torch.manual_seed(0)
    bare = pytorch_fid._inception_v3(num_classes=1008, aux_logits=False, weights=None)
    for block, kind in (
        ("Mixed_5b", pytorch_fid.FIDInceptionA(192, pool_features=32)),
        ("Mixed_5c", pytorch_fid.FIDInceptionA(256, pool_features=64)),
        ("Mixed_5d", pytorch_fid.FIDInceptionA(288, pool_features=64)),
        ("Mixed_6b", pytorch_fid.FIDInceptionC(768, channels_7x7=128)),
        ("Mixed_6c", pytorch_fid.FIDInceptionC(768, channels_7x7=160)),
        ("Mixed_6d", pytorch_fid.FIDInceptionC(768, channels_7x7=160)),
        ("Mixed_6e", pytorch_fid.FIDInceptionC(768, channels_7x7=192)),
        ("Mixed_7b", pytorch_fid.FIDInceptionE_1(1280)),
        ("Mixed_7c", pytorch_fid.FIDInceptionE_2(2048)),
    ):
        setattr(bare, block, kind)
    for layer in bare.modules():  # statistics that folding them into the convolutions must not lose
        if isinstance(layer, torch.nn.BatchNorm2d):
            for numbers in (layer.running_mean, layer.running_var, layer.weight, layer.bias):
                assert numbers is not None
                torch.nn.init.uniform_(numbers, 0.5, 1.5)
    file = tmp_path / inception.FILE
    torch.save(bare.state_dict(), file)
    with pytest.raises(Unmeasurable, match=r"is damaged: its sha256 begins .*, not 6726825d"):
        inception.load(few_digits, tmp_path, tmp_path)
    monkeypatch.setattr(inception, "SHA256", hashlib.sha256(file.read_bytes()).hexdigest()[:8])
    extractor = inception.load(few_digits, tmp_path, tmp_path)
    assert pytorch_fid.load_state_dict_from_url.__module__ == "torch.hub"  # put back
    monkeypatch.setattr(pytorch_fid, "load_state_dict_from_url", lambda url, progress: bare.state_dict())
    theirs = pytorch_fid.InceptionV3([3]).eval()
    grey = few_digits.held_out.images[:2].float() / 255
    with torch.inference_mode():
        expected = theirs(grey.repeat(1, 3, 1, 1))[0].flatten(1)
    features = seen(extractor, grey)
    assert features.shape == (2, 2048)
    torch.testing.assert_close(features, expected, rtol=1e-4, atol=1e-5)
    assert extractor.protocol["grey"] == "repeated to RGB"


def test_the_weights_are_looked_for_under_their_own_name() -> None:
    assert pytorch_fid.FID_WEIGHTS_URL.endswith(f"/{inception.FILE}")
    assert inception.SHA256 == "6726825d"


def test_weights_that_cannot_be_downloaded_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("Network is unreachable")

    torch.hub.set_dir(tmp_path / "hub")
    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    with pytest.raises(Unmeasurable, match=r"cannot be downloaded \(Network is unreachable\); put pt_inception"):
        inception.fetch(tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_eval_mode_puts_the_mode_back_after_an_error(vae: VAE) -> None:
    vae.train()
    with pytest.raises(RuntimeError), eval_mode(vae):
        raise RuntimeError
    assert vae.training


def test_eval_mode_draws_what_its_seed_says_and_puts_the_state_back(vae: VAE) -> None:
    torch.manual_seed(3)
    expected = torch.randn(4)
    torch.manual_seed(8)
    undisturbed = torch.randn(4)
    torch.manual_seed(8)
    with eval_mode(vae, 3):
        assert torch.equal(torch.randn(4), expected)
    assert torch.equal(torch.randn(4), undisturbed)


def test_features_of_real_images_are_computed_once_for_all_trials(
    few_digits: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen_images: list[int] = []
    extract = classifier.ClassifierFeatures.__call__

    def spy(self: classifier.ClassifierFeatures, images: torch.Tensor) -> torch.Tensor:
        seen_images.append(len(images))
        return extract(self, images)

    monkeypatch.setattr(classifier.ClassifierFeatures, "__call__", spy)
    metrics = ["fd_classifier", "precision", "recall", "kid_classifier", "copies", "recognised"]
    for seed in (0, 1):
        torch.manual_seed(seed)
        model = VAE(few_digits.spec, hidden_dims=[16])
        scores = evaluate(model, few_digits, metrics, OPTIONS, cache=tmp_path, data_dir=tmp_path)
        assert None not in {score.value for score in scores.values()}
        drawn, real = [64], [50, 100] if seed == 0 else []
        assert sorted(seen_images) == sorted(drawn + real)
        seen_images.clear()


def test_bfloat16_moves_features_a_little_and_stands_in_the_protocol(
    vae: VAE, few_digits: Data, cache: Path, tmp_path: Path
) -> None:
    low = EvaluationOptions(samples=64, feature_precision="bfloat16")
    pair = [
        evaluate(vae, few_digits, ["fd_classifier"], options, cache=cache, data_dir=tmp_path)["fd_classifier"]
        for options in (OPTIONS, low)
    ]
    assert [score.protocol["dtype"] for score in pair] == ["float32", "bfloat16"]
    assert pair[0].value is not None
    assert pair[1].value != pair[0].value
    assert pair[1].value == pytest.approx(pair[0].value, rel=0.05)
