"""Claims as a study has them: read, checked, and refused in a line."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.checks import Broken, NotPromised, studies
from bench.paths import Paths
from bench.study.catalogue import Catalogue
from bench.study.claims import Claim, curve_of
from bench.study.definition import Study, StudyError
from bench.study.file import build, load

FALLS = {"text": "the loss falls", "where": "document 000, figure 1", "metric": "test_loss", "order": "falls"}


def make(
    known: Catalogue, *claims: Mapping[str, Any], as_smoke: bool = False, given: Any = None, **changes: Any
) -> Study:
    """A study of three latent dimensions that makes these claims."""
    written = {
        "question": "Which?",
        "source": "Document 000: the first",
        "model": "vae",
        "datasets": ["digits", "mnist"],
        "metrics": ["test_loss", "psnr"],
        "vary": {"latent_dim": [2, 5, 10]},
        "smoke": {"vary": {"latent_dim": [4]}, "metrics": ["psnr"]},
        "claims": list(claims),
        **changes,
    }
    tables = {key: value for key, value in written.items() if value is not None}
    return build(tables, Path("studies/x.toml"), known, smoke=as_smoke, given=given)


def claim(known: Catalogue, **changes: Any) -> Claim:
    """One claim of that study, as it is read; what is None is left out."""
    return make(known, {key: value for key, value in {**FALLS, **changes}.items() if value is not None}).claims[0]


# Read.


def test_an_order_is_every_step_along_what_is_varied(known: Catalogue) -> None:
    read = claim(known)
    assert read.relation == "less"
    assert read.pairs == (("latent_dim=5", "latent_dim=2"), ("latent_dim=10", "latent_dim=5"))
    assert read.sides == ["latent_dim=2", "latent_dim=5", "latent_dim=10"]
    assert claim(known, order="rises").relation == "greater"
    named = claim(known, along=["latent_dim=10", "latent_dim=2"])
    assert named.pairs == (("latent_dim=2", "latent_dim=10"),)


def test_two_sides_are_compared_each_with_each_and_equals_all_with_all(known: Catalogue) -> None:
    less = claim(known, order=None, less=["latent_dim=2", ["latent_dim=5", 12]])
    assert list(less.pairs) == [("latent_dim=2", "latent_dim=5"), ("latent_dim=2", 12)]
    assert less.variants == ["latent_dim=2", "latent_dim=5"]
    three = ["latent_dim=2", "latent_dim=5", "latent_dim=10"]
    equal = claim(known, order=None, equal=three, margin="5 %")
    assert equal.pairs == ((three[0], three[1]), (three[0], three[2]), (three[1], three[2]))
    assert (equal.margin, equal.relative) == (0.05, True)
    assert claim(known, margin=2) == dataclasses.replace(claim(known), margin=2.0)


def test_what_cannot_be_judged_says_why(known: Catalogue) -> None:
    read = claim(known, metric=None, order=None, why="judged by eye")
    assert (read.why, read.metric, read.pairs) == ("judged by eye", "", ())


def test_a_claim_is_about_the_data_sets_that_have_all_its_variants(known: Catalogue) -> None:
    assert claim(known).datasets == ()  # whatever the study is run on
    assert claim(known, datasets=["mnist"]).datasets == ("mnist",)
    rows: list[dict[str, Any]] = [
        {"name": "a", "model": "vae", "datasets": ["mnist"]},
        {"name": "b", "model": "gan"},
    ]
    less = {**FALLS, "less": ["a", "b"]}
    del less["order"]
    assert make(known, less, model=None, vary=None, variants=rows, smoke=None).claims[0].datasets == ("mnist",)
    with pytest.raises(StudyError, match=r"claim 1: datasets: variant 'a' is not for digits"):
        make(known, {**less, "datasets": ["digits"]}, model=None, vary=None, variants=rows)
    rows[1]["datasets"] = ["digits"]
    with pytest.raises(StudyError, match=r"claim 1: less: no data set has all of a, b"):
        make(known, less, model=None, vary=None, variants=rows)


@pytest.mark.parametrize(
    "metric", ["parameters", "seconds_per_epoch", "train/loss", "test/kl", "gap/loss", "settling/test/loss", "psnr"]
)
def test_a_claim_may_speak_of_metrics_costs_and_curves(known: Catalogue, metric: str) -> None:
    assert claim(known, metric=metric).metric == metric


def test_a_curve_is_told_by_its_name() -> None:
    assert curve_of("train/kl") == ("last", "train", "kl")
    assert curve_of("gap/loss") == ("gap", "test", "loss")
    assert curve_of("rise/train/loss") == ("rise", "train", "loss")
    for name in ("test_loss", "final/loss", "gap/test/loss", "slope/loss", "test/", "a/b/c/d"):
        assert curve_of(name) is None


def test_claims_decide_nothing_of_a_trial(known: Catalogue) -> None:
    """So they can be written when the runs are there."""
    without, with_claims = make(known, claims=None), make(known, FALLS)
    assert with_claims.claims
    keys = [[trial.key for trial in study.grid(known, {})] for study in (without, with_claims)]
    assert keys[0] == keys[1]


def test_what_is_given_for_one_invocation_leaves_the_claims_as_they_are_written(known: Catalogue) -> None:
    written = make(known, FALLS).claims
    assert make(known, FALLS, as_smoke=True).claims == written
    assert make(known, FALLS, given={"latent_dim": 7}).claims == written


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"claim": "?"}, r"no key in \[\[claims\]\] 'claim'; there are: text, where, metric"),
        ({"text": ""}, r"text = '': must be a text"),
        ({"where": None}, r"where = None: must be a text"),
        ({"order": None}, r"none is given: it must hold one of order, less, .*, or why it cannot be judged"),
        ({"less": ["a", "b"]}, r"order and less are given: it must hold one of"),
        ({"why": "by eye"}, r"order and why are given"),
        ({"order": None, "why": "by eye"}, r"metric = 'test_loss': must be left out where why says"),
        ({"order": "down"}, r"order = 'down': must be 'falls' or 'rises'"),
        ({"along": ["latent_dim=2"]}, r"along = \['latent_dim=2'\]: must be a list of at least 2 names"),
        ({"along": ["latent_dim=2", "latent_dim=2"]}, r"along = .*: must name each once"),
        ({"along": ["latent_dim=2", "latent_dim=3"]}, r"order: no variant 'latent_dim=3' \(did you mean 'latent_dim="),
        ({"order": None, "less": ["latent_dim=2", "big"]}, r"less: no variant 'big'; there are: latent_dim=2, "),
        ({"order": None, "less": ["latent_dim=2"]}, r"less = \['latent_dim=2'\]: must be two, each a variant"),
        ({"order": None, "less": [1, 2]}, r"less = \[1, 2\]: must compare two variants, or a variant with a number"),
        ({"order": None, "less": ["latent_dim=2", True]}, r"must be two, each a variant, a number or a list of those"),
        ({"order": None, "less": ["latent_dim=2", []]}, r"must be two, each a variant, a number or a list of those"),
        ({"order": None, "less": ["latent_dim=2"] * 2}, r"must compare two variants"),
        ({"order": None, "less": ["latent_dim=2", ["latent_dim=5"] * 2]}, r"less = .*: must compare each two once"),
        ({"order": None, "equal": ["latent_dim=2", 3, 3], "margin": 1}, r"equal = .*: must compare"),
        ({"datasets": ["digits", "digits"]}, r"datasets = \['digits', 'digits'\]: must name each once"),
        ({"order": None, "less": ["latent_dim=2", 1], "along": ["a"]}, r"along = \['a'\]: must be left out"),
        ({"order": None, "equal": ["latent_dim=2", "latent_dim=5"]}, r"margin = None: must be a number above 0"),
        ({"order": None, "equal": ["latent_dim=2"], "margin": 1}, r"equal = .*: must be a list of two or more"),
        ({"order": None, "no_less": ["latent_dim=2", 3]}, r"margin = None: must be a number above 0"),
        ({"margin": 0}, r"margin = 0: must be a number above 0, or a share of the value compared with, as in '10 %'"),
        ({"margin": "ten %"}, r"margin = 'ten %': must be a number above 0"),
        ({"margin": "10"}, r"margin = '10': must be a number above 0"),
        ({"order": None, "less": ["latent_dim=2", 0], "margin": "5 %"}, r"margin = '5 %': must be a number, since"),
        ({"metric": None}, r"metric = None: must be a text"),
        ({"metric": "psrn"}, r"no metric 'psrn' \(did you mean 'psnr'\?\); there are: test_loss, psnr, parameters"),
        ({"metric": "ssim"}, r"metric = 'ssim': must be one that the study measures; add it to metrics"),
        ({"metric": "valid/loss"}, r"metric = 'valid/loss': must be a curve of a loss term \(train/<term>, "),
        ({"epochs": 0}, r"epochs = 0: must be a whole number above 0"),
        ({"epochs": "20"}, r"epochs = '20': must be a whole number above 0"),
        ({"order": None, "metric": None, "why": "by eye", "epochs": 2}, r"epochs = 2: must be left out where why"),
        ({"datasets": "mnist"}, r"datasets = 'mnist': must be a list of at least 1 name"),
        ({"datasets": ["cifar"]}, r"datasets: no data set of the study 'cifar'; there are: digits, mnist"),
    ],
)
def test_what_cannot_be_judged_is_one_line(known: Catalogue, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(StudyError, match=message) as caught:
        claim(known, **changes)
    assert str(caught.value).startswith("studies/x.toml: claim 1: ")
    assert "\n" not in str(caught.value)


def test_a_ladder_must_be_given_where_not_one_setting_alone_is_varied(known: Catalogue) -> None:
    with pytest.raises(StudyError, match="along: must list the variants in order"):
        make(known, FALLS, vary={"latent_dim": [2, 5], "batch_size": [16, 32]})
    with pytest.raises(StudyError, match="along: must list the variants in order"):
        make(known, FALLS, model=None, vary=None, variants=[{"name": "a", "model": "vae"}], smoke=None)


def test_a_search_and_what_is_no_table_can_claim_nothing(known: Catalogue) -> None:
    with pytest.raises(StudyError, match=r"claims: must be left out: a search finds its variants"):
        make(known, FALLS, vary={"latent_dim": {"low": 2, "high": 9}}, trials=3)
    with pytest.raises(StudyError, match=r"claims = \['the loss falls'\]: must be tables, each \[\[claims\]\]"):
        make(known, claims=["the loss falls"])


def test_a_loss_term_that_no_model_has_is_told_before_anything_runs(known: Catalogue, paths: Paths) -> None:
    """It is known once the model is built, so the promise is tried, not the file's reading."""
    file = paths.study("smoke")
    made = "\n[[claims]]\ntext = 'it falls'\nwhere = 'nowhere'\nmetric = 'gap/{}'\norder = 'falls'\n"
    check = studies.check_its_claims_name_loss_terms_that_there_are
    subject = studies.Subject(file, known, paths.data)
    with pytest.raises(NotPromised, match="it claims nothing about a curve"):
        check(subject)
    text = file.read_text()
    file.write_text(text + made.format("kl"))
    check(subject)
    file.write_text(text + made.format("los"))
    with pytest.raises(
        Broken, match="claim 1: no loss term 'los' of latent_dim=2; there are: kl, loss, reconstruction"
    ):
        check(subject)


# Judged.


# Curves.


# Told.


# Written.

SHIPPED = sorted((Path(__file__).parent.parent / "studies").glob("*.toml"))


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.stem)
def test_a_study_of_a_document_makes_its_claims(file: Path, known: Catalogue) -> None:
    study = load(file, known)
    if study.source.startswith("None of the documents"):
        assert not study.claims
        return
    assert study.claims
    assert len({(each.text, each.datasets) for each in study.claims}) == len(study.claims)
    for each in study.claims:
        assert re.match(r"document 00\d, |.+, \d{4}, ", each.where), (
            each.where
        )  # a document and a place, or a paper and a place
        assert not each.text.endswith("."), each.text  # a clause, which the answer puts into a sentence


def test_every_document_has_claims(known: Catalogue) -> None:
    cited = {
        number for file in SHIPPED for each in load(file, known).claims for number in re.findall(r"00\d", each.where)
    }
    assert cited == {"000", "001", "002", "003", "004"}
