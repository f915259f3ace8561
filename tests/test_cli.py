"""The command line, as a user types it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bench import results
from bench.cli import COMMANDS, main
from bench.paths import Paths
from bench.study.definition import SINGLE, Study, StudyError
from bench.tracking import lookup

USING = Path(__file__).parent.parent / "docs" / "using.md"


def bench(*words: str) -> Result:
    return CliRunner().invoke(main, list(words), catch_exceptions=False)


HEAVY = {"torch", "mlflow", "optuna", "pandas", "numpy", "scipy", "rich", "matplotlib", "sklearn"}


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["list"],
        ["list", "runs"],
        ["show", "study", "adversarial_vae"],
        ["show", "metric", "fid"],
        ["show", "application", "interpolate"],
        ["show", "dataset", "mnits"],
        ["run", "latent_dim"],
        ["apply", "--help"],
        ["compare", "--help"],
        ["run", "study", "--help"],
        ["run", "study", "latent_dim", "--seeds", "0"],
        ["show", "study", "latent_dmi"],
    ],
    ids=" ".join,
)
def test_what_needs_no_training_imports_nothing_heavy(words: list[str]) -> None:
    assert not imported_by(words) & HEAVY


def test_plug_ins_are_not_asked_for_where_none_is_installed() -> None:
    assert "email" not in imported_by(["list"]), "importlib.metadata reads it, and takes a third of the command's time"


def test_a_ctrl_c_when_all_is_done_is_no_traceback() -> None:
    code = "import atexit, os, sys\natexit.register(os.kill, os.getpid(), 2)\nsys.argv = ['bench', '--version']\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}from bench.cli import program; program()"], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_a_ctrl_c_in_a_finaliser_is_not_lost() -> None:
    """Nor shown as a traceback; another fault there is shown as ever."""
    code = (
        "import os, signal, time, weakref, bench.cli as cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # which a shell's background jobs do not have
        "class Held:\n"
        "    pass\n"
        "def work(**_):\n"
        "    for met in (lambda _: 1 / 0, lambda _: os.kill(os.getpid(), 2)):\n"
        "        held = Held()\n"
        "        reference = weakref.ref(held, met)\n"
        "        del held\n"
        "    time.sleep(60)\n"
        "cli.main = work\n"
        "try:\n"
        "    cli.program()\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert done.stdout == "stopped\n"
    assert "ZeroDivisionError" in done.stderr
    assert "KeyboardInterrupt" not in done.stderr


def imported_by(words: list[str]) -> set[str]:
    """The packages that a command imports, in a process of its own."""
    code = f"import sys\nfrom bench.cli import main\ntry: main({words})\nexcept SystemExit: pass\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help_and_stands_on_the_page_of_them(name: str) -> None:
    result = bench(name, "--help")
    assert result.exit_code == 0
    assert f"bench {name}" in USING.read_text()
    with click.Context(main) as context:
        command = main.get_command(context, name)
    assert command is not None
    assert command.get_short_help_str()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("rnu", "No such command 'rnu'. Did you mean 'run'?"),
        ("run stduy", "No such command 'stduy'. Did you mean 'study'?"),
        ("run latent_dim", "No such command 'latent_dim'. Did you mean 'bench run study latent_dim'?"),
        ("run latent_dmi", "No such command 'latent_dmi'. Did you mean 'bench run study latent_dim'?"),
        ("run vae", "No such command 'vae'. Did you mean 'bench run trial vae'?"),
        ("show completion", "Did you mean 'bench show study completion' or 'bench show application completion'?"),
        ("show mnist", "Did you mean 'bench show dataset mnist'?"),
        ("show fid", "Did you mean 'bench show metric fid'?"),
        ("latent_dim", "Did you mean 'bench show study latent_dim'?"),
        ("list modles", "Did you mean 'models'?"),
        ("new modle x", "Did you mean 'model'?"),
        ("run study latent_dim --datset mnist", "--dataset"),
        ("show metric fidd", "no metric 'fidd' (did you mean 'fid'?)"),
        ("show dataset mnits", "no data set 'mnits' (did you mean 'mnist'?)"),
        ("show application interpolat", "no application 'interpolat' (did you mean 'interpolate'?)"),
        ("export latent_dmi x.zip", "no run of a study 'latent_dmi'"),
        ("check model vaee", "model: a kind stands before its name, as in: bench check models/vaee"),
        ("check vaee", "no component 'vaee' (did you mean 'vae'?); bench list shows those there are"),
        ("check models/vaee", "no model 'vaee' (did you mean 'vae'?); there are: acai, "),
        ("show runs", "No such command 'runs'. Did you mean 'bench list runs'?"),
        ("datasets", "No such command 'datasets'. Did you mean 'bench list datasets'?"),
    ],
)
def test_the_nearest_to_a_wrong_name_is_told(words: str, meant: str, inside: Paths) -> None:
    result = bench(*words.split())
    assert result.exit_code == 2
    assert meant in result.output


@pytest.mark.parametrize("words", ["", "run", "show"])
def test_a_group_without_a_command_shows_its_help(words: str) -> None:
    """As the option does, line by line: click raises it as an error, and errors are made one line."""
    result = bench(*words.split())
    assert result.output == bench(*words.split(), "--help").output
    assert result.output.startswith("Usage: ")
    assert result.exit_code == 2


def test_an_option_that_has_only_its_dashes_in_common_is_not_offered() -> None:
    assert bench("run", "trial", "vae", "--metric", "fid").output.endswith("Error: No such option '--metric'.\n")


def test_what_is_near_to_nothing_is_told_nothing() -> None:
    result = bench("xyzzy")
    assert result.exit_code == 2
    assert result.output.endswith("Error: No such command 'xyzzy'.\n")


@pytest.mark.usefixtures("inside")
class TestInside:
    """In a folder with one small study."""

    def test_what_was_published_is_not_dropped_without_being_told(self, inside: Paths) -> None:
        assert bench("run", "study", "smoke", "--seeds", "1", "--set", "epochs=1").exit_code == 0
        words = ("report", "smoke", "--set", "epochs=1", "--publish")
        published = bench(*words)
        assert published.exit_code == 0, published.output
        assert "report: reports/smoke/README.md" in published.output
        assert "publish:" not in published.output
        assert "[smoke](smoke/README.md)" in (inside.reports / "README.md").read_text()
        runs = inside.reports / "smoke" / "runs.csv"
        here = runs.read_text()
        runs.write_text(here + "".join(here.splitlines(keepends=True)[1:]).replace(",digits,", ",mnist,"))
        (inside.reports / "smoke" / "mnist-test-samples.png").write_bytes(b"")
        refused = bench(*words)
        assert refused.exit_code == 2
        assert refused.output == (
            "Error: reports/smoke holds mnist, 2 trials, which this store has not: bring them in with bench import, or publish "
            "without them with --drop\n"
        )
        assert (inside.reports / "smoke" / "mnist-test-samples.png").exists()
        assert bench(*words, "--drop", "--latex").exit_code == 0
        assert runs.read_text() == here
        assert not (inside.reports / "smoke" / "mnist-test-samples.png").exists()
        assert (inside.reports / "smoke" / "report.tex").is_file()
        assert bench("report", "smoke", "--drop").exit_code == 2

    def test_a_published_report_is_made_again_from_the_runs_beside_it(
        self, inside: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert bench("run", "study", "smoke", "--seeds", "2").exit_code == 0
        assert bench("report", "smoke", "--publish").exit_code == 0
        published = inside.reports / "smoke"
        assert "bench import reports/smoke/runs.zip\nbench report smoke" in (published / "README.md").read_text()
        file = zipfile.ZipFile(published / "runs.zip")
        names = file.namelist()
        pictures = [(name.split("/")[1], file.read(name)) for name in names if name.endswith(".png")]
        assert len(set(pictures)) == len(pictures)  # the last samples while it trained are the final ones
        assert len([name for name in names if name.endswith("run.json")]) == 4
        assert not [name for name in names if name.endswith((".safetensors", ".gif", ".webp"))]
        assert len({name.split("/")[1] for name in names if name.endswith(".png")}) == 2  # of each variant's first seed
        elsewhere = tmp_path / "elsewhere"
        (elsewhere / "reports").mkdir(parents=True)
        shutil.copytree(inside.studies, elsewhere / "studies")
        shutil.copytree(published, elsewhere / "reports" / "smoke")
        monkeypatch.chdir(elsewhere)
        assert bench("import", "reports/smoke/runs.zip").exit_code == 0
        assert bench("report", "smoke").exit_code == 0
        again = elsewhere / "mlruns" / "reports" / "smoke"
        for each in sorted(published.glob("*")):
            if each.suffix == ".png" or each.name in ("summary.csv", "claims.csv"):
                assert (again / each.name).read_bytes() == each.read_bytes()
        assert len(list(again.glob("*.png"))) == len(list(published.glob("*.png"))) > 2
        assert "sound" in bench("doctor").output

    def test_a_published_report_may_have_its_models_beside_it(self, inside: Paths) -> None:
        assert bench("run", "study", "smoke", "--seeds", "1").exit_code == 0
        assert bench("report", "smoke", "--publish", "--weights", "half").exit_code == 0
        published = inside.reports / "smoke"
        names = zipfile.ZipFile(published / "runs.zip").namelist()
        assert len([name for name in names if name.endswith(".safetensors")]) == 2
        page = (published / "README.md").read_text()
        assert (
            "Their trained models are in that file too in half precision, to be used and to be measured again:" in page
        )
        assert "bench apply generate RUN\nbench run study smoke --remeasure\n" in page
        refused = bench("report", "smoke", "--weights", "half")
        assert refused.exit_code == 2
        assert "--weights is for --publish: a report beside the store has its runs there" in refused.output

    def test_where_no_study_has_trials_those_that_no_study_claims_are_named(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lookup, "studies", lambda *_: ["gone", "smoke_smoke", SINGLE])
        result = bench("report", "--all")
        assert result.exit_code == 2
        assert "no study has tracked trials yet, but for gone, smoke_smoke; begin with" in result.output

    def test_of_all_reports_one_that_is_refused_keeps_none_of_the_others(
        self, inside: Paths, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (inside.studies / "broken.toml").write_text("question = 1")
        (inside.studies / "twin.toml").write_text((inside.studies / "smoke.toml").read_text())
        monkeypatch.setattr(lookup, "studies", lambda *_: ["broken", "gone", "smoke", "smoke_smoke", "twin"])

        def write(study: Study, *_: object, **options: object) -> results.Written:
            assert options["publish"]
            if study.name == "smoke":
                raise StudyError("reports/smoke holds mnist, which this store has not")
            return results.Written(inside.reports / study.name / "README.md", "what was found", "")

        monkeypatch.setattr(results, "write_report", write)
        result = bench("report", "--all", "--publish")
        assert result.exit_code == 1
        found, path, _, others, broken, smoke, last = result.output.splitlines()
        assert others.endswith("without a study of that name here: gone")
        assert (found, path) == ("what was found", "report: reports/twin/README.md")
        assert "broken.toml" in broken
        assert smoke == "reports/smoke holds mnist, which this store has not"
        assert last == "2 of 3 reports were not written"

    def test_a_study_from_the_first_run_to_the_report(self, inside: Paths) -> None:
        result = bench("run", "study", "smoke", "--seeds", "1", "--workers", "2")
        assert result.exit_code == 0, result.output
        assert "smoke: 2 trials, 2 to train" in result.output
        report = inside.store / "reports" / "smoke"
        assert result.output.splitlines()[-5:-1] == [
            "report: mlruns/reports/smoke/README.md",
            "page: mlruns/reports/smoke/report.html",
            "publish: bench report smoke --publish",
            "look: bench ui smoke",
        ]
        page = (report / "README.md").read_text()
        assert "bench run study smoke --seeds 1" in page
        assert str(inside.reports.parent) not in page
        again = bench("run", "study", "smoke", "--seeds", "1")
        assert again.exit_code == 0
        assert "smoke: 2 trials, 2 finished already, nothing to train" in again.output
        dry = bench("run", "study", "smoke", "--dry-run")
        assert "smoke: 4 trials, 2 finished already, 2 to train" in dry.output
        assert re.search(r"latent_dim=3, seed 1, digits +\d\d,\d\d\d parameters  [0-9a-f]{16}  to run", dry.output)
        assert re.search(r"about \d+\.\d minutes with \d+ at a time, by 2 earlier runs", dry.output)
        before = (report / "summary.csv").read_bytes()
        for words in (("report", "smoke"), ("report", "--all")):
            assert bench(*words).exit_code == 0
            assert (report / "summary.csv").read_bytes() == before
        assert not inside.reports.exists()
        other = bench("report", "smoke", "--set", "epochs=9")
        assert other.exit_code == 2
        assert (
            "smoke: 2 tracked trials of other settings are left out, the last by: bench run study smoke" in other.output
        )
        assert other.output.endswith("give the same --set or --size, or run: bench run study smoke\n")
        assert bench("run", "study", "smoke", "--seeds", "1", "--set", "epochs=1").exit_code == 0
        for given, last in (((), "--seeds 1 --set epochs=1\n"), (("--set", "epochs=1"), "--seeds 1\n")):
            assert f"are left out, the last by: bench run study smoke {last}" in bench("report", "smoke", *given).output
        doctor = bench("doctor")
        assert doctor.exit_code == 0, doctor.output
        assert "sound" in doctor.output

    def test_a_study_at_another_size(self, inside: Paths) -> None:
        study = inside.study("smoke")
        small = '[sizes.small]\nreason = "A minute."\nseeds = 1\non = { digits = { training = { epochs = 1 } } }\n'
        study.write_text(study.read_text() + small)
        done = bench("run", "study", "smoke", "--size", "small")
        assert done.exit_code == 0, done.output
        assert "smoke: 2 trials, 2 to train" in done.output
        assert "publish: bench report smoke --size small --publish" in done.output
        assert bench("report", "smoke", "--publish").exit_code == 0  # at the size that its runs have
        page = (inside.reports / "smoke" / "README.md").read_text()
        assert "At size small on digits: A minute." in page
        assert "bench run study smoke --size small" in page
        assert "digits (small)" in (inside.reports / "README.md").read_text()
        full = bench("report", "smoke", "--size", "full")
        assert full.exit_code == 2
        assert "are left out, the last by: bench run study smoke --size small" in full.output
        assert "size small: A minute." in bench("show", "study", "smoke").output
        assert "no size 'smal'" in bench("run", "study", "smoke", "--size", "smal").output

    def test_what_is_finished_is_shown_without_what_trains_and_writes(self) -> None:
        options = ["--seeds", "1", "--set", "latent_dim=2", "--set", "epochs=1"]
        assert bench("run", "study", "smoke", *options).exit_code == 0
        trains = {"torch", "mlflow", "sqlalchemy", "optuna"}
        draws = {"pandas", "numpy", "matplotlib"}  # and scipy, for tests over several seeds
        for words, needed in (
            (["report", "smoke", *options[2:]], draws),
            (["run", "study", "smoke", *options], draws),
            (["run", "study", "smoke", *options, "--dry-run"], set()),
        ):
            assert imported_by(words) & (HEAVY | trains) == needed

    @pytest.mark.parametrize("words", [["report", "smoke"], ["run", "study", "smoke", "--dry-run"]], ids=" ".join)
    def test_what_only_looks_makes_no_store(self, words: list[str], inside: Paths) -> None:
        shutil.rmtree(inside.store)
        imported = imported_by(words)
        assert not imported & {"mlflow", "optuna", "sqlalchemy"}
        assert not inside.store.exists()

    def test_a_failed_trial_is_exit_status_1_with_the_reason_last(self) -> None:
        words = ["--set", "optimizer=sgd", "--set", "learning_rate=1e18", "--set", "latent_dim=2", "--set", "epochs=9"]
        result = bench("run", "study", "smoke", "--seeds", "1", *words)
        assert result.exit_code == 1
        lines = result.output.strip().splitlines()
        assert "diverged: " in lines[-2]
        assert lines[-1] == "1 of 1 trials failed"

    def test_a_single_trial(self) -> None:
        result = bench("run", "trial", "vae", "--smoke", "--set", "hidden_dims=[8]", "--set", "samples=20")
        assert result.exit_code == 0, result.output

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (("run", "study", "nope"), "no study 'nope'"),
            (("run", "study", "smoke", "--set", "latent=2"), "no setting of vae 'latent'"),
            (("run", "study", "smoke", "--set", "latent_dim"), "must be key=value"),
            (("run", "study", "smoke", "--set", "latent_dim=two"), "latent_dim = 'two': must be a whole number"),
            (("run", "study", "smoke", "--dataset", "mnits"), "no data set 'mnits'"),
            (("run", "study", "smoke", "--executor", "mars"), "no executor 'mars'; there are: local"),
            (("run", "study", "smoke", "--gpus", "99"), "--gpus 99: no such GPU"),
            (("run", "study", "smoke", "--seeds", "0"), "0 is not in the range"),
            (("run", "trial", "vea"), "no model 'vea' (did you mean 'vae'?)"),
            (("report",), "name one study, or give --all"),
            (("report", "--all"), "no study has tracked trials yet"),
            (("report", "smoke"), "no trial of study smoke is tracked yet"),
            (("show", "model", "vea"), "no model 'vea' (did you mean 'vae'?)"),
            (("show", "study", "nope"), "no study 'nope'"),
            (("ui", "nope"), "no tracked study 'nope'"),
            (("define", "new", "--model", "vae", "--vary", "latent=2"), "no setting of vae 'latent'"),
            (("define", "new", "--model", "vae", "--vary", "latent_dim"), "must be key=value"),
            (("define", "smoke", "--model", "vae"), "exists already"),
        ],
    )
    def test_what_is_wrong_is_one_line_and_exit_status_2(self, words: tuple[str, ...], message: str) -> None:
        result = bench(*words)
        assert result.exit_code == 2, result.output
        assert message in result.output
        assert "Traceback" not in result.output

    def test_define_writes_a_study_that_runs(self, inside: Paths) -> None:
        words = ["--vary", "hidden_dims=[128],[512]", "--dataset", "digits", "--epochs", "20"]
        result = bench("define", "width", "--model", "vae", *words)
        assert result.exit_code == 0, result.output
        assert "wrote" in result.output
        shown = bench("show", "study", "width")
        assert "hidden_dims=128 on digits, 3 seed(s)" in shown.output
        assert "epochs=20" in shown.output
        assert bench("define", "both", "--model", "vae", "--model", "gan", "--vary", "latent_dim=2,8").exit_code == 0
        assert "gan latent_dim=8 on digits" in bench("show", "study", "both").output
        search = ["--vary", "learning_rate={low = 1e-4, high = 1e-2, log = true}"]
        assert "trials = None" in bench("define", "search", "--model", "vae", *search).output

    def test_lists_hold_what_the_folders_hold(self) -> None:
        output = bench("list").output
        for name in ("smoke", "conv_vae", "imagenette", "fd_classifier"):
            assert re.search(rf"^  {name} ", output, re.MULTILINE)
        studies = bench("list", "studies").output
        assert re.search(r"^  smoke +studies/smoke.toml +Does it run\?$", studies, re.MULTILINE)
        assert re.search(r"^  latent_dim +bench +", studies, re.MULTILINE)

    def test_a_study_says_once_what_its_variants_share(self) -> None:
        lines = bench("show", "study", "smoke").output.splitlines()
        assert "  latent_dim=2 on digits, 2 seed(s)" in lines
        assert sum("epochs=2," in line for line in lines) == 1
        assert not any("latent_dim" in line for line in lines if line.startswith("    params:"))
        several = bench("show", "study", "leaderboard").output
        assert re.search(r"^  wgan on digits, 3 seed\(s\) .* optimizer=rmsprop, ", several, re.MULTILINE)
        assert several.count("feature_precision=float32") == 1

    def test_a_data_set_that_is_not_the_first_shows_what_it_has_of_its_own(self) -> None:
        """One sees what a run on it takes without running it: mnist's epochs stood in the file alone."""
        lines = bench("show", "study", "latent_dim").output.splitlines()
        assert "  on mnist: epochs=50, batch_size=128, samples=10000" in lines
        assert "  on mnist: epochs=20, samples=10000" in bench("show", "study", "tune_vae").output.splitlines()
        assert not any(line.startswith("  on ") for line in bench("show", "study", "smoke").output.splitlines())

    def test_a_search_shows_its_space(self) -> None:
        output = bench("show", "study", "tune_vae").output
        assert "vae on digits: 30 configurations of" in output
        assert re.search(r"^ +learning_rate +from 0.0001 to 0.01, log-uniform$", output, re.MULTILINE)
        assert "validation=0.1" in output

    def test_a_metric_a_data_set_and_an_application_say_what_they_are(self, inside: Paths) -> None:
        metric = bench("show", "metric", "recall").output
        assert metric.startswith("recall: Diagnostic: the share of held-out images")
        for line in ("better +higher is better", "needs +any model", "file +bench/metrics/prdc.py"):
            assert re.search(f"^  {line}$", metric, re.MULTILINE)
        assert re.search("^  compare +when two of its numbers do: docs/measures.md$", metric, re.MULTILINE)
        assert re.search("^  needs +Infers: Has a Gaussian", bench("show", "metric", "elbo").output, re.MULTILINE)
        dataset = bench("show", "dataset", "mnist").output
        for line in ("images +1x28x28", "classes +10: 0, 1, .*", "place +.*/data: not here: .* mnist.npz .*"):
            assert re.search(f"^  {line}$", dataset, re.MULTILINE)
        application = bench("show", "application", "interpolate").output
        assert application.startswith("interpolate: bench apply interpolate RUN [--set KEY=VALUE]...")
        assert re.search(r"^  steps +=\ 10 +a whole number from 2 to 1,000$", application, re.MULTILINE)
        assert "[IMAGE]" in bench("show", "application", "classify").output

    def test_one_s_own_are_shown_too(self, inside: Paths) -> None:
        for words in (("metric", "mine"), ("application", "yours"), ("dataset", "ours")):
            assert bench("new", *words).exit_code == 0
            output = bench("show", *words).output
            assert f"{words[0]}s/{words[1]}.py" in output
        (inside.studies.parent / "metrics" / "broken.py").write_text("VALUES = {")
        result = bench("show", "metric", "broken")
        assert result.exit_code == 2
        assert "metrics/broken.py:1: cannot be imported: SyntaxError" in result.output

    def test_the_doctor_says_of_everything_where_it_is_or_how_to_get_it(self, inside: Paths) -> None:
        output = bench("doctor").output
        assert re.search(r"^  digits +comes with the package$", output, re.MULTILINE)
        for name, place in (("mnist", "MNIST"), ("svhn", "SVHN"), ("cifar10", "cifar-10-batches-py")):
            how = (
                f"not here: the first run on it downloads it, or put {name}.npz or torchvision's {place} there yourself"
            )
            assert re.search(f"^  {name} +{how}$", output, re.MULTILINE)
        assert re.search(
            r"^  inception +(in /|not here: .* https://.*pt_inception-2015-12-05-6726825d.pth)", output, re.MULTILINE
        )
        assert re.search(r"^  classifier +nothing to get: ", output, re.MULTILINE)
        assert "x_train, y_train, x_test, y_test" in output

    def test_a_model_shows_its_hyperparameters(self) -> None:
        output = bench("show", "model", "dcgan").output
        assert "latent_dim = 100" in output
        assert "learning_rate = 0.0002" in output


def test_a_store_out_of_reach_is_one_line(inside: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    result = bench("run", "study", "smoke")
    assert result.exit_code == 2
    assert "the tracking store http://127.0.0.1:9 cannot be used" in result.output
    assert inside.store.is_dir()
