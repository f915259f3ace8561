"""What every file of applications/ keeps, what each makes of known images, and `bench apply` as a user types it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image
from torch import Tensor, nn

from bench import registry
from bench.applications import Applied, held_out, interpolate, pegasus, spread
from bench.cli import main
from bench.contract import (
    Autoencodes,
    Batch,
    Classifies,
    Conditional,
    Generates,
    ImageSpec,
    Model,
    Unsupported,
    Update,
    eval_mode,
    left_half,
    reconstruct,
)
from bench.data import Data, Part
from bench.images import GAP
from bench.measure.interpolation import Path as Way
from bench.models import vae
from bench.models.cvae import CVAE
from bench.models.dcgan import DCGAN
from bench.models.gan import GAN
from bench.models.supervised import Supervised
from bench.models.vae import VAE
from bench.paths import Paths
from bench.run.saved import read_trial
from tests.promises import promises, try_promise


@pytest.fixture
def two_digits(few_digits: Data) -> Data:
    """The held-out digits of two classes, as horses and birds."""
    few = few_digits.held_out.take(few_digits.held_out.labels < 2)
    return replace(few_digits, spec=replace(few_digits.spec, classes=("horse", "bird")), held_out=few)


@pytest.fixture
def cases(few_digits: Data, two_digits: Data) -> dict[str, tuple[Model, Data, dict[str, Any]]]:
    """Of some applications a model and data that it serves, and options that keep it small."""
    torch.manual_seed(0)
    vae = VAE(two_digits.spec, hidden_dims=[8])
    labels, halves = CVAE(few_digits.spec), CVAE(few_digits.spec, condition="left_half")
    return {
        "completion": (halves, few_digits, {"count": 3, "completions": 2}),
        "generate": (labels, few_digits, {"count": 20}),
        "interpolate": (vae, two_digits, {"count": 2, "steps": 4}),
        "pegasus": (vae, two_digits, {"count": 5}),
    }


def picture(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def pixels(content: bytes, side: int = 28) -> Tensor:
    """A grey image file, ``[side, side]`` from 0 to 255."""
    return torch.tensor(list(picture(content).convert("L").tobytes()), dtype=torch.float32).view(side, side)


def cells(content: bytes, side: int = 28) -> Tensor:
    """The grey images of a sheet, ``[rows, columns, side, side]`` from 0 to 255, of one that was large enough as it was."""
    sheet = torch.from_numpy(np.asarray(picture(content).convert("L"), dtype=np.float32))
    return sheet.unfold(0, side, side + GAP).unfold(1, side, side + GAP)


@pytest.mark.parametrize(("name", "promise"), promises("applications"))
def test_every_application_keeps_its_promises(name: str, promise: str) -> None:
    try_promise("applications", name, promise)


@pytest.mark.parametrize("name", ["classify", "completion", "pegasus", "style_transfer"])
def test_a_model_that_cannot_is_refused(name: str, few_digits: Data) -> None:
    with pytest.raises(Unsupported, match="DCGAN"):
        registry.load("applications", name).apply(DCGAN(few_digits.spec), few_digits)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (GAN, {"between": "images"}, "GAN has no codes of images"),
        (GAN, {"first": [1], "second": [2]}, "first and second name images, and this is between noises"),
        (GAN, {"count": 0}, "count = 0: must be positive"),
        (GAN, {"label": 3}, "GAN is not told the label, so label = 3 says nothing"),
        (CVAE, {"between": "noise", "label": 10}, "label = 10: digits has labels 0 to 9"),
        (CVAE, {"label": 3}, "label = 3: between images it is that of the first; for another, --set between=noise"),
        (Supervised, {}, "Supervised does not generate images"),
        (Supervised, {"between": "images"}, "Supervised has no codes of images"),
    ],
)
def test_what_has_nothing_between_is_refused(
    model: Callable[[ImageSpec], Model], options: dict[str, Any], message: str, few_digits: Data
) -> None:
    with pytest.raises(Unsupported, match=message):
        interpolate.apply(model(few_digits.spec), few_digits, **options)


@final
class Oracle(Model, Generates, Autoencodes, Conditional, Classifies):
    """Reads the class of a grey image off its mean, and codes an image as itself."""

    condition = "labels"

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def players(self) -> dict[str, nn.Module]:
        return {"oracle": self}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        return {}

    def codes(self, n: int) -> Tensor:
        return torch.zeros(n, 1, 4, 4)

    def encode(self, images: Tensor, condition: Tensor | None = None) -> Tensor:
        return images

    def decode(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        assert condition is not None
        return torch.full_like(z, 0) + (condition / 10).view(-1, 1, 1, 1)

    def classify(self, images: Tensor) -> Tensor:
        return -(images.mean(dim=(1, 2, 3)).view(-1, 1) * 10 - torch.arange(10)).abs() * 50


def grey(levels: Tensor, data: Data) -> Data:
    """4x4 images of one grey each, of class 10 * level."""
    images = (levels * 255).round().to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    split = replace(data.held_out, images=images.contiguous(), labels=(levels * 10).round().long())
    return replace(data, spec=replace(data.spec, height=4, width=4), held_out=split)


class TestKnown:
    """What is known of the pictures."""

    def test_completion_keeps_the_half_it_is_given(self, cases: dict[str, Any]) -> None:
        model, data, options = cases["completion"]
        applied: Applied = registry.load("applications", "completion").apply(model, data, **options)
        for row in applied.rows:
            drawn = picture(applied.files[str(row["file"])])
            place = data.held_out.images[int(str(row["image"])), 0]
            pixels = torch.tensor(list(drawn.convert("L").tobytes())).view(28, 28)
            assert torch.equal(pixels[:, :14], place[:, :14])
            assert not torch.equal(pixels[:, 14:], place[:, 14:])

    def test_interpolation_ends_in_the_two_reconstructions(self, cases: dict[str, Any]) -> None:
        model, data, _ = cases["interpolate"]
        applied: Applied = registry.load("applications", "interpolate").apply(
            model, data, first=[3], second=[7], steps=3
        )
        assert [(row["first"], row["second"], row["share_of_second"]) for row in applied.rows] == [
            (3, 7, 0),
            (3, 7, 0.5),
            (3, 7, 1),
        ]
        with eval_mode(model):
            ends = reconstruct(model, held_out(data, torch.tensor([3, 7])))
        for row, expected in zip((applied.rows[0], applied.rows[-1]), ends, strict=True):
            pixels = torch.tensor(list(picture(applied.files[str(row["file"])]).convert("L").tobytes()))
            assert (pixels - expected.flatten() * 255).abs().max() <= 1
        gif = picture(next(content for file, content in applied.files.items() if file.endswith(".gif")))
        assert getattr(gif, "n_frames", 1) >= 3

    @pytest.mark.parametrize("path", ["linear", "spherical"])
    def test_a_gan_goes_from_one_of_its_samples_to_another(self, path: Way, few_digits: Data) -> None:
        """Both ends are what the model makes of two draws, and the middle is another image."""
        model = GAN(few_digits.spec)
        applied = interpolate.apply(model, few_digits, path=path, count=2, steps=3, seed=5)
        assert [row["share_of_second"] for row in applied.rows] == [0, 0.5, 1] * 2
        assert {(row["path"], row["label"], row["left_half_of"], row["seed"]) for row in applied.rows} == {
            (path, "", "", 5)
        }
        with eval_mode(model, 5):
            samples = model.sample(4)
        shown = torch.stack([pixels(applied.files[str(row["file"])]) for row in applied.rows]).view(2, 3, 28, 28)
        ends = torch.stack((samples[:2], samples[2:]), dim=1).view(2, 2, 28, 28) * 255
        assert (shown[:, [0, 2]] - ends).abs().max() <= 1
        assert (shown[:, [1]] - ends).abs().amax(dim=(2, 3)).min() > 1
        frames = [name for name in applied.files if name.endswith(".gif")]
        assert frames == ["images/000.gif", "images/001.gif"]
        assert all(getattr(picture(applied.files[name]), "n_frames", 1) == 3 for name in frames)
        other = interpolate.apply(model, few_digits, path=path, count=2, steps=3, seed=6)
        assert other.grid != applied.grid

    def test_a_conditional_model_is_told_one_thing_from_noise_to_noise(self, few_digits: Data) -> None:
        """The oracle paints what it is told and nothing else."""
        data = grey(torch.arange(10) / 10, few_digits)
        options: dict[str, Any] = {"between": "noise", "count": 12, "steps": 2}
        for label, expected in ((None, [*range(10), 0, 1]), (4, [4] * 12)):
            applied = interpolate.apply(Oracle(), data, label=label, **options)
            assert [row["label"] for row in applied.rows[::2]] == [str(each) for each in expected]
            found = [pixels(applied.files[str(row["file"])], 4).mean().item() for row in applied.rows]
            assert found == pytest.approx([25.5 * each for each in expected for _ in range(2)], abs=1)

    def test_a_model_that_completes_keeps_the_half_from_noise_to_noise(self, few_digits: Data) -> None:
        torch.manual_seed(0)
        model = CVAE(few_digits.spec, condition="left_half")
        applied = interpolate.apply(model, few_digits, between="noise", count=2, steps=2)
        places = [int(str(row["left_half_of"])) for row in applied.rows[::2]]
        assert places == few_digits.held_out.spaced(2).tolist()
        with eval_mode(model):
            codes = model.codes(4)
            told = left_half(held_out(few_digits, torch.tensor(places)).images)
            expected = model.decode(codes[[0, 2, 1, 3]], told.repeat_interleave(2, dim=0))
        shown = torch.stack([pixels(applied.files[str(row["file"])]) for row in applied.rows])
        assert (shown - expected[:, 0] * 255).abs().max() <= 1

    def test_the_oracle_classifies_without_a_mistake_and_transfers_every_style(self, few_digits: Data) -> None:
        data = grey(torch.arange(10) / 10, few_digits)
        told: Applied = registry.load("applications", "classify").apply(Oracle(), data)
        assert [row["class"] for row in told.rows] == [row["label"] for row in told.rows] == list(data.spec.classes)
        moved: Applied = registry.load("applications", "style_transfer").apply(Oracle(), data, count=1)
        for label, row in enumerate(moved.rows):
            pixels = picture(moved.files[str(row["file"])]).convert("L").tobytes()
            assert set(pixels) == {round(25.5 * label + 1e-6)} or abs(pixels[0] - 25.5 * label) <= 1
        made: Applied = registry.load("applications", "generate").apply(Oracle(), data, count=20)
        assert [row["label"] for row in made.rows] == list(data.spec.classes) * 2

    def test_a_style_is_that_of_a_drawn_code_or_of_the_mean(self, few_digits: Data) -> None:
        torch.manual_seed(0)
        model = CVAE(few_digits.spec, backbone="mlp")
        apply = registry.load("applications", "style_transfer").apply
        drawn = [apply(model, few_digits, count=2, seed=seed).grid for seed in (0, 0, 1)]
        assert drawn[0] == drawn[1] != drawn[2]
        means = [apply(model, few_digits, count=2, seed=seed, sampled=False) for seed in (0, 1)]
        assert means[0].grid == means[1].grid != drawn[0]
        batch = held_out(few_digits, spread(few_digits, 2))
        with eval_mode(model):
            decoded = model.decode(model.encode(batch.images, batch.labels), torch.full_like(batch.labels, 3))
        shown = picture(means[0].files[f"images/{int(spread(few_digits, 2)[1]):05}_as_3.png"]).convert("L").tobytes()
        assert (torch.tensor(list(shown)) - decoded[1].flatten() * 255).abs().max() <= 1

    def test_a_file_is_classified_at_the_models_size(self, few_digits: Data, tmp_path: Path) -> None:
        data = grey(torch.tensor([0.0, 0.9]), few_digits)
        files = [tmp_path / "three.png", tmp_path / "eight.png"]
        for file, level in zip(files, (0.3, 0.8), strict=True):
            Image.new("RGB", (50, 40), (round(255 * level),) * 3).save(file)
        told: Applied = registry.load("applications", "classify").apply(Oracle(), data, files=files)
        assert [(row["image"], row["class"]) for row in told.rows] == [(str(files[0]), "3"), (str(files[1]), "8")]
        (tmp_path / "not.png").write_text("text")
        with pytest.raises(Unsupported, match=r"not\.png is no image that can be read"):
            registry.load("applications", "classify").apply(Oracle(), data, files=[tmp_path / "not.png"])

    def test_a_file_is_cropped_where_the_models_images_were(self, few_digits: Data, tmp_path: Path) -> None:
        data = grey(torch.tensor([0.0, 0.9]), few_digits)
        wide = np.zeros((40, 120), np.uint8)
        wide[:, 40:80] = round(255 * 0.9)  # the centre square; stretched, the whole is a third as bright
        Image.fromarray(wide).save(tmp_path / "wide.png")
        for given, expected in ((data, "3"), (replace(data, resized="centre square"), "9")):
            told: Applied = registry.load("applications", "classify").apply(
                Oracle(), given, files=[tmp_path / "wide.png"]
            )
            assert [row["class"] for row in told.rows] == [expected]

    def test_a_pegasus_has_parents_of_like_centres(self, cases: dict[str, Any]) -> None:
        model, data, _ = cases["pegasus"]
        applied: Applied = pegasus.apply(model, data, count=6, low=0.4, high=0.6)
        centres = data.held_out.images[:, 0, 14, 14].float() / 255
        birds = (data.held_out.labels == 1).nonzero().flatten()
        for row in applied.rows:
            body, wings = int(str(row["body"])), int(str(row["wings"]))
            assert (row["body_label"], row["wings_label"]) == ("horse", "bird")
            assert 0.4 <= float(str(row["ratio"])) <= 0.6
            nearest = (centres[birds] - centres[body]).abs().min()
            torch.testing.assert_close((centres[wings] - centres[body]).abs(), nearest)
        assert {"sequences.png", "repetitions.png"} <= set(applied.files)

    def test_one_pair_is_repeated_in_whole_sequences(self, cases: dict[str, Any]) -> None:
        """Document 000, figure 6: rows differ by the encoder's noise, and without any they are the first of the sequences."""
        model, data, _ = cases["pegasus"]
        head = model.encoder[-1]
        assert isinstance(head, nn.Linear)
        rows = {}
        for log_variance in (0.0, -60.0):  # the second half of what the encoder ends in
            with torch.no_grad():
                head.weight[len(head.weight) // 2 :] = 0
                head.bias[len(head.bias) // 2 :] = log_variance
            files = pegasus.apply(model, data, count=3).files
            shown = {name: cells(files[f"{name}.png"]) for name in ("sequences", "repetitions")}
            assert shown["repetitions"].shape == (6, 10, 28, 28)
            assert shown["sequences"].shape == (3, 10, 28, 28)
            rows[log_variance] = shown
        noisy, still = rows[0.0], rows[-60.0]
        assert all(not torch.equal(noisy["repetitions"][0], row) for row in noisy["repetitions"][1:])
        assert (still["repetitions"] - still["sequences"][0]).abs().max() <= 1

    def test_bodies_and_wings_are_the_halves_of_the_batches(self, few_digits: Data) -> None:
        labels = few_digits.train.labels
        parts = tuple(Part((labels == label).nonzero().flatten(), 0.5) for label in (3, 7))
        applied = pegasus.apply(VAE(few_digits.spec, hidden_dims=[8]), replace(few_digits, parts=parts), count=3)
        assert {(row["body_label"], row["wings_label"]) for row in applied.rows} == {("3", "7")}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("interpolate", {"steps": 1}, "steps = 1: both ends are steps"),
        ("interpolate", {"first": [0], "second": []}, "first names 1 images and second 0"),
        ("interpolate", {"first": [0], "second": [5000]}, "image 5000: digits has test images 0 to "),
        ("interpolate", {"count": 5000}, "count = 10000: digits has 1 to "),
        ("pegasus", {"low": 0.7, "high": 0.2}, "shares between 0 and 1, the lower first"),
        ("pegasus", {"bodies": ["horse"]}, "bodies and wings: name the classes of both"),
        ("pegasus", {"bodies": ["horse"], "wings": ["gnu"]}, "no class 'gnu'; it has: horse, bird"),
        ("pegasus", {"count": 0}, "count = 0: must be positive"),
        ("completion", {"completions": 0}, "completions = 0: must be positive"),
        ("generate", {"count": -1}, "count = -1: must be positive"),
    ],
)
def test_options_that_cannot_be_met_are_refused_in_one_line(
    cases: dict[str, Any], name: str, options: dict[str, Any], message: str
) -> None:
    model, data, _ = cases[name]
    with pytest.raises(Unsupported, match=message):
        registry.load("applications", name).apply(model, data, **options)


