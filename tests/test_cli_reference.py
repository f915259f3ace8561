"""`docs/cli.md`, the examples in every ``--help``, and what a shell completes."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from bench.cli import main
from bench.paths import Paths
from bench.registry import names
from tests.test_cli import HEAVY

ROOT = Path(__file__).parent.parent
_spec = importlib.util.spec_from_file_location("cli_reference", ROOT / "docs" / "cli.py")
assert _spec is not None
assert _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)

EVERY: dict[str, click.Command] = {context.command_path: command for command, context in reference.every()}
RUN_ALREADY = ("cli.md", "tutorial.md", "questions.md")  # by what follows, and by tests/test_tutorial.py
PAGES = [page for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if page.name not in RUN_ALREADY]
EXAMPLES = [line for command in EVERY.values() for line in reference.examples(command)]
KINDS = {"study": "studies", "trial": "models", "model": "models", "metric": "metrics", "dataset": "datasets"}

every = pytest.mark.parametrize("path", sorted(EVERY))


def parsed(line: str) -> click.Context:
    """The innermost context of a line, its words read by the command that they are for, which is not run."""
    _, *words = shlex.split(line)
    context = main.make_context("bench", words)
    while isinstance(context.command, click.Group):
        words = [*context._protected_args, *context.args]
        name, command, rest = context.command.resolve_command(context, words)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return context


def test_the_page_is_what_the_commands_say(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    reference.main(["--check"])
    monkeypatch.setattr(reference, "PAGE", tmp_path / "cli.md")
    with pytest.raises(SystemExit, match=r"write it anew: python docs/cli\.py"):
        reference.main(["--check"])
    reference.main([])
    reference.main(["--check"])
    (tmp_path / "cli.md").write_text("old")
    with pytest.raises(SystemExit, match="is not what the commands say"):
        reference.main(["--check"])
    with pytest.raises(SystemExit, match="usage: "):
        reference.main(["--chek"])


def test_it_holds_every_command_and_every_option() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    for path, command in EVERY.items():
        section = text.partition(f"## {path}\n")[2].partition("\n## ")[0]
        assert section, path
        for option in reference.options(command):
            assert f"`{option.opts[0]}" in section, f"{path} {option.opts}"
        for line in reference.examples(command):
            assert line in section


@every
def test_every_option_says_what_it_is_for(path: str) -> None:
    for option in reference.options(EVERY[path]):
        assert option.help, f"{path} {option.opts}"


@every
def test_every_command_has_an_example_of_itself_that_fits_its_help(path: str) -> None:
    command = EVERY[path]
    lines = reference.examples(command)
    assert lines
    assert all(line.startswith(f"{path} ") or line == path for line in lines)
    shown = command.get_help(click.Context(command, info_name=path, terminal_width=80))
    assert all(f"    {line}\n" in f"{shown}\n" for line in lines)
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("line", EXAMPLES)
def test_an_example_is_one_that_the_command_reads(line: str) -> None:
    context = parsed(line)
    for kind, plural in KINDS.items():
        if context.info_name == kind:
            known = list(reference_names(plural))
            word = context.params.get("name") or context.params.get("model")
            assert word in known
    for dataset in context.params.get("datasets") or ():
        assert dataset in names("datasets") or "/" in dataset
    if "application" in context.params:
        assert context.params["application"] in names("applications")


def reference_names(kind: str) -> list[str]:
    """What comes with the suite."""
    from bench.cli.names import names as named

    return named(kind, Paths.find(ROOT, environment={}))


def completed(line: str) -> list[str]:
    """What a shell is offered for the last word of a line."""
    *words, begin = line.split(" ")
    return [item.value for item in ShellComplete(main, {}, "bench", "_BENCH_COMPLETE").get_completions(words, begin)]


@pytest.mark.usefixtures("inside")
class TestCompletion:
    """In a folder with one small study and an empty store."""

    @pytest.mark.parametrize(
        ("line", "offered"),
        [
            ("comp", ["compare"]),
            ("run s", ["study"]),
            ("run study sm", ["smoke"]),
            ("run study latent", ["latent_dim"]),
            ("run trial v", ["vae", "vae_gan"]),
            ("run trial vae --dataset mn", ["mnist"]),
            ("run trial vae --executor l", ["local"]),
            ("show metric fid", ["fid", "fid_infinity"]),
            ("show model dc", ["dcgan"]),
            ("show application inter", ["interpolate"]),
            ("list r", ["runs"]),
            ("list runs smo", ["smoke"]),
            ("apply gen", ["generate"]),
            ("apply generate ", []),
            ("define x --metric fid_", ["fid_infinity"]),
            ("report smo", ["smoke"]),
            ("check con", ["conv_vae", "contrast", "conditional", "conv_layers"]),
        ],
    )
    def test_names_are_completed(self, line: str, offered: list[str]) -> None:
        assert completed(line) == offered

    def test_one_s_own_are_too_and_what_is_broken_stands_in_nobody_s_way(self, inside: Paths) -> None:
        (inside.studies.parent / "models").mkdir()
        (inside.studies.parent / "models" / "vanilla.py").write_text("no python")
        assert completed("run trial va") == ["vae", "vae_gan", "vanilla"]
        (inside.store / "mlflow.db").write_bytes(b"no database at all")
        assert completed("apply generate 1") == []

    @pytest.mark.parametrize("words", ["run study ", "apply generate ", "run trial vae --dataset ", "compare 1"])
    def test_nothing_heavy_is_read_for_it(self, words: str) -> None:
        call = "try: main(prog_name='bench')\nexcept SystemExit: pass"
        code = f"import sys\nfrom bench.cli import main\n{call}\nprint(*sys.modules)"
        asked = {"COMP_WORDS": f"bench {words}", "COMP_CWORD": str(len(words.split(" ")))}
        environment = os.environ | asked | {"_BENCH_COMPLETE": "bash_complete"}
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert not done.stderr
        modules = {name.split(".")[0] for name in done.stdout.splitlines()[-1].split()}
        assert not modules & HEAVY


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_lines_that_switch_it_on_are_those_of_the_page(shell: str) -> None:
    assert f"_BENCH_COMPLETE={shell}_source bench" in (ROOT / "docs" / "cli.md").read_text()
    environment = os.environ | {"_BENCH_COMPLETE": f"{shell}_source"}
    code = "from bench.cli import main; main(prog_name='bench')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if shell == "bash" and not done.stdout:
        pytest.skip(f"no bash that click completes for: {done.stderr.strip()}")
    assert f"{shell}_complete" in done.stdout


def lines_of(page: Path) -> list[str]:
    """The commands in a page's blocks, without what is optional, other readings, and what is said beside them."""
    text = page.read_text().replace("\\\n", " ")
    blocks = re.findall(r"^```(?:sh|console|bash)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"^\$ |^\.venv/bin/", "", line) for block in blocks for line in block.splitlines()]
    commands = [re.split(r" \| | {2,}| #", re.sub(r" \[.*?\]", "", line))[0].strip() for line in lines]
    return [line for line in commands if line.startswith("bench ")]


@pytest.mark.parametrize("line", sorted({line for page in PAGES for line in lines_of(page)}))
def test_every_line_of_the_pages_is_one_that_a_command_reads(
    line: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for word in shlex.split(line):
        if word.endswith(".zip"):
            (tmp_path / word).touch()  # which the line before it has written
    parsed(line)
