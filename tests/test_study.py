"""Studies read, checked and expanded; the trial's key."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench.cli.common import parse_setting
from bench.paths import Paths
from bench.study.catalogue import Catalogue
from bench.study.definition import Range, Study, StudyError, Trial
from bench.study.file import build, load
from tests.promises import SYSTEMS, promises, try_promise

BASE: dict[str, Any] = {
    "question": "Does it?",
    "source": "none",
    "model": "vae",
    "datasets": ["digits", "mnist"],
    "seeds": 2,
    "metrics": ["test_loss"],
    "params": {"hidden_dims": [64]},
    "training": {"epochs": 3},
    "vary": {"latent_dim": [2, 5]},
}

SIZES = {
    "small": {
        "reason": "An hour.",
        "seeds": 1,
        "on": {"mnist": {"training": {"epochs": 1}, "data": {"train_images": 1000}}},
        "vary": {"latent_dim": [2, 4]},
    },
    "seeds": {"reason": "A night.", "seeds": 5},
}


def make(known: Catalogue, **changes: Any) -> Study:
    tables = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    return build(tables, Path("studies/x.toml"), known)


def expand(study: Study, known: Catalogue) -> list[Trial]:
    return list(study.grid(known, {}))


def test_a_grid_is_seeds_times_cells_seed_by_seed(known: Catalogue) -> None:
    trials = expand(make(known), known)
    assert [(t.seed, t.settings["params"]["latent_dim"]) for t in trials] == [(0, 2), (0, 5), (1, 2), (1, 5)]
    assert {t.dataset for t in trials} == {"digits"}
    assert len({t.key for t in trials}) == 4
    assert len({t.configuration for t in trials}) == 2


def test_one_players_own_option_is_varied(known: Catalogue) -> None:
    """With or without TOML's quotes; the other options of it stay, and what is set for an invocation is varied no more."""
    tables = tomllib.loads(
        """
        question = "?"
        source = "none"
        model = "wgan"
        datasets = ["digits"]
        metrics = ["fd_classifier"]
        seeds = 1
        training.critic.betas = [0.5, 0.9]
        [vary]
        critic.learning_rate = [1e-5, 1e-3]
        "generator.optimizer" = ["sgd"]
        """
    )
    trials = list(build(tables, Path("x.toml"), known).grid(known, {}))
    critics = [trial.settings["training"]["critic"] for trial in trials]
    assert critics == [{"betas": [0.5, 0.9], "learning_rate": rate} for rate in (1e-5, 1e-3)]
    assert {trial.settings["training"]["generator"]["optimizer"] for trial in trials} == {"sgd"}
    assert [trial.variant for trial in trials] == [
        f"critic.learning_rate={rate} generator.optimizer=sgd" for rate in ("1e-05", "0.001")
    ]
    varied = {"critic.learning_rate": 1e-5, "generator.optimizer": "sgd"}
    assert known.chosen(trials[0]) == {**varied, "critic.betas": [0.5, 0.9]}
    fixed = build(tables, Path("x.toml"), known, given={"critic": {"learning_rate": 0.1}})
    assert list(fixed.vary) == ["generator.optimizer"]
    tables |= {"vary": {"critic": {"learning_rate": {"low": 1e-5, "high": 1e-3, "log": True}}}, "trials": 3}
    searched = build(tables, Path("x.toml"), known)
    assert searched.vary == {"critic.learning_rate": Range(1e-5, 1e-3, log=True)}
    cell = {"critic.learning_rate": 1e-4}
    assert searched.tries(known, "digits", 0, cell)
    assert not searched.tries(known, "digits", 0, {"critic.learning_rate": 1})


def test_two_axes_make_a_product(known: Catalogue) -> None:
    study = make(known, vary={"latent_dim": [2, 5], "batch_size": [16, 32, 64]})
    assert len(study.cells()) == 6
    settings = [
        (t.settings["params"]["latent_dim"], t.settings["training"]["batch_size"]) for t in expand(study, known)
    ]
    assert settings[:3] == [(2, 16), (2, 32), (2, 64)]


def test_settings_are_laid_over_one_another(known: Catalogue) -> None:
    study = make(
        known,
        model=None,
        vary=None,
        training={"learning_rate": 0.5, "epochs": 3},
        on={"digits": {"training": {"epochs": 7}}},
        variants=[
            {"name": "plain", "model": "vae"},
            {"name": "slow", "model": "vae", "training": {"epochs": 9}},
            {"name": "gan", "model": "gan", "params": {"latent_dim": 8}},
        ],
        params={},
    )
    plain, slow, gan = expand(replace(study, seeds=1), known)
    assert plain.settings["training"]["epochs"] == 7
    assert slow.settings["training"]["epochs"] == 9
    assert gan.settings["training"]["learning_rate"] == 0.5  # the study's word goes over the model's own
    assert gan.settings["params"]["latent_dim"] == 8
    assert plain.settings["training"]["batch_size"] == known.options["training"]["batch_size"].default