def test_pegasus_asks_for_classes_where_they_cannot_be_told(few_digits: Data) -> None:
    with pytest.raises(Unsupported, match="bodies and wings: name the classes to pair, of 0, 1"):
        pegasus.apply(VAE(few_digits.spec, hidden_dims=[8]), few_digits)


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def test_a_finished_run_is_put_to_use_by_its_key_or_its_folder(inside: Paths) -> None:
    assert bench("run", "study", "smoke", "--seeds", "1", "--workers", "2").exit_code == 0
    folders = sorted(path.parent for path in (inside.store / "artifacts").rglob("model.safetensors"))
    assert len(folders) == 2
    keys = {read_trial(folder).key for folder in folders}
    for key in keys:
        result = bench("apply", "interpolate", key[:8], "--set", "count=2")
        assert result.exit_code == 0, result.output
        made = Path("applied") / f"interpolate-{key[:8]}"
        assert f"20 rows: {made / 'interpolate.csv'}" in result.output
        rows = list(csv.DictReader(io.StringIO((made / "interpolate.csv").read_text())))
        assert len(rows) == 20
        assert all((made / row["file"]).is_file() for row in rows)
        assert (made / "grid.png").is_file()
    result = bench("apply", "generate", str(folders[0]), "--out", "elsewhere", "--set", "count=9")
    assert result.exit_code == 0, result.output
    assert len(list(Path("elsewhere/images").iterdir())) == 9

    for words, message in [
        (("apply", "generate", ""), "no finished run '': bench list runs shows those there are"),
        (("apply", "generate", "zzzz"), "no finished run 'zzzz': bench list runs shows those there are"),
        (("apply", "genrate", "zzzz"), "no application 'genrate' (did you mean 'generate'?)"),
        (("apply", "classify", str(folders[0])), "VAE does not classify"),
        (
            ("apply", "generate", str(folders[0]), "--set", "cuont=2"),
            "no option of generate 'cuont' (did you mean 'count'?)",
        ),
        (("apply", "generate", str(folders[0]), "--set", "count=x"), "--set count = 'x': must be a whole number"),
        (("apply", "generate", str(folders[0]), "a.png"), "generate takes no image files"),
    ]:
        refused = bench(*words)
        assert refused.exit_code == 2, refused.output
        assert message in refused.output
        assert "Traceback" not in refused.output


