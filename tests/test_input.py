"""Bad input, as people and accidents make it: one line that says what is wrong, where, and what would be right."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import tomli_w
from click.testing import CliRunner, Result
from safetensors.torch import save

from bench import registry
from bench.cli import main
from bench.paths import Paths
from bench.run.provenance import provenance
from bench.run.saved import describe
from bench.run.worker import build as build_model
from bench.study.catalogue import Catalogue
from bench.study.file import load
from bench.text import LONGEST_LINE


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


def refusal(*words: str) -> str:
    """What a command that is refused says: one line, however endless what was given."""
    result = bench(*words)
    assert result.exit_code == 2, result.output
    lines = result.output.splitlines()
    if lines[0].startswith("Usage: "):  # click's own, with the blank line after it
        lines = lines[lines.index("") + 1 :]
    assert len(lines) == 1, result.output
    assert lines[0].startswith("Error: ")
    assert lines[0].isprintable()
    assert len(lines[0]) < LONGEST_LINE + 100
    return lines[0].removeprefix("Error: ")


def everything(folder: Path) -> dict[Path, bytes]:
    """Every file below a folder, and what it holds."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("name", ["/etc/x", "..", "../x", "a/b", ".x", "a b", "a\nb", "\udcff", "x" * 101, "x" * 5000])
def test_a_name_that_could_lead_elsewhere_is_refused_by_whatever_makes_a_path_of_it(inside: Paths, name: str) -> None:
    before = everything(inside.studies.parent.parent)
    for words in (
        ("define", name, "--model", "vae"),
        ("run", "study", name, "--dry-run"),
        ("show", "study", name),
        ("report", name),
    ):
        assert "a name must be letters, digits, '.', '_' and '-'" in refusal(*words)
    assert everything(inside.studies.parent.parent) == before


def test_a_study_file_whose_name_is_none_is_told_and_harms_no_other(inside: Paths) -> None:
    text = (inside.studies / "smoke.toml").read_text()
    (inside.studies / "...toml").write_text(text)  # the study "..", whose report would be the project's README.md
    (inside.studies / "my study.toml").write_text(text)
    (inside.studies / "folder.toml").mkdir()
    (inside.studies / "broken.toml").write_text("question = ")
    (inside.studies / "deep.toml").write_text("question = " + 2000 * "[" + 2000 * "]")
    (inside.studies / "dots.toml").write_text("[vary." + 20_000 * "a." + "a]")
    (inside.studies / "names.toml").write_text("[vary." + 60 * "a." + "a]")
    (inside.studies / "digits.toml").write_text("seeds = " + 5000 * "9")
    (inside.studies / "huge.toml").write_text("# " + 2**20 * "x")
    (inside.studies / "latin.toml").write_bytes(b'question = "\xe9"')
    listed = bench("list", "studies").output
    assert "Does it run?" in listed
    assert "'my study': a name must be" in listed
    for name, said in (
        ("folder", "is no file"),
        ("broken", "not TOML"),
        ("deep", "lie too deep in one another"),
        ("dots", "a line of it has 20,001 dots, and one has at most 10,000"),
        ("names", "lie too deep in one another"),
        ("digits", "cannot be read"),
        ("huge", "holds 1,048,578 bytes; a study has at most 1,048,576"),
        ("latin", "not TOML"),
    ):
        assert said in refusal("run", "study", name, "--dry-run")
        assert said in listed
    os.mkfifo(inside.studies / "pipe.toml")
    assert "is no file" in refusal("show", "study", "pipe")


def test_a_component_whose_name_is_none_is_told(inside: Paths) -> None:
    (inside.studies.parent / "datasets").mkdir()
    (inside.studies.parent / "datasets" / "my data.py").write_text("")
    assert "data set 'my data': a name must be" in refusal("run", "trial", "vae", "--dataset", "my data", "--dry-run")
    assert "data set 'my data': a name must be" in bench("doctor").output


def test_an_application_of_ones_own_writes_nothing_beside_its_folder(inside: Paths) -> None:
    from bench.applications import Applied
    from bench.cli.apply import _write
    from bench.cli.common import UsageLine

    target = inside.studies.parent / "applied" / "mine"
    with pytest.raises(UsageLine, match=r"mine would write '\.\./\.\./README\.md', outside"):
        _write(Applied(b"", {"../../README.md": b""}, [{"file": ""}]), "mine", target)
    assert not target.exists()