def test_the_models_own_training_defaults_hold_where_the_study_is_silent(known: Catalogue) -> None:
    study = make(known, model="dcgan", params={"depth": "shallow"}, vary={"latent_dim": [10]})
    assert expand(study, known)[0].settings["training"]["betas"] == [0.5, 0.999]


def test_a_players_own_options_are_a_table(known: Catalogue) -> None:
    study = make(known, model="gan", params={}, vary=None, training={"discriminator": {"learning_rate": 1}})
    assert expand(study, known)[0].settings["training"]["discriminator"] == {"learning_rate": 1.0}


def test_variants_stay_on_their_data_sets(known: Catalogue) -> None:
    rows = [{"name": "a", "model": "vae", "datasets": ["mnist"]}, {"name": "b", "model": "gan"}]
    study = make(known, model=None, params={}, vary=None, variants=rows)
    assert [v.name for v in study.variants_on("digits")] == ["b"]
    assert [v.name for v in study.variants_on("mnist")] == ["a", "b"]


def test_the_key_forgets_names_and_order_and_nothing_else(known: Catalogue) -> None:
    trial = expand(make(known), known)[0]
    again = Trial.from_dict(json.loads(json.dumps(trial.as_dict())))
    shuffled = {section: dict(reversed(list(values.items()))) for section, values in trial.settings.items()}
    assert trial.key == again.key == replace(trial, variant="other", varied={}, settings=shuffled).key
    changed = {**trial.settings, "training": {**trial.settings["training"], "epochs": 4}}
    others = [replace(trial, seed=9), replace(trial, dataset="mnist"), replace(trial, settings=changed)]
    others.append(replace(trial, fingerprint="abc"))
    assert len({trial.key, *(other.key for other in others)}) == 5


def test_the_key_does_not_hang_on_when_a_trial_is_looked_at(known: Catalogue) -> None:
    looked_at = make(known, pictures=[20, 45], applications=["pegasus", "generate"])
    assert (looked_at.pictures, list(looked_at.applications)) == ((20, 45), ["pegasus", "generate"])
    assert [trial.key for trial in expand(looked_at, known)] == [trial.key for trial in expand(make(known), known)]


def test_a_whole_number_for_a_float_makes_the_same_key(known: Catalogue) -> None:
    one = expand(make(known, training={"learning_rate": 1}), known)[0]
    same = expand(make(known, training={"learning_rate": 1.0}), known)[0]
    assert one.key == same.key


@pytest.mark.parametrize(
    ("varied", "name"),
    [
        ({"latent_dim": 10}, "ld=010 s2 mnist"),
        ({"hidden_dims": [512, 256]}, "hd=512-256 s2 mnist"),
        ({}, "vae s2 mnist"),
    ],
)
def test_run_names_carry_what_varies(known: Catalogue, varied: dict[str, Any], name: str) -> None:
    study = make(known, vary={key: [value] for key, value in varied.items()}, params={})
    assert replace(expand(study, known)[0], seed=2, dataset="mnist").name == name


def test_smoke_lays_its_tables_over_everything_and_is_tracked_apart(known: Catalogue, paths: Paths) -> None:
    file = paths.study("smoke")
    file.write_text(file.read_text() + "\n[smoke]\nseeds = 1\ntraining = {epochs = 1}\nvary = {latent_dim = [4]}\n")
    study = load(file, known, smoke=True)
    trials = expand(study, known)
    assert study.name == "smoke_smoke"
    assert [(t.settings["training"]["epochs"], t.settings["params"]["latent_dim"]) for t in trials] == [(1, 4)]


def test_a_study_without_a_smoke_table_has_one(known: Catalogue) -> None:
    """`bench run study NAME --smoke` is a tiny subset for one epoch, whoever wrote the study."""
    trials = expand(build(dict(BASE), Path("studies/x.toml"), known, smoke=True), known)
    for settings in (trial.settings for trial in trials):
        assert settings["training"]["epochs"] == 1
        assert (settings["data"]["train_images"], settings["data"]["test_images"]) == (100, 50)
    searched = {**BASE, "vary": {"latent_dim": {"low": 2, "high": 9}}, "trials": 30, "metrics": ["test_loss"]}
    assert build(searched, Path("studies/x.toml"), known, smoke=True).trials == 2


