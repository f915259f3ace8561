"""Study files and command lines, whatever stands in them: a study that can be run as it is written, or one line."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.cli import main
from bench.cli.common import read_settings
from bench.paths import Paths
from bench.run.command import command_line, set_words
from bench.study.catalogue import Catalogue, catalogue
from bench.study.definition import SECTIONS, Study, StudyError, Trial
from bench.study.file import build
from bench.study.reader import LONGEST_LABEL, MOST_TRIALS
from bench.study.types import fits
from tests.fuzz.mutations import HOSTILE

KNOWN = catalogue()
MODELS = ["vae", "gan", "draw"]
NAMES = sorted({name for model in MODELS for name in KNOWN.settings(model)})
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.sampled_from(HOSTILE) | st.recursive(scalars, lambda inner: st.lists(inner, max_size=4), max_leaves=8)
TOML = values.filter(lambda value: value is not None)


def sound(model: str, name: str) -> st.SearchStrategy[Any]:
    """Values of a setting that may well fit."""
    default = KNOWN.option(model, name).default
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.integers(1, 40)
    if isinstance(default, float):
        return st.floats(0.01, 0.9)
    return st.just(list(default)) if isinstance(default, tuple) else st.just(default if default is not None else 1)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A study file's tables: each part sound, or anything."""
    model = draw(st.sampled_from(MODELS))
    found: dict[str, Any] = {
        "question": "?",
        "source": "none",
        "model": model,
        "datasets": draw(st.lists(st.sampled_from(["digits", "mnist", "lines"]), min_size=1, max_size=3)),
        "metrics": draw(st.lists(st.sampled_from(["test_loss", "fid", "psnr", "prdc"]), min_size=1, max_size=3)),
        "seeds": draw(st.integers(1, 3) | st.integers()),
    }
    for section in draw(st.sets(st.sampled_from([*SECTIONS, "smoke", "on"]))):
        names = draw(st.lists(st.sampled_from(NAMES), max_size=3, unique=True))
        table = {name: draw(sound(model, name) if name in KNOWN.settings(model) else TOML) for name in names}
        table = {name: value for name, value in table.items() if KNOWN.section(model, name) in (section, None)} or table
        found[section] = {"digits": {"training": table}} if section == "on" else table
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(KNOWN.params[model])))
        found["vary"] = {name: draw(st.lists(sound(model, name), min_size=1, max_size=4) | TOML)}
    if draw(st.integers(0, 3)) == 0:
        found[draw(st.sampled_from([*found, "trials", "claims", "variants", "confirm", "x"]))] = draw(TOML)
    return found


def attempt(written: dict[str, Any], **options: Any) -> Study | str:
    """The study, or why it is none."""
    try:
        return build(written, Path("own.toml"), KNOWN, **options)
    except StudyError as error:
        return str(error)


def check(study: Study, known: Catalogue) -> None:
    """What holds of every study that was not refused."""
    assert 1 <= study.count <= MOST_TRIALS or study.is_search
    trials: list[Trial] = [] if study.is_search else list(study.grid(known, {}))[:50]
    for trial in trials:
        assert set(trial.settings) == set(SECTIONS)
        for section in SECTIONS:
            options = known.params[trial.model] if section == "params" else known.options[section]
            for name, option in options.items():
                assert fits(trial.settings[section][name], option.type), f"{name} = {trial.settings[section][name]!r}"
        assert Trial.from_dict(trial.as_dict()).key == trial.key
        assert len(trial.variant) <= LONGEST_LABEL
        assert trial.name.isprintable()


@settings(max_examples=150, deadline=None)
@given(tables(), st.booleans())
def test_any_tables_make_a_study_or_a_line(written: dict[str, Any], smoke: bool) -> None:
    study = attempt(written, smoke=smoke)
    if isinstance(study, Study):
        check(study, KNOWN)
    else:
        assert study.startswith("own.toml: ")
        assert study.isprintable()


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(NAMES), TOML)
def test_any_setting_that_is_given_is_taken_as_it_fits_or_refused(name: str, value: Any) -> None:
    written = {"question": "?", "source": "none", "model": "vae", "datasets": ["digits"], "metrics": ["test_loss"]}
    study = attempt(written, given={name: value})
    if isinstance(study, Study):
        check(study, KNOWN)
    else:
        assert f"--set {name}" in study or f"'{name}'" in study
        assert study.isprintable()


plain = st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20)
numbers = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | plain


@given(st.dictionaries(st.sampled_from(NAMES), numbers | st.lists(numbers, max_size=4), max_size=4))
def test_settings_are_the_same_after_a_command_line(chosen: dict[str, Any]) -> None:
    words = set_words(chosen)
    line = command_line("study", "smoke", [], None, words, False)
    split = shlex.split(line)
    assert split == ["bench", "run", "study", "smoke", *(each for word in words for each in ("--set", word))]
    found = read_settings(tuple(word for flag, word in zip(split[4::2], split[5::2], strict=True) if flag == "--set"))
    assert {name: _same(value) for name, value in found.items()} == {
        name: _same(value) for name, value in chosen.items()
    }


def _same(value: Any) -> Any:
    return [_same(item) for item in value] if isinstance(value, list) else (type(value), value)


words = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30) | st.sampled_from(
    [
        "--set",
        "--seeds",
        "--dataset",
        "--workers",
        "--timeout",
        "--smoke",
        "latent_dim=2",
        "epochs=-1",
        "2",
        "digits",
        "-h",
    ]
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(words, max_size=4))
def test_any_words_are_understood_or_refused_in_a_line(inside: Paths, given_words: list[str]) -> None:
    before = sorted(inside.studies.parent.parent.iterdir())
    result = CliRunner().invoke(main, ["run", "study", "smoke", "--dry-run", *given_words], catch_exceptions=False)
    assert result.exit_code in (0, 2), result.output
    assert "Traceback" not in result.output
    last = result.output.splitlines()[-1]
    assert result.exit_code == 0 or (last.startswith("Error: ") and last.isprintable())
    assert sorted(inside.studies.parent.parent.iterdir()) == before