COUNTS = ("latent_dim", "epochs", "batch_size", "samples")
OUT_OF_RANGE = [
    ("epochs=0", "epochs = 0: must be a whole number of at least 1"),
    ("epochs=-1", "epochs = -1: must be a whole number of at least 1"),
    ("batch_size=0", "batch_size = 0: must be a whole number of at least 1"),
    ("batch_size=-5", "batch_size = -5: must be a whole number of at least 1"),
    ("learning_rate=0", "learning_rate = 0: must be a number above 0"),
    ("learning_rate=-1e-3", "learning_rate = -0.001: must be a number above 0"),
    ("learning_rate=nan", "learning_rate = nan: must be finite, a number above 0"),
    ("learning_rate=inf", "learning_rate = inf: must be finite, a number above 0"),
    ("vae.learning_rate=0", "vae.learning_rate = 0: must be a number above 0"),
    ("batch_size={}", "batch_size = {}: must be a whole number of at least 1"),
    ("betas=[0.9,1.0]", "betas = [0.9, 1.0]: must be a list of 2 values, each a number of at least 0 and below 1"),
    ("weight_decay=-1", "weight_decay = -1: must be a number of at least 0"),
    ("gradient_clip=0", "gradient_clip = 0: must be a number above 0"),
    ("gradient_clip=-1", "gradient_clip = -1: must be a number above 0"),
    ("warmup=-1", "warmup = -1.0: must be a whole number of steps"),
    ("ema=1", "ema = 1.0: must be more than 0 and less than 1"),
    ("train_images=0", "train_images = 0: data set digits has 1 to 1433"),
    ("test_images=-1", "test_images = -1: data set digits has 1 to 364"),
    ("labelled=0", "labelled = 0: must be a multiple of 10"),
    ("validation=1", "validation = 1: must be a number of at least 0 and below 1"),
    ("noise=2", "noise = 2: must be a number from 0 to 1"),
    ("image_size=2000", "image_size = 2000: must be a whole number from 1 to 1,024"),
    ("random_crop=99", "random_crop = 99: must be 0 or more, and less than the 28 pixels of a side"),
    ("samples=0", "samples = 0: must be a whole number of at least 1"),
    ("samples=10000000000000", "samples = 10000000000000: so many images take"),
    ("likelihood_images=10000000000000", "likelihood_images = 10000000000000: so many images take"),
    ("likelihood_draws=0", "likelihood_draws = 0: must be a whole number of at least 1"),
    ("latent_dim=-1", "latent_dim = -1: must be positive"),
    ("latent_dim=100000000000", "parameters take"),
    ("latent_dim=9223372036854775807", "vae cannot be built: "),
    (
        "latent_dim=99999999999999999999",
        "latent_dim = 99999999999999999999: must be no larger than 9,223,372,036,854,775,807",
    ),
    ("hidden_dims=[0]", "hidden_dims = [0]: must be positive"),
    ("hidden_dims=[1000000000,1000000000]", "parameters take"),
    ("hidden_dims=" + str([8] * 201), "must be a list of at most 200 values"),
    ("hidden_dims=" + 2000 * "[" + 2000 * "]", "is too much to be read; it must be a plain value"),
    ("latent_dim=" + 5000 * "9", "is too much to be read; it must be a plain value"),
    ("latent_dim={" + 60 * "a." + "a=1}", "is too much to be read; it must be a plain value"),
    ("epochs=5\nbatch_size=1", "must hold no line break"),
    ("epochs=\udcff", "must hold no line break, nor anything else that is no text in UTF-8"),
    (".epochs=5", ".epochs: no option of one player 'epochs'"),
    ("a.b.c=5", "no option of one player 'b.c'"),
    ("=5", "must be key=value"),
    ("x" * 5000 + "=5", " characters)..."),
]


@pytest.mark.parametrize(("setting", "said"), OUT_OF_RANGE, ids=[each[0][:30] for each in OUT_OF_RANGE])
def test_a_value_that_cannot_be_is_refused_before_anything_starts(inside: Paths, setting: str, said: str) -> None:
    before = everything(inside.studies.parent)
    for words in (
        ("run", "study", "smoke", "--dry-run"),
        ("run", "study", "smoke"),
        ("define", "new", "--model", "vae"),
    ):
        assert said in refusal(*words, "--set", setting)
    after = everything(inside.studies.parent)
    kept = {file for file in before | after if "studies" in file.parts or "artifacts" in file.parts}
    assert all(before.get(file) == after.get(file) for file in kept)