def sized(known: Catalogue, paths: Paths, **chosen: Any) -> Study:
    tables = {**BASE, "sizes": SIZES, "variants": [{"name": "a", "training": {"epochs": 7}}]}
    return build(tables, paths.study("x"), known, datasets=["digits", "mnist"], **chosen)


def test_a_size_wins_over_variants_where_it_says_so_and_is_still_the_study(known: Catalogue, paths: Paths) -> None:
    written, small = sized(known, paths), sized(known, paths, size="small")
    assert (small.name, small.size, small.seeds) == ("x", "small", 1)
    trials = {(t.dataset, t.settings["params"]["latent_dim"]): t for t in expand(small, known)}
    assert set(trials) == {("digits", 2), ("digits", 4), ("mnist", 2), ("mnist", 4)}
    assert trials["mnist", 2].settings["training"]["epochs"] == 1
    assert trials["mnist", 2].settings["data"]["train_images"] == 1000
    shared = {t.key for t in expand(written, known)} & {t.key for t in trials.values()}
    assert shared == {trials["digits", 2].key}  # of which the size says nothing
    assert small.is_resized_on("mnist")
    assert not sized(known, paths, size="seeds").is_resized_on("mnist")
    assert sized(known, paths, size="seeds").seeds == 5
    assert written.at("full") is written


def test_what_is_given_wins_over_a_size(known: Catalogue, paths: Paths) -> None:
    study = sized(known, paths, size="small", seeds=3, given={"epochs": 2, "latent_dim": 9})
    found = {(t.settings["training"]["epochs"], t.settings["params"]["latent_dim"]) for t in expand(study, known)}
    assert (study.seeds, found) == (3, {(2, 9)})


def test_a_size_that_is_none(known: Catalogue, paths: Paths) -> None:
    with pytest.raises(StudyError, match=r"no size 'smal' \(did you mean 'small'\?\); there are: full, small, seeds"):
        sized(known, paths, size="smal")
    with pytest.raises(StudyError, match="must be --smoke or --size small"):
        sized(known, paths, size="small", smoke=True)


def test_set_fixes_what_the_study_varies(known: Catalogue, paths: Paths) -> None:
    study = load(paths.study("smoke"), known, given={"latent_dim": 7, "epochs": 5})
    assert study.vary == {}
    assert expand(study, known)[0].settings["params"]["latent_dim"] == 7
    assert expand(study, known)[0].settings["training"]["epochs"] == 5