def test_what_is_wrong_with_ones_own_is_one_line_with_its_place(inside: Paths) -> None:
    assert bench("run", "study", "smoke", "--smoke").exit_code == 0
    model = next((inside.store / "artifacts").rglob("model.safetensors")).parent
    file = inside.studies.parent / "applications" / "mine.py"
    file.parent.mkdir()
    for body, message in [
        ("return 1 / 0", "mine.py:3: ZeroDivisionError: division by zero"),
        ("pass", "mine.py: TypeError: apply must return Applied, not nothing"),
        (
            'return Applied("grid", {}, [{"a": 1}])',
            "mine.py:3: TypeError: Applied's grid must be the bytes of a picture",
        ),
        ('return Applied(b"", {"a": 1}, [{"a": 1}])', "mine.py:3: TypeError: Applied's files must be bytes by path"),
        ('return Applied(b"", {}, [{"a": 1}, {}])', "mine.py:3: TypeError: Applied's rows must be one or more, with"),
        ('return Applied(b"", {}, [])', "mine.py:3: TypeError: Applied's rows must be one or more, with"),
    ]:
        file.write_text(f"from bench.applications import Applied\ndef apply(model, data):\n    {body}\n")
        failed = bench("apply", "mine", str(model))
        assert failed.exit_code == 2
        assert failed.output.splitlines()[-1].startswith(f"Error: applications/{message}")


def test_what_a_model_makes_and_no_application_can_show_is_one_line_with_its_place(inside: Paths) -> None:
    file = inside.studies.parent / "models" / "bright.py"
    file.parent.mkdir()
    file.write_text(Path(str(vae.__file__)).read_text().replace("class VAE(", "class Bright("))
    inside.study("smoke").write_text(inside.study("smoke").read_text().replace('model = "vae"', 'model = "bright"'))
    assert bench("run", "study", "smoke", "--smoke").exit_code == 0
    folder = next((inside.store / "artifacts").rglob("model.safetensors")).parent
    file.write_text(
        file.read_text() + "\n    def sample(self, n, condition=None):\n        return super().sample(n) + 2\n"
    )
    refused = bench("apply", "generate", str(folder))
    assert refused.exit_code == 2
    assert refused.output.splitlines()[-1].startswith("Error: models/bright.py: sample must return images, ")


def test_nothing_tracked_is_said(inside: Paths, tmp_path: Path) -> None:
    (inside.store / "mlflow.db").unlink()
    result = bench("apply", "generate", "abcd1234")
    assert result.exit_code == 2
    assert "no run 'abcd1234': nothing is tracked in" in result.output