@pytest.mark.parametrize("dataset", ["mnist", "digits"])
def test_a_model_is_built_where_a_study_is_defined_without_a_download(inside: Paths, dataset: str) -> None:
    words = ("define", "new", "--model", "conv_vae", "--dataset", dataset)
    assert "conv_layers = 5: a 28x28 image can be halved 4 times" in refusal(*words, "--vary", "conv_layers=4,5")
    assert "no data set 'mnits' (did you mean 'mnist'?)" in refusal(
        "define", "new", "--model", "vae", "--dataset", "mnits"
    )
    assert bench(*words, "--vary", "conv_layers=4,5", "--set", "image_size=32").exit_code == 0
    assert not (inside.data / "MNIST").exists()


def test_a_setting_is_named_without_its_table() -> None:
    said = refusal("run", "study", "latent_dim", "--set", "training.epochs=5", "--dry-run")
    assert said == "--set training.epochs: must be epochs, without its table [training], which its name tells"


RAISED = [
    ('ValueError("on purpose\\nin two lines")', "ValueError: on purpose in two lines"),
    ("MemoryError", "MemoryError"),
    ("SystemExit(3)", "SystemExit: 3"),
]


@pytest.mark.parametrize(("raised", "said"), RAISED, ids=[said for _, said in RAISED])
def test_a_component_of_ones_own_that_raises_while_a_study_is_planned_is_named(
    inside: Paths, raised: str, said: str
) -> None:
    own = {
        "datasets": f"from bench.contract import ImageSpec\nSPEC = ImageSpec(1, 8, 8)\ndef load(*_):\n    raise {raised}\n",
        "models": "\n".join(
            [
                "from bench.contract import Model",
                "TRAINING = {}",
                "class Own(Model):",
                f"    def __init__(self, spec):\n        raise {raised}",
                *(f"    def {name}(self, *_): ..." for name in ("players", "step", "sample")),
            ]
        ),
    }
    for kind, content in own.items():
        (inside.studies.parent / kind).mkdir()
        (inside.studies.parent / kind / "own.py").write_text(content)
    unread = refusal("run", "study", "smoke", "--dataset", "own")
    assert unread == f"study smoke: latent_dim=2 on own: own cannot be read: datasets/own.py:4: {said}"
    assert refusal("run", "trial", "own").endswith(f" on digits: own cannot be built: models/own.py:5: {said}")


def test_settings_of_one_name_twice_are_refused() -> None:
    for first, second in (("vae=5", "vae.learning_rate=1"), ("vae.learning_rate=1", "vae=5")):
        said = refusal("run", "trial", "vae", "--set", first, "--set", second)
        assert said == "--set vae: 5 and options of a player are both given; it must be one of the two"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--seeds", "3000000"), "seeds make 6,000,000 trials: at most 10,000"),
        (("--seeds", "99999999999999999999"), "trials: at most 10,000"),
        (("--timeout", "inf"), "--timeout inf: must be minutes above 0, and at most 527,040"),
        (("--timeout", "nan"), "--timeout nan: must be minutes above 0"),
        (("--timeout", "1e300"), "--timeout 1e+300: must be minutes above 0"),
        (("--workers", "1000000000000"), "--workers 1000000000000: must be 1 or more, and at most 256"),
        (("--trials-per-gpu", "1000"), "--trials-per-gpu 1000: must be 1 or more"),
        (("--dataset", "digits", "--dataset", "digits"), "names each once; 'digits' stands there twice"),
        (("--dataset", "a\nb"), "must be a name or a path in UTF-8, without line breaks"),
        (("--dataset", "\udcff"), "must be a name or a path in UTF-8"),
        (("--dataset", "x" * 5000), "no data set 'xxx"),
        (("--gpus", "x\ny"), "--gpus x\\ny: no such GPU"),
        (("--executor", "../x"), "no executor '../x'"),
    ],
)
def test_an_option_that_nobody_can_mean_is_refused(inside: Paths, options: tuple[str, ...], said: str) -> None:
    assert said in refusal("run", "study", "smoke", "--dry-run", *options)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("seeds = 3000000", "trials: at most 10,000"),
        ("metrics = ['test_loss', 'test_loss']", "'test_loss' stands there twice"),
        ("datasets = ['digits', 'digits']", "'digits' stands there twice"),
        ("[on.mnits.training]\nepochs = 2", "no data set of [on] 'mnits' (did you mean 'mnist'?)"),
        ("[smoke]\nepochs = 2", "no key in [smoke] 'epochs'"),
        ("[smoke.training]\nepochs = 0", "[smoke] [training] epochs = 0: must be a whole number of at least 1"),
        ("[smoke]\nseeds = 0", "seeds = 0: must be a whole number of at least 1"),
        ("[smoke]\nmetrics = ['nope']", "no metric 'nope'"),
        ("[smoke.vary]\nlatent = [1]", "no setting of vae 'latent'"),
        ("[[variants]]\nname = 'a'\ndatasets = ['mnits']", "no data set of variant 'a' 'mnits'"),
        ('[[variants]]\nname = "a\\nb"', "must be one line of at most 100 characters"),
        ("[[variants]]\nname = '" + 5000 * "x" + "'", "must be one line of at most 100 characters"),
        ("[params]\n" + 5000 * "x" + " = 1", " characters)..."),
        ('[params]\n"a\\nb" = 1', "no setting of vae 'a\\nb'"),
        ('"a\\nb" = 1', "no key 'a\\nb'"),
        ("[vary]\nhidden_dims = [[" + "100000," * 60 + "]]", "has a name of 431 characters: at most 250"),
        ("[vary]\n" + "\n".join(f"{n} = {list(range(1, 30))}" for n in COUNTS), "make 1,414,562 trials"),
    ],
)
def test_a_study_file_that_cannot_be_meant_is_refused(inside: Paths, change: str, said: str) -> None:
    study = inside.studies / "smoke.toml"
    kept = [line for line in study.read_text().splitlines()[:7] if not line.startswith(change.partition(" ")[0])]
    study.write_text("\n".join([*kept, change] if change.startswith("[") else [change, *kept]))
    for words in (("run", "study", "smoke", "--dry-run"), ("show", "study", "smoke")):
        assert said in refusal(*words)