def test_a_range_makes_a_search(known: Catalogue) -> None:
    study = make(known, trials=9, vary={"learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}})
    assert study.is_search
    assert study.vary["learning_rate"] == Range(1e-5, 1e-2, True)
    proposal = study.trial(known, study.variants[0], "digits", 0, {"learning_rate": 1e-3}, proposal=True)
    assert proposal.held_out == "validation"
    assert study.trial(known, study.variants[0], "digits", 0, {"learning_rate": 1e-3}).held_out == "test"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quesion": "?"}, r"no key 'quesion' \(did you mean 'question'\?\)"),
        ({"question": ""}, r"question = '': must be a text"),
        ({"model": "vea"}, r"no model 'vea' \(did you mean 'vae'\?\); there are: acai, "),
        ({"metrics": ["fidd"]}, r"no metric 'fidd' \(did you mean 'fid'\?\)"),
        ({"metrics": []}, r"metrics = \[\]: must be a list of at least one name"),
        ({"seeds": 0}, r"seeds = 0: must be a whole number of at least 1"),
        ({"seeds": True}, r"seeds = True: must be a whole number"),
        ({"params": {"latent_dims": 2}}, r"\[params\] no setting of vae 'latent_dims' \(did you mean 'latent_dim'\?\)"),
        ({"params": {"hidden_dims": 512}}, r"hidden_dims = 512: must be a list, each item a whole number"),
        ({"params": {"epochs": 2}}, r"\[params\] epochs: belongs in \[training\]"),
        ({"training": {"epochs": 1.5}}, r"epochs = 1.5: must be a whole number"),
        ({"training": {"optimizer": "adma"}}, r"optimizer = 'adma': must be one of 'adam', 'adamw', 'rmsprop', 'sgd'"),
        ({"training": {"betas": [0.9]}}, r"betas = \[0.9\]: must be a list of 2 values, each a number"),
        ({"training": {"critic": {"lr": 1}}}, r"no option of one player 'lr'; there are: betas"),
        ({"data": {"horizontal_flip": 1}}, r"horizontal_flip = 1: must be true or false"),
        ({"vary": {"latent_dim": 2}}, r"\[vary\] latent_dim = 2: must be a list of values, or a range"),
        ({"vary": {"critic": {"lr": [1, 2]}}}, r"\[vary\] critic.lr: no option of one player 'lr'; there are: betas"),
        ({"vary": {"critic.ema": ["x", 2]}}, r"\[vary\] critic.ema = 'x': must be a number"),
        (
            {"vary": {"critic": [{"ema": 1}]}},
            r"\[vary\] critic = .*: must be an option of it alone, as in critic.learning",
        ),
        (
            {"vary": {"critic.ema": [0.5, 0.9], "critic": {"ema": [0.1]}}},
            r"\[vary\] critic.ema = \[0.1\]: must be given once, with quotes or without",
        ),
        (
            {"vary": {"latent_dim": {"min": 1, "max": 2}}},
            r"no key in \[vary\] latent_dim 'min'; there are: high, log, low",
        ),
        ({"vary": {"latent_dim": [2, "x"]}}, r"\[vary\] latent_dim = 'x': must be a whole number"),
        ({"vary": {"latent_dim": [2, 2]}}, r"must be values that differ"),
        ({"vary": {"latent_dim": {"low": 5, "high": 2}}, "trials": 3}, r"low < high"),
        ({"vary": {"latent_dim": {"low": 1, "hi": 2}}}, r"no key in \[vary\] latent_dim 'hi'"),
        ({"vary": {"latent_dim": {"low": 2, "high": 4}}}, r"trials = None: must be the number of configurations"),
        ({"trials": 5}, r"trials = 5: must be left out"),
        ({"pictures": 20}, r"pictures = 20: must be epochs from 1 on, rising, as in \[1, 20, 50\]"),
        ({"pictures": [20, "last"]}, r"pictures = \[20, 'last'\]: must be epochs from 1 on"),
        ({"pictures": [0, 20]}, r"pictures = \[0, 20\]: must be epochs from 1 on"),
        ({"pictures": [45, 20]}, r"pictures = \[45, 20\]: must be epochs from 1 on, rising"),
        ({"pictures": [20, 20]}, r"pictures = \[20, 20\]: must be epochs from 1 on, rising"),
        ({"pictures": [True]}, r"pictures = \[True\]: must be epochs from 1 on"),
        ({"applications": ["pegasos"]}, r"no application 'pegasos' \(did you mean 'pegasus'\?\)"),
        ({"applications": "pegasus"}, r"applications = 'pegasus': must be a list of at least one name"),
        ({"applications": ["generate"] * 2}, r"names each once; 'generate' stands there twice"),
        ({"smoke": {"pictures": [1]}}, r"no key in \[smoke\] 'pictures'"),
        ({"confirm": {"top": 3}}, r"confirm = {'top': 3}: must be left out: it is for searches"),
        ({"prune": True}, r"prune = True: must be left out"),
        (
            {"metrics": ["wasserstein"], "trials": 2, "vary": {"latent_dim": {"low": 2, "high": 9}}},
            r"metrics = 'wasserstein': must be a search's objective, which is the first, with a better direction",
        ),
        ({"on": {"digits": {"epochs": 3}}}, r"no table in \[on.digits\] 'epochs'"),
        ({"variants": [{"name": "a", "modle": "vae"}]}, r"no key in \[\[variants\]\] 'modle'"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, r"must be a name that no other variant has"),
        ({"sizes": {"full": {"reason": "?"}}}, r"sizes = 'full': must be a name of letters, .* and not 'full'"),
        ({"sizes": {"small": {"reason": "A day.", "epochs": 3}}}, r"no key in \[sizes.small\] 'epochs'"),
        ({"sizes": {"small": {"seeds": 1}}}, r"reason = None: must be a text"),
        ({"sizes": {"small": {"reason": "A day."}}}, r"sizes = 'small': must be a size that changes something"),
        (
            {"sizes": {"small": {"reason": "A day.", "on": {"minst": {}}}}},
            r"no data set of \[sizes.small.on\] 'minst' \(did you mean 'mnist'\?\)",
        ),
        (
            {"sizes": {"small": {"reason": "A day.", "on": {"mnist": {"training": {"epochs": 0.5}}}}}},
            r"\[sizes.small.on.mnist\] \[training\] epochs = 0.5: must be a whole number",
        ),
        (
            {"sizes": {"small": {"reason": "A day.", "vary": {"epochs": [1]}}}},
            r"no varied setting in \[sizes.small.vary\] 'epochs'; there are: latent_dim",
        ),
        (
            {"sizes": {"small": {"reason": "A day.", "vary": {"latent_dim": {"low": 2, "high": 4}}}}},
            r"\[sizes.small.vary\] latent_dim = {.*}: must be a list: a range is a search's",
        ),
        (
            {
                "vary": {"critic.ema": [0.5, 0.9]},
                "sizes": {"small": {"reason": "A day.", "vary": {"critic.ema": {"low": 0.1, "high": 0.9}}}},
            },
            r"\[sizes.small.vary\] critic.ema = {.*}: must be a list: a range is a search's",
        ),
        (
            {"sizes": SIZES, "trials": 2, "vary": {"latent_dim": {"low": 2, "high": 9}}},
            r"sizes = \['seeds', 'small'\]: must be left out",
        ),
        ({"smoke": {"question": "?"}}, r"no key in \[smoke\] 'question'"),
    ],
)
def test_what_cannot_run_is_one_line_with_the_file_the_key_and_the_right_ones(
    known: Catalogue, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        make(known, **changes)
    assert str(caught.value).startswith("studies/x.toml: ")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_or_no_toml(known: Catalogue, paths: Paths) -> None:
    with pytest.raises(StudyError, match=r"nope.toml: no study 'nope'; there are: .*latent_dim.*smoke"):
        load(paths.study("nope"), known)
    paths.study("bad").write_text("question = ?")
    with pytest.raises(StudyError, match=r"bad.toml: not TOML: .*line 1"):
        load(paths.study("bad"), known)


@pytest.mark.parametrize(
    ("text", "parsed"),
    [("epochs=5", ("epochs", 5)), ("hidden_dims=[1, 2]", ("hidden_dims", [1, 2])), ("depth=deep", ("depth", "deep"))],
)
def test_settings_from_the_command_line_are_toml_or_words(text: str, parsed: tuple[str, Any]) -> None:
    assert parse_setting(text) == parsed


def test_a_setting_without_a_value_is_refused() -> None:
    with pytest.raises(StudyError, match="must be key=value"):
        parse_setting("epochs")


SHIPPED = Path(__file__).parent.parent / "studies"


@pytest.mark.parametrize(("name", "promise"), promises("studies"))
def test_every_study_keeps_its_promises(name: str, promise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(SHIPPED.parent)
    try_promise("studies", name, promise)


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_the_first_data_set_of_a_shipped_study_needs_no_download_and_it_has_a_source(
    file: Path, known: Catalogue
) -> None:
    study = load(file, known)
    assert study.datasets in (("digits",), ("lines",))
    assert len(study.source) > 20


@pytest.mark.parametrize("file", sorted(SHIPPED.glob("*.toml")), ids=lambda file: file.stem)
def test_a_study_that_asks_what_is_recognised_asks_it_of_real_images_too(file: Path, known: Catalogue) -> None:
    """The classifier is not calibrated: what it makes of real images is the scale."""
    names = {metric.name for metric in load(file, known).metrics}
    assert ("recognised" in names) <= ("recognised_held_out" in names)


def test_the_leaderboard_holds_every_system_of_the_documents(known: Catalogue) -> None:
    study = load(SHIPPED / "leaderboard.toml", known)
    assert {trial.model for trial in expand(study, known)} >= set(SYSTEMS)


def test_a_setting_has_one_meaning(known: Catalogue) -> None:
    """``--set`` names no section, and a run's parameters stand in one table."""
    names = [name for options in known.options.values() for name in options]
    assert len(names) == len(set(names))
    for model, params in known.params.items():
        assert not set(params) & set(names), model


def test_what_tells_a_trial_is_what_is_varied_and_what_is_not_the_default(known: Catalogue) -> None:
    tables = {
        "question": "?",
        "source": "none",
        "model": "wgan",
        "datasets": ["digits"],
        "metrics": ["fd_classifier"],
        "training": {"batch_size": 7, "epochs": known.options["training"]["epochs"].default},
        "vary": {"latent_dim": [known.params["wgan"]["latent_dim"].default, 3]},
    }
    first, second = build(tables, Path("x.toml"), known).grid(known, {})
    default = known.params["wgan"]["latent_dim"].default
    # The model's own wishes for its training are its defaults; a default that is varied tells one variant from the other.
    assert known.chosen(first) == {"latent_dim": default, "batch_size": 7}
    assert known.chosen(second) == {"latent_dim": 3, "batch_size": 7}
    assert first.settings["training"]["learning_rate"] == known.training_defaults["wgan"]["learning_rate"]
