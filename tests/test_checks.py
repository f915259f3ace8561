"""The checks themselves: what breaks a promise is told so, in a line that helps whoever wrote it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench import checks, registry
from bench.cli import main
from bench.cli.check import KINDS
from bench.cli.new import FOLDERS
from bench.paths import Paths

APPLICATION = '''"""Random noise beside the first held-out images, and nothing else."""

from __future__ import annotations

import torch

from bench.applications import Applied, held_out, spread
from bench.contract import Model, Unsupported
from bench.data import Data
from bench.images import png, strips


def apply(model: Model, data: Data, *, count: int = 3) -> Applied:
    {first}
    images = held_out(data, spread(data, count)).images
    table = torch.stack((images, {noise}), dim=1)
    return Applied(png(strips(table)), {files}, [{row}])
'''
KEPT = {"first": "pass", "noise": "torch.zeros_like(images)", "files": "{}", "row": '{"count": count}'}


METRIC = '''"""How bright generated images are beside held-out ones, and nothing else of them."""

from __future__ import annotations

import numpy as np

from bench.contract import Model
from bench.data import Data
from bench.measure.context import Context
from bench.score import Score

VALUES = {values}
NEEDS = {needs}
EXTRACTOR = None


def measure(model: Model, data: Data, context: Context) -> dict[str, Score]:
    {first}
    value = abs(float(context.generated.images.float().mean() - data.held_out.images.float().mean())) / 255
    return {returned}
'''
MEASURED = {
    "values": '{"brightness": "lower"}',
    "needs": "Model",
    "first": "pass",
    "returned": '{"brightness": Score(value, protocol={"generated": 64})}',
}


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_promises_each_said_in_its_first_line(kind: str) -> None:
    make, promises = checks.of(kind)
    assert callable(make)
    assert len(promises) >= 3
    for check in promises.values():
        assert (check.__doc__ or "").splitlines()[0].endswith(".")


@pytest.mark.parametrize(
    ("changes", "broken", "message"),
    [
        ({"noise": "torch.rand(images.shape)"}, "the same pictures come again", "draw inside eval_mode"),
        ({"noise": "torch.rand(images.shape)"}, "the model is left as it was", "random numbers were drawn outside"),
        ({"first": "model.eval()"}, "the model is left as it was", "the model was left in eval mode"),
        ({"files": '{"x.png": b"no image"}'}, "pictures can be opened and rows name them", "x.png is no image"),
        ({"row": '{"file": "images/0.png"}'}, "pictures can be opened and rows name them", "rows name what is no file"),
        ({"row": ""}, "the same pictures come again", "Applied's rows must be one or more, with the same columns"),
        ({"first": "return 3"}, "the same pictures come again", "apply must return Applied, not int"),
        ({"first": 'raise KeyError("z")'}, "what it cannot serve is refused in one line", "KeyError: 'z'; refuse what"),
        ({"first": 'raise Unsupported("a\\nb")'}, "what it cannot serve is refused in one line", "must be one line"),
    ],
)
def test_an_application_that_breaks_a_promise(
    inside: Paths, changes: dict[str, str], broken: str, message: str
) -> None:
    folder = inside.studies.parent / "applications"
    folder.mkdir()
    (folder / "noisy.py").write_text(APPLICATION.format(**{**KEPT, **changes}))
    result = bench("check", "noisy")
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith(f"  BROKEN  {broken}: ")]
    assert message in line


@pytest.mark.parametrize(
    ("changes", "broken", "message"),
    [
        (
            {"values": '{"brightness": "higher"}'},
            "real images are better than what is none",
            "brightness, higher is better: 0 for the held-out images themselves, and ",
        ),
        (
            {"values": '{"brightness": "up"}'},
            "its values have a direction and names of their own",
            "VALUES: brightness = 'up': must be one of 'lower', 'higher', 'neither'",
        ),
        (
            {"values": '{"psnr": "lower"}'},
            "its values have a direction and names of their own",
            "metrics bright and reconstruction both measure 'psnr': one of them needs another name",
        ),
        (
            {"values": '{"brightness": "lower", "contrast": "lower"}'},
            "its lines say what it measures",
            "brightness and contrast are described alike; give each a line in the docstring",
        ),
        ({"needs": '"codes"'}, "what it needs can be asked of a model", "NEEDS = 'codes': must be a capability"),
        (
            {"returned": '{"brightness": Score(value), "more": Score(1.0)}'},
            "every value is measured or blank with a reason",
            "of vae came brightness, more, where VALUES has brightness",
        ),
        (
            {"returned": '{"brightness": value}'},
            "every value is measured or blank with a reason",
            "brightness of vae must be a Score, not float",
        ),
        (
            {"returned": '{"brightness": Score(None)}'},
            "every value is measured or blank with a reason",
            "brightness of vae is blank: say why in one line",
        ),
        (
            {"returned": '{"brightness": Score(value, protocol={"of": [1]})}'},
            "its protocol is plain",
            "brightness of vae: protocol 'of' = [1]: must be a text or a number",
        ),
        (
            {"first": "np.random.rand()"},
            "the same numbers come again and nothing is left behind",
            "vae: numpy's random state changed while it was measured",
        ),
        (
            {"returned": '{"brightness": Score(float(np.random.rand()))}'},
            "the same numbers come again and nothing is left behind",
            "; draw with torch's random numbers",
        ),
    ],
)
def test_a_measurement_that_breaks_a_promise(inside: Paths, changes: dict[str, str], broken: str, message: str) -> None:
    folder = inside.studies.parent / "metrics"
    folder.mkdir()
    (folder / "bright.py").write_text(METRIC.format(**{**MEASURED, **changes}))
    result = bench("check", "bright")
    assert result.exit_code == 1
    (line,) = [line for line in result.output.splitlines() if line.startswith(f"  BROKEN  {broken}: ")]
    assert message in line


def test_a_measurement_that_keeps_them_all_and_one_that_lacks_something(inside: Paths) -> None:
    folder = inside.studies.parent / "metrics"
    folder.mkdir()
    text = METRIC.format(**MEASURED)
    (folder / "bright.py").write_text(text)
    result = bench("check", "bright")
    assert result.exit_code == 0, result.output
    assert result.output.count("  ok  ") == len(checks.of("metrics")[1])
    (folder / "bright.py").write_text(text.replace("EXTRACTOR = None\n", ""))
    assert "  BROKEN  metrics/bright.py: defines no EXTRACTOR\n" in bench("check", "bright").output


def test_a_kept_promise_is_told_too_and_one_never_made(inside: Paths) -> None:
    folder = inside.studies.parent / "applications"
    folder.mkdir()
    (folder / "noisy.py").write_text(APPLICATION.format(**KEPT))
    result = bench("check", "noisy")
    assert result.exit_code == 0, result.output
    assert result.output.endswith("all kept\n")
    (folder / "noisy.py").write_text(APPLICATION.format(**{**KEPT, "first": 'raise Unsupported("not today")'}))
    result = bench("check", "noisy")
    assert "  -       the same pictures come again: it serves none of the models" in result.output
    assert result.exit_code == 0, result.output


def test_a_guest_that_cannot_be_imported_is_broken_in_one_line_and_listed(inside: Paths) -> None:
    folder = inside.studies.parent / "applications"
    folder.mkdir()
    (folder / "torn.py").write_text("import nowhere\n")
    result = bench("check")
    assert result.exit_code == 1
    line = "applications/torn.py:1: cannot be imported: ModuleNotFoundError: No module named 'nowhere'"
    assert f"applications/torn\n  BROKEN  {line}\n" in result.output
    assert line in bench("list", "applications").output
    assert bench("apply", "torn", "x").output == f"Error: {line}\n"
    assert bench("run", "trial", "vae", "--smoke", "--dry-run").exit_code == 0


def test_what_there_is_not_to_check_is_one_line(inside: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no component 'latent_dmi' (did you mean 'latent_dim'?)" in bench("check", "latent_dmi").output
    assert "no model 'digits'; there are: acai," in bench("check", "models/digits").output
    inside.study("smoke").unlink()
    result = bench("check")
    assert result.exit_code == 2
    assert "no components of your own beside studies/; name one, as in: bench check vae" in result.output


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_component_to_start_from_keeps_every_promise(kind: str, inside: Paths) -> None:
    result = bench("new", kind, "mine")
    assert result.exit_code == 0, result.output
    suffix = "toml" if kind == "study" else "py"
    assert result.output.startswith(f"wrote {FOLDERS[kind]}/mine.{suffix}\ntry it: bench check {FOLDERS[kind]}/mine\n")
    checked = bench("check", f"{FOLDERS[kind]}/mine")
    assert checked.exit_code == 0, checked.output
    assert re_line(checked.output, "ok")
    again = bench("new", kind, "mine")
    assert again.exit_code == 2
    assert f"{FOLDERS[kind]}/mine.{suffix} exists already" in again.output


def re_line(output: str, state: str) -> bool:
    return any(line.startswith(f"  {state} ") for line in output.splitlines())


def test_a_picture_that_no_trial_comes_to_is_a_broken_promise(inside: Paths) -> None:
    file = inside.study("smoke")
    file.write_text(f"pictures = [1, 3]\n{file.read_text()}")
    checked = bench("check", "studies/smoke").output
    words = "its pictures come before its end: pictures: epoch [3] is never reached; the longest of its trials has 2"
    assert f"  BROKEN  {words}\n" in checked


def test_a_study_that_is_defined_in_words_keeps_its_promises(inside: Paths) -> None:
    assert bench("define", "width", "--model", "vae", "--vary", "hidden_dims=[8],[16]").exit_code == 0
    checked = bench("check", "studies/width")
    assert checked.exit_code == 0, checked.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("model", "vae"), "there is a model 'vae' already, from bench; choose another name"),
        (("study", "latent_dim"), "there is a study 'latent_dim' already, from bench"),
        (("model", "Mine"), "a name is small letters, digits and underscores, a letter first, at most 100"),
        (("model", "../mine"), "a name is small letters"),
        (("model", "m" * 101), "a name is small letters"),
    ],
)
def test_a_name_that_cannot_be_had(inside: Paths, words: tuple[str, str], message: str) -> None:
    result = bench("new", *words)
    assert result.exit_code == 2
    assert message in result.output
    assert {entry.name for entry in inside.studies.parent.iterdir()} == {"studies", "mlruns"}


def test_the_first_component_makes_the_folder_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    registry.visit(None)
    assert bench("new", "model", "mine").output.startswith(
        "made studies/, beside which your own components are looked for"
    )
    assert "models/mine.py" in bench("list", "models").output


def test_an_error_of_ones_own_component_is_told_with_its_own_line(inside: Paths) -> None:
    """And not with that of the library that raised it; the traceback of a trial, with its file."""
    assert bench("new", "model", "mine").exit_code == 0
    file = inside.studies.parent / "models" / "mine.py"
    text = file.read_text().replace("self.encoder(batch.images)", "self.encodr(batch.images)")
    file.write_text(text)
    number = 1 + [("self.encodr" in line) for line in text.splitlines()].index(True)
    what = "AttributeError: 'Mine' object has no attribute 'encodr'"
    checked = bench("check", "models/mine")
    assert f"  BROKEN  loss terms are finite numbers: {what} (models/mine.py:{number})\n" in checked.output
    *_, last, count = bench("run", "trial", "mine", "--smoke").output.splitlines()
    assert count == "1 of 1 trials failed"
    told, _, place = last.removesuffix(")").partition(" (traceback: ")
    assert told == f"mine, seed 0, digits: error: models/mine.py:{number}: {what}"
    assert Path(place).name == "failure.txt"
    assert Path(place).read_text().endswith(f"{what}\n")


def test_a_data_set_of_ones_own_that_cannot_be_read_is_told_with_its_own_line(inside: Paths) -> None:
    assert bench("new", "dataset", "boards").exit_code == 0
    file = inside.studies.parent / "datasets" / "boards.py"
    text = file.read_text()
    for right, wrong, what in (
        (".to(torch.uint8)", "", "ValueError: images must be uint8 [N, C, H, W], not torch.int64 [2000, 1, 16, 16]"),
        ("n = 2000", 'open("gone"); n = 2000', "FileNotFoundError: [Errno 2] No such file or directory: 'gone'"),
    ):
        file.write_text(changed := text.replace(right, wrong))
        place = "return Split(" if not wrong else "open("
        number = 1 + [place in line for line in changed.splitlines()].index(True)
        told = bench("run", "trial", "vae", "--dataset", "boards", "--smoke", "--dry-run")
        assert told.exit_code == 2
        where = "Error: study trials_smoke: vae on boards: boards cannot be read: "
        assert told.output == f"{where}datasets/boards.py:{number}: {what}\n"