@pytest.fixture
def saved_run(inside: Paths, known: Catalogue) -> Path:
    """A folder with a small model and its trial, as a run writes them."""
    trial = next(load(inside.study("smoke"), known).grid(known, {}))
    spec = registry.load("datasets", "digits").SPEC
    weights = save(build_model(trial, spec).state_dict())
    folder = inside.studies.parent / "saved"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "trial.toml").write_bytes(tomli_w.dumps(describe(trial, spec, weights)).encode())
    return folder


@pytest.mark.parametrize(
    ("taken", "words"),
    [
        ("mlruns/locks", ("run", "study", "smoke")),
        ("mlruns/optuna.db/x", ("run", "study", "smoke")),
        ("applied", ("apply", "generate", "saved")),
        ("applied/generate-x/grid.png/x", ("apply", "generate", "saved", "--out", "applied/generate-x")),
        ("", ("apply", "generate", "saved", "--out", "/dev/null")),
        ("", ("apply", "generate", "saved", "--out", "/proc/none/x")),
        ("", ("apply", "generate", "saved", "--out", "x" * 300)),
        ("", ("apply", "classify", "saved", "nowhere.png")),
        ("", ("apply", "generate", "saved", "--set", "count=0")),
        ("", ("apply", "generate", "saved", "--set", "count=99999999999999999999")),
        ("", ("apply", "interpolate", "saved", "--set", "steps=1000000")),
        ("", ("apply", "interpolate", "saved", "--set", "first=[-1]", "--set", "second=[99999999999]")),
        ("", ("apply", "pegasus", "saved", "--set", "low=nan")),
        ("models", ("new", "model", "mine")),
        ("", ("import", "/dev/null")),
        ("", ("import", "nowhere")),
        ("", ("export", "smoke", "/dev/null/x")),
    ],
)
def test_a_place_that_cannot_be_used_is_one_line(
    inside: Paths, saved_run: Path, taken: str, words: tuple[str, ...]
) -> None:
    if taken:
        place = inside.studies.parent / taken
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("in the way")
    assert refusal(*words)


def test_a_folder_that_is_gone_is_one_line(inside: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = inside.studies.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    for words in (("list",), ("run", "study", "latent_dim"), ("doctor",), ("new", "model", "mine")):
        assert "No such file or directory" in refusal(*words)


def test_a_user_without_a_name_is_known_by_number(monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (KeyError("getpwuid(): uid not found: 12345"), OSError("No username set in the environment")):

        def unnamed(error: Exception = error) -> str:
            raise error

        monkeypatch.setattr("getpass.getuser", unnamed)
        assert provenance("bench run study smoke")["mlflow.user"] == f"user {os.getuid()}"
