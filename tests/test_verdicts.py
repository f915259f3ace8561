"""Claims judged by runs that are made by hand, and the answer that a report opens with."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from bench.report import curves as of_curves
from bench.report import markdown as as_markdown
from bench.report import page
from bench.report.answer import answer, frame, plain, table, tables
from bench.report.blocks import Fold, Table
from bench.report.claims import Judgement, judge
from bench.report.significance import interval, lies
from bench.study.catalogue import Catalogue
from bench.study.claims import OF_CURVES
from tests.test_claims import FALLS, make
from tests.test_report import LARGEST, row

NO_CURVES = pd.DataFrame(columns=["run_id", "name", "step", "value"])


def markdown(judgements: Sequence[Judgement]) -> str:
    """The table of verdicts with its note, as a report has it."""
    shown = table(judgements)
    return "\n".join((*as_markdown.table(shown), "", shown.note))


def runs_of(losses: Mapping[int, Sequence[float]], **changes: Any) -> pd.DataFrame:
    """Runs of latent dimensions, with one loss for every seed."""
    rows = [row(latent, seed, loss, **changes) for latent, each in losses.items() for seed, loss in enumerate(each)]
    return pd.DataFrame(rows)


def judged(known: Catalogue, runs: pd.DataFrame, curves: pd.DataFrame = NO_CURVES, **changes: Any) -> Judgement:
    """The one claim on digits."""
    row = {key: value for key, value in {**FALLS, "datasets": ["digits"], **changes}.items() if value is not None}
    (judgement,) = judge(make(known, row), runs, curves)
    return judgement


FALLING = {2: (150.0, 151.0, 152.0), 5: (120.0, 121.1, 122.0), 10: (110.0, 111.5, 112.2)}


def test_an_order_holds_by_its_least_certain_step(known: Catalogue) -> None:
    found = judged(known, runs_of(FALLING))
    steps = [[-30.0, -29.9, -30.0], [-10.0, -9.6, -9.8]]
    assert found.verdict == "holds"
    assert found.p == pytest.approx(lies(steps, high=0)[0])
    assert found.pair == ("latent_dim=10", "latent_dim=5")
    assert found.effect == pytest.approx(-9.8)
    assert found.half == pytest.approx(interval(steps[1]))
    assert found.n == 3
    assert found.test == "paired t-test of every step"
    assert [name for name, _ in found.means] == ["latent_dim=2", "latent_dim=5", "latent_dim=10"]
    assert found.means[0][1] == 151


def test_an_order_does_not_hold_where_a_step_goes_the_other_way(known: Catalogue) -> None:
    found = judged(known, runs_of({**FALLING, 10: (130.0, 131.2, 132.1)}))
    assert found.verdict == "does not hold"
    assert found.pair == ("latent_dim=10", "latent_dim=5")
    assert found.effect == pytest.approx(10.0667, abs=1e-4)


def test_seeds_that_disagree_tell_nothing(known: Catalogue) -> None:
    found = judged(known, runs_of({**FALLING, 10: (110.0, 131.0, 112.0)}))
    assert found.verdict == "cannot tell"
    assert found.p > 0.05
    assert found.test


def test_nothing_is_answered_from_one_seed(known: Catalogue) -> None:
    found = judged(known, runs_of({latent: each[:1] for latent, each in FALLING.items()}))
    assert (found.verdict, found.n, found.test, found.reason) == ("cannot tell", 1, "", "")
    assert math.isnan(found.p)
    assert "latent_dim=2: 150, latent_dim=5: 120, latent_dim=10: 110 nats (n = 1)" in markdown([found])
    assert "cannot tell at 1 seed" in markdown([found])
    told = "1 claim cannot be told from 1 seed: that the loss falls (150 → 120 → 110 nats)."
    assert answer([found]) == f"There is no verdict on what the source says: {told}"
    for change in ({"ordered": False}, {"relative": True}):  # several are compared, of which none decides
        several = dataclasses.replace(found, claim=dataclasses.replace(found.claim, **change))  # type: ignore[arg-type]
        assert answer([several]).endswith(" 1 claim cannot be told from 1 seed.")


def test_how_far_one_seed_is_from_a_number_is_told_and_no_verdict(known: Catalogue) -> None:
    said: dict[str, Any] = {"order": None, "equal": ["latent_dim=2", 120.0], "margin": "10 %", "text": "two is 120"}
    found = judged(known, runs_of({2: (150.0,), 5: (120.0,), 10: (110.0,)}), **said)
    assert (found.verdict, found.test, found.effect) == ("cannot tell", "", 0.25)
    assert "latent_dim=2: 150 nats; latent_dim=2 against 120: +25 %, asked within ±10 % (n = 1)" in markdown([found])
    assert plain("", [found], 200).count("+25 %, asked within ±10 % (n = 1)") == 1
    assert answer([found]).endswith(" from 1 seed: that two is 120 (150 against 120 nats, asked within ±10 %).")


def test_pairs_are_the_seeds_that_both_have(known: Catalogue) -> None:
    runs = runs_of(FALLING)
    runs.loc[runs["run_id"] == "r5-1", "state"] = "failed"
    found = judged(known, runs)
    assert found.n == 2
    assert found.effect == pytest.approx(-9.9)


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"less": ["latent_dim=10", "latent_dim=2"]}, "holds"),
        ({"greater": ["latent_dim=10", "latent_dim=2"]}, "does not hold"),
        ({"less": ["latent_dim=10", "latent_dim=2"], "margin": 30}, "holds"),  # 40 less
        (
            {"less": ["latent_dim=10", "latent_dim=2"], "margin": 50},
            "does not hold",
        ),  # shown to be less by less than 50
        ({"less": ["latent_dim=10", "latent_dim=2"], "margin": "20 %"}, "holds"),  # 26 %
        ({"less": ["latent_dim=10", "latent_dim=2"], "margin": "30 %"}, "does not hold"),
        ({"equal": ["latent_dim=10", "latent_dim=5"], "margin": "10 %"}, "holds"),  # 8 %
        ({"equal": ["latent_dim=10", "latent_dim=5"], "margin": "5 %"}, "does not hold"),
        ({"equal": ["latent_dim=10", "latent_dim=5", "latent_dim=2"], "margin": "10 %"}, "does not hold"),
        ({"no_less": ["latent_dim=2", "latent_dim=10"], "margin": 1}, "holds"),
        ({"no_less": ["latent_dim=10", "latent_dim=2"], "margin": 50}, "holds"),  # 40 less, which 50 allow
        ({"no_less": ["latent_dim=10", "latent_dim=2"], "margin": 30}, "does not hold"),
        ({"no_greater": ["latent_dim=2", "latent_dim=10"], "margin": 1}, "does not hold"),
        ({"no_greater": ["latent_dim=2", "latent_dim=10"], "margin": 50}, "holds"),
        ({"less": ["latent_dim=10", 115]}, "holds"),
        ({"less": ["latent_dim=10", 111]}, "cannot tell"),
        ({"greater": [["latent_dim=2", "latent_dim=5"], ["latent_dim=10", 100]]}, "holds"),
        ({"equal": ["latent_dim=10", 330], "margin": "10 %"}, "does not hold"),
    ],
)
def test_every_relation_is_judged_by_where_the_interval_lies(
    known: Catalogue, changes: dict[str, Any], verdict: str
) -> None:
    assert judged(known, runs_of(FALLING), order=None, **changes).verdict == verdict


def test_a_share_of_a_negative_value_is_one_of_its_size(known: Catalogue) -> None:
    """-150 is less than -110 by more than a third of it, and by no half."""
    runs = runs_of({latent: [-loss for loss in losses] for latent, losses in FALLING.items()})
    sides: dict[str, Any] = {"order": None, "less": ["latent_dim=2", "latent_dim=10"]}
    found = judged(known, runs, **sides, margin="30 %")
    assert (found.verdict, round(found.effect, 2)) == ("holds", -0.36)
    assert judged(known, runs, **sides, margin="50 %").verdict == "does not hold"


def test_a_verdict_takes_a_corrected_p_of_at_most_one_in_twenty(known: Catalogue) -> None:
    """Differences of -10, -7 and -5 have p = 0.037, which alone is enough, and twice that is not."""
    runs = runs_of({2: (150.0, 150.0, 150.0), 5: (140.0, 143.0, 145.0), 10: (90.0, 91.0, 92.0)})
    claim = {key: value for key, value in FALLS.items() if key != "order"} | {
        "less": ["latent_dim=5", "latent_dim=2"],
        "datasets": ["digits"],
    }
    for count, p, verdict in ((1, 0.037, "holds"), (2, 0.074, "cannot tell")):
        (found, *_) = judge(make(known, *[claim] * count), runs, NO_CURVES)
        assert (round(found.p, 3), found.verdict) == (p, verdict)


def test_a_test_says_what_it_is(known: Catalogue) -> None:
    def of(**changes: Any) -> str:
        return judged(known, runs_of(FALLING), order=None, **changes).test

    assert of(less=["latent_dim=10", "latent_dim=2"]) == "paired t-test"
    assert of(less=["latent_dim=10", 115.5]) == "one-sample t-test"
    assert of(equal=["latent_dim=10", "latent_dim=5"], margin=1) == "two one-sided paired t-tests"
    assert of(less=["latent_dim=10", ["latent_dim=5", "latent_dim=2"]]) == "paired t-test of every pair"


def test_the_correction_goes_over_the_claims_of_one_data_set(known: Catalogue) -> None:
    """What digits say is the same whether mnist is run or not; the number of parameters, which no seed changes, is not tested."""
    claims = [FALLS, {**FALLS, "metric": "parameters", "order": "rises"}, {**FALLS, "metric": "psnr", "order": "rises"}]
    digits = runs_of({2: (150.0, 151.0, 152.0), 5: (120.0, 126.0, 119.0), 10: (110.0, 119.0, 105.0)})
    digits["metric.psnr"] = [22.0, 22.1, 22.3, 25.0, 25.2, 25.1, 30.0, 30.4, 30.1]
    study = make(known, *claims)
    alone = [each for each in judge(study, digits, NO_CURVES) if each.dataset == "digits"]
    raw = [
        lies([[-30.0, -25.0, -33.0], [-10.0, -7.0, -14.0]], high=0)[0],
        math.nan,
        lies([[3.0, 3.1, 2.8], [5.0, 5.2, 5.0]], low=0)[0],
    ]
    assert raw[2] < raw[0] < 0.05
    assert [each.p for each in alone] == pytest.approx([raw[0], math.nan, 2 * raw[2]], nan_ok=True)
    assert [each.test for each in alone][1] == "the same of every seed"
    both = judge(study, pd.concat([digits, runs_of(FALLING, dataset="mnist")]), NO_CURVES)
    assert [each for each in both if each.dataset == "digits"] == alone
    crowded = judge(make(known, *[FALLS] * 20), digits, NO_CURVES)
    assert {each.verdict for each in crowded if each.dataset == "digits"} == {"cannot tell"}


def test_what_was_not_run_is_open(known: Catalogue) -> None:
    study = make(known, FALLS)
    on_digits, on_mnist = judge(study, runs_of(FALLING), NO_CURVES)
    assert (on_digits.dataset, on_digits.verdict) == ("digits", "holds")
    assert (on_mnist.dataset, on_mnist.verdict, on_mnist.reason) == ("mnist", "open", "not run")
    partly = judge(study, runs_of({2: FALLING[2]}), NO_CURVES)[0]
    assert (partly.verdict, partly.reason) == ("open", "latent_dim=5, latent_dim=10 not run")
    own = judge(study, runs_of(FALLING, dataset="mine/faces.npz"), NO_CURVES)
    assert [(each.dataset, each.verdict) for each in own][2:] == [("mine/faces.npz", "holds")]


def test_what_is_said_of_more_epochs_is_open(known: Catalogue) -> None:
    """That a loss has not risen after 6 epochs is nothing against one who says that it does after 20."""
    for epochs, verdict in ((20, "holds"), (19, "open")):
        found = judged(known, runs_of(FALLING, epochs=epochs), epochs=20)
        assert found.verdict == verdict
    assert found.reason == "said of 20 epochs, and trained for 19"


def test_what_is_blank_says_why(known: Catalogue) -> None:
    runs = runs_of(FALLING).assign(**{"metric.test_loss": None, "reason.test_loss": "no single objective"})
    found = judged(known, runs)
    assert (found.verdict, found.reason) == ("cannot tell", "test_loss is blank: no single objective")
    assert judged(known, runs.drop(columns="reason.test_loss")).reason == "test_loss was not taken"
    failed = runs_of(FALLING)
    failed.loc[failed["variant"] == "latent_dim=5", "state"] = "failed"
    assert judged(known, failed).reason == "no finished trial of latent_dim=5"


def test_two_protocols_do_not_compare_nor_do_times_of_two_devices(known: Catalogue) -> None:
    runs = runs_of(FALLING)
    runs.loc[runs["variant"] == "latent_dim=5", "protocol.test_loss"] = json.dumps({"split": "test", "images": "10"})
    found = judged(known, runs)
    assert found.verdict == "cannot tell"
    assert found.reason == "taken under 2 protocols: images 10, split test; images 9, split test"
    assert judged(known, runs, order=None, less=["latent_dim=10", "latent_dim=2"]).verdict == "holds"
    runs.loc[runs["seed"] == 1, "device"] = "another"
    found = judged(known, runs, metric="seconds_per_epoch")
    assert found.reason == "taken on 2 devices: CPU, 1 thread(s); another"
    assert judged(known, runs, metric="parameters", order="rises").verdict == "holds"


def test_an_infinity_is_no_value(known: Catalogue) -> None:
    assert judged(known, runs_of({**FALLING, 5: (120.0, 121.1, LARGEST)})).n == 2


def test_every_name_of_a_curve_is_taken() -> None:
    assert {*of_curves.COMES_TO, "reaching"} == {"last", *OF_CURVES}


def test_a_curve_settles_where_it_stays_near_its_final_level() -> None:
    """An exponential is within a tenth of its greatest distance after ln(10) time constants."""
    for rate in (4, 10):
        curve = [5 + math.exp(-(epoch - 1) / rate) for epoch in range(1, 101)]
        assert of_curves.settling(curve) == math.ceil(1 + rate * math.log(10))
    assert of_curves.settling([0.0, 3.0, *[1.0] * 20]) == 3  # not where it first crosses
    assert of_curves.settling([7.0]) == 1
    assert of_curves.settling([2.0, 2.0, 2.0]) == 1


def test_a_curve_that_goes_on_falling_settles_late_and_reaches_early(known: Catalogue) -> None:
    """Of 10 + 90 / n, 0 + 100 / n and 5 + 95 / n after epoch n the first ends highest, at 19, where the others are before it."""
    runs = runs_of(FALLING)
    places = {2: (10.0, 90.0), 5: (5.0, 95.0), 10: (0.0, 100.0)}
    rows = [
        (f"r{latent}-{seed}", "train/loss", epoch, level + seed + rest / epoch)
        for latent, (level, rest) in places.items()
        for seed in range(3)
        for epoch in range(1, 11)
    ]
    curves = pd.DataFrame(rows, columns=["run_id", "name", "step", "value"])
    found = judged(known, runs, curves, metric="reaching/train/loss", order="falls")
    assert dict(found.means) == {"latent_dim=2": 10, "latent_dim=5": 7, "latent_dim=10": 6}  # 95 / 7 < 14, 100 / 6 < 19
    assert (found.verdict, found.unit, found.test) == ("holds", "epochs", "the same of every seed")
    alone = judged(known, runs, curves, metric="reaching/train/loss", order=None, less=["latent_dim=5", 3])
    assert dict(alone.means) == {"latent_dim=5": 10}  # beside itself it comes there with its least
    assert math.isnan(of_curves.reaching([3.0, 2.0], 1.0))


def test_a_slope_is_the_least_squares_line_through_the_end() -> None:
    curve = [100.0] * 12 + [10.0, 8.0, 7.0]  # the last fifth of 15 is 3
    assert of_curves.slope(curve) == pytest.approx(np.polyfit([1, 2, 3], [10, 8, 7], 1)[0] / (25 / 3))
    assert of_curves.slope([3.0] * 10) == 0
    assert math.isnan(of_curves.slope([3.0]))


def test_a_rise_is_above_the_least_so_far() -> None:
    assert of_curves.rise([10.0, 4.0, 6.0, 5.0, 8.0, 3.0, 4.0]) == 1.0  # from 4 to 8
    assert of_curves.rise([3.0, 2.0, 1.0]) == 0
    assert of_curves.rise([-4.0, -2.0]) == 0.5


def test_claims_are_judged_by_curves(known: Catalogue) -> None:
    """The held-out loss ends 1, 2 and 4 above that of training images in eval mode, give or take a hundredth."""
    runs = runs_of(FALLING)
    rows: list[tuple[str, str, int, float]] = []
    for latent, gap in ((2, 1.0), (5, 2.0), (10, 4.0)):
        for seed in range(3):
            for epoch in range(6):
                train = 100 - 10 * epoch + seed
                rows.append((f"r{latent}-{seed}", "train/loss", epoch, train))
                rows.append((f"r{latent}-{seed}", "train_eval/loss", epoch, train - 7))
                rows.append((f"r{latent}-{seed}", "test/loss", epoch, train - 7 + gap + 0.01 * seed * latent))
    curves = pd.DataFrame(rows, columns=NO_CURVES.columns)
    found = judged(known, runs, curves, metric="gap/loss", order="rises")
    assert found.verdict == "holds"
    assert [mean for _, mean in found.means] == pytest.approx([1.02, 2.05, 4.1])
    assert [mean for _, mean in judged(known, runs, curves, metric="train/loss").means] == [51, 51, 51]
    assert judged(known, runs, curves, metric="train/loss").unit == "nats"  # those of `test_loss`, the same loss
    assert judged(known, runs, curves, metric="settling/test/loss").unit == "epochs"
    slope = judged(known, runs, curves, metric="slope/test/loss")
    assert (slope.factor, slope.unit) == (100, "% per epoch")
    found = judged(known, runs, curves, metric="gap/los", order="rises")
    assert (found.verdict, found.reason) == (
        "cannot tell",
        "no curve of 'los' in latent_dim=2, latent_dim=5, latent_dim=10; there are: loss",
    )
    validated = curves.assign(name=curves["name"].str.replace("test/", "validation/"))
    found = judged(known, runs.assign(split="validation"), validated, metric="gap/loss", order="rises")
    assert found.verdict == "holds"


@pytest.fixture
def judgements(known: Catalogue) -> list[Judgement]:
    """On digits one claim holds, one does not, one cannot be told, one is not judged; mnist was not run."""
    claims: list[dict[str, Any]] = [
        FALLS,
        {**FALLS, "text": "more is better.", "metric": "psnr", "order": "falls", "datasets": ["digits"]},
        {**FALLS, "text": "five is 120", "order": None, "less": ["latent_dim=5", 121], "datasets": ["digits"]},
        {"text": "edges are rough", "where": "document 000, figure 2", "why": "judged by eye"},
    ]
    rows = [{key: value for key, value in each.items() if value is not None} for each in claims]
    return judge(make(known, *rows), runs_of(FALLING), NO_CURVES)


def test_the_answer_is_what_the_verdicts_support(judgements: list[Judgement]) -> None:
    assert [each.verdict for each in judgements] == ["holds", "open", "does not hold", "cannot tell", "not judged"]
    assert answer(judgements) == (
        "It holds on digits that the loss falls (151 → 121 → 111.2 nats); it does not hold on digits that more is better "
        "(22 → 25 → 30 dB); 1 claim cannot be told from 3 seeds and 2 are open or not judged."
    )
    assert answer(judgements[:1]) == "It holds on digits that the loss falls (151 → 121 → 111.2 nats)."
    assert answer([]) == ""
    assert answer(judgements[1:2]) == "There is no verdict on what the source says: 1 is open."
    assert answer(judgements[4:]) == "No number judges what the source says."


def test_the_answer_names_the_measure_where_no_unit_tells_what_it_is(judgements: list[Judgement]) -> None:
    def measured(metric: str, unit: str) -> str:
        claim = dataclasses.replace(judgements[0].claim, metric=metric)
        told = answer([dataclasses.replace(judgements[0], claim=claim, unit=unit)])
        return told[told.index("(") + 1 : told.index(")")]

    assert measured("test_loss", "nats") == "151 → 121 → 111.2 nats"
    assert measured("recall", "share") == "recall 151 → 121 → 111.2"
    assert measured("fd_classifier", "") == "fd_classifier 151 → 121 → 111.2"
    assert measured("sharpness", "times held-out") == "sharpness 151 → 121 → 111.2 times held-out"
    assert measured("settling/test/loss", "epochs") == "151 → 121 → 111.2 epochs"
    assert measured("gap/loss", "nats") == "a gap of 151 → 121 → 111.2 nats"
    assert measured("rise/train/loss", "%") == "a rise of 151 → 121 → 111.2 %"


def test_the_answer_names_what_a_share_is_of_and_the_fewest_and_most_seeds(known: Catalogue) -> None:
    (found,) = judge(make(known, {**FALLS, "margin": "5 %"}), runs_of(FALLING), NO_CURVES)[:1]
    assert found.verdict == "holds"
    assert "test_loss of latent_dim=10 against latent_dim=5 -8.10 ± 0.52 %" in answer([found])
    few = [dataclasses.replace(found, verdict="cannot tell", n=n) for n in (3, 10, 1)]
    among = "among them that the loss falls (test_loss of latent_dim=10 against latent_dim=5 -8.10 ± 0.52 %, asked below -5 %)"
    told = f"3 claims cannot be told from 1 to 10 seeds, {among}"
    assert answer(few) == f"There is no verdict on what the source says: {told}."


def test_the_answer_names_data_sets_where_there_are_several_and_counts_what_is_more_than_two(
    judgements: list[Judgement],
) -> None:
    def held(text: str, dataset: str) -> Judgement:
        return dataclasses.replace(
            judgements[0], claim=dataclasses.replace(judgements[0].claim, text=text), dataset=dataset
        )

    both = [held("a", "digits"), held("a", "mnist"), held("b", "mnist")]
    falls = "151 → 121 → 111.2 nats"
    assert answer(both) == f"It holds that a (digits: {falls}; mnist: {falls}) and that b (mnist: {falls})."
    assert answer([held(text, "digits") for text in "abcd"]) == (
        f"It holds on digits that a ({falls}), that b ({falls}) and 2 more."
    )


def test_the_table_says_what_the_source_said_and_what_is_here(judgements: list[Judgement]) -> None:
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown(judgements).splitlines()[:7]]
    assert rows[0] == ["source said", "data set", "measure", "here", "verdict"]
    assert rows[2][:4] == [
        "the loss falls (document 000, figure 1)",
        "digits",
        "test_loss",
        "latent_dim=2: 151, latent_dim=5: 121, latent_dim=10: 111.2 nats; latent_dim=10 against latent_dim=5: "
        "-9.80 ± 0.50 nats (n = 3)",
    ]
    assert rows[2][4].startswith("**holds**: paired t-test of every step, p = 0.0")
    assert rows[3] == ["", "mnist", "", "", "open: not run"]  # the claim is not said twice
    assert rows[4][4] == "**does not hold**: the same of every seed"
    assert rows[5][4].startswith("cannot tell at 3 seeds: one-sample t-test, p = ")
    assert rows[6][1:] == ["", "", "", "not judged: judged by eye"]
    assert "Holm's correction" in markdown(judgements)
    assert "Holm" not in markdown(judgements[1:2])


def test_data_sets_that_are_open_share_a_line(known: Catalogue) -> None:
    study = make(known, FALLS, datasets=["digits", "mnist", "cifar10"])
    lines = markdown(judge(study, runs_of(FALLING), NO_CURVES)).splitlines()
    assert [line.split("|")[2].strip() for line in lines[2:4]] == ["digits", "mnist, cifar10"]
    assert lines[4] == ""


def test_a_relative_effect_is_told_in_percent(known: Catalogue) -> None:
    found = judged(known, runs_of(FALLING), order=None, less=["latent_dim=10", "latent_dim=2"], margin="20 %")
    assert "latent_dim=10 against latent_dim=2: -26.34 ± 0.71 %, asked below -20 % (n = 3)" in markdown([found])
    assert answer([found]).endswith(" latent_dim=10 against latent_dim=2 -26.34 ± 0.71 %, asked below -20 %).")


@pytest.mark.parametrize(
    ("relation", "region"),
    [
        ("less", "below -0.5 nats"),
        ("greater", "above +0.5 nats"),
        ("no_less", "above -0.5 nats"),
        ("no_greater", "below +0.5 nats"),
        ("equal", "within ±0.5 nats"),
    ],
)
def test_what_a_margin_asks_is_told_beside_the_effect(known: Catalogue, relation: str, region: str) -> None:
    claim: dict[str, Any] = {relation: ["latent_dim=10", "latent_dim=2"], "margin": 0.5}
    found = judged(known, runs_of(FALLING), order=None, **claim)
    assert f" nats, asked {region} (n = 3)" in markdown([found])
    assert f" nats, asked {region})." in answer([found]) or found.verdict == "cannot tell"
    assert frame([found])[["relation", "margin"]].to_numpy().tolist() == [[relation, 0.5]]


def test_a_mean_beside_a_number_is_told_once_with_its_interval(known: Catalogue) -> None:
    """111.2, and 4.30 (Student's t of two degrees) times its error, 1.124 / sqrt(3): the difference has no other."""
    found = judged(known, runs_of(FALLING), order=None, less=["latent_dim=10", 115.5])
    assert "| latent_dim=10: 111.2 ± 2.8 nats, against 115.5 (n = 3) " in markdown([found])


def test_what_is_open_is_folded_beneath_what_was_told(judgements: list[Judgement]) -> None:
    told, rest = tables(judgements)
    assert isinstance(told, Table)
    assert isinstance(rest, Fold)
    assert len(told.rows) == sum(bool(each.test) for each in judgements) == 3
    assert rest.title == "What else the source says: 1 open and 1 not judged"
    (beneath,) = rest.blocks
    assert isinstance(beneath, Table)
    assert beneath.columns == ("source said", "data set", "verdict")
    assert [tuple(cell.text + cell.after for cell in line)[1:] for line in beneath.rows] == [
        ("mnist", "open: not run"),
        ("", "not judged: judged by eye"),
    ]
    (alone,) = tables(judgements[1:2])  # all is open: nothing to be folded beneath
    assert isinstance(alone, Table)
    assert alone.columns == ("source said", "data set", "verdict")
    assert tables([]) == ()


def test_large_numbers_are_told_in_full(known: Catalogue) -> None:
    rows = [row(n, seed, 1e6 * n + seed) for n in (2, 5, 10) for seed in range(3)]
    found = judged(known, pd.DataFrame(rows), order="rises")
    assert "latent_dim=2: 2,000,001, latent_dim=5: 5,000,001, latent_dim=10: 10,000,001 nats" in markdown([found])


def test_a_terminal_shows_the_answer_and_a_line_for_each(judgements: list[Judgement]) -> None:
    text = plain(answer(judgements), judgements)
    assert text.startswith("It holds on digits that the loss falls (151 → 121 → 111.2 nats); ")
    assert all(len(line) <= 120 for line in text.splitlines())
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[5:8] == [
        "the loss falls digits -9.80 ± 0.50 nats (n = 3) holds",
        "mnist open",  # the claim is not said twice
        "more is better. digits +3 dB (n = 3) does not hold",
    ]
    assert plain("", []) == ""


def test_the_verdicts_are_a_table_for_a_machine_too(judgements: list[Judgement]) -> None:
    table = frame(judgements)
    assert table["verdict"].tolist() == [each.verdict for each in judgements]
    assert table["low"].iloc[0] == pytest.approx(judgements[0].effect - judgements[0].half)
    assert table["compared"].iloc[0] == "latent_dim=10 - latent_dim=5"
    assert table["p_holm"].isna().tolist() == [False, True, True, False, True]


def test_a_report_opens_with_the_answer(known: Catalogue, tmp_path: Path) -> None:
    text = page.write(make(known, FALLS), runs_of(FALLING), NO_CURVES, {}, tmp_path).read_text()
    lines = [line for line in text.splitlines() if line]
    assert lines[:2] == [
        "# Which?",
        "It holds on digits that the loss falls (151 → 121 → 111.2 nats); 1 is open.",
    ]
    assert lines[2].startswith("| source said ")
    assert text.index("Holm's") < text.index("> Document 000: the first") < text.index("## digits")
    assert pd.read_csv(tmp_path / "claims.csv")["verdict"].tolist() == ["holds", "open"]
    page.write(make(known, claims=None), runs_of(FALLING), NO_CURVES, {}, tmp_path / "none")
    assert not (tmp_path / "none" / "claims.csv").exists()
