"""How many trials at a time get most done."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.cli import main
from bench.executors import Resources
from bench.paths import Paths
from bench.run import rehearsal
from bench.run.events import Asked
from bench.run.plan import Plan, Planner
from bench.run.rehearsal import Rehearsal, longest_first, rehearse, rehearsed
from bench.study.catalogue import Catalogue
from bench.study.definition import StudyError, Trial
from bench.study.file import load

WORK = Rehearsal(Path("unused"), None)


@pytest.fixture
def trials(known: Catalogue, paths: Paths) -> list[Trial]:
    return list(load(paths.study("smoke"), known).grid(known, {}))


def playing(rates: dict[int, float], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let so many at once come to these rates on eight cores; what was tried."""
    tried: list[int] = []

    def rate(trial: Trial, work: Rehearsal, resources: Resources) -> tuple[float, str]:
        tried.append(resources.slots)
        return rates.get(resources.slots, 0.0), "no memory"

    monkeypatch.setattr(rehearsal, "_rate", rate)
    monkeypatch.setattr(rehearsal, "cores", lambda: 8)
    return tried


@pytest.mark.parametrize(
    ("rates", "workers"),
    [
        ({8: 40.0, 4: 30.0, 2: 20.0, 1: 10.0}, 8),
        ({8: 31.0, 4: 30.0, 2: 20.0, 1: 10.0}, 4),  # a thirtieth more is not worth four times the memory
        ({8: 0.0, 4: 30.0, 2: 20.0, 1: 10.0}, 4),  # eight do not fit
        ({8: 8.0, 4: 8.0, 2: 9.0, 1: 10.0}, 1),  # one large model that uses all cores by itself
    ],
)
def test_a_processor_is_shared_by_as_many_as_get_most_done(
    rates: dict[int, float], workers: int, trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = playing(rates, monkeypatch)
    found = rehearse(trials[0], WORK, Resources(workers=3))
    assert (found.resources.workers, tried, found.rates) == (workers, [8, 4, 2, 1], rates)


@pytest.mark.parametrize(
    ("rates", "on_each", "tried"),
    [
        ({2: 10.0, 4: 18.0, 8: 19.0}, 2, [2, 4, 8]),  # no tenth more: no use in sixteen
        ({2: 10.0, 4: 0.0}, 1, [2, 4]),  # two do not fit into one's memory
        ({2: 10.0, 4: 20.0, 8: 40.0}, 4, [2, 4, 8]),  # a core for each
    ],
)
def test_more_are_put_on_a_gpu_as_long_as_more_gets_done_and_they_fit(
    rates: dict[int, float], on_each: int, tried: list[int], trials: list[Trial], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = playing(rates, monkeypatch)
    assert rehearse(trials[0], WORK, Resources(gpus=("0", "1"))).resources.trials_per_gpu == on_each
    assert asked == tried


def test_where_none_can_be_tried_it_says_why(trials: list[Trial], monkeypatch: pytest.MonkeyPatch) -> None:
    playing({}, monkeypatch)
    with pytest.raises(StudyError, match=r"no number of workers could be tried: no memory"):
        rehearse(trials[0], WORK, Resources())


def test_nothing_is_tried_where_nothing_is_to_be_trained(
    trials: list[Trial], known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where the number that was given is the one that matters."""
    tried = playing({8: 1.0}, monkeypatch)
    planner = Planner(load(paths.study("smoke"), known), known, paths.data)
    keys = {trial.key for trial in trials}
    again = Plan(trials, keys, dict.fromkeys(keys, Asked(("psnr",))), {}, 0, {})
    todo = Plan(trials, set(), {}, {}, 0, {})
    for plan, asked in ((again, ("auto", "auto")), (todo, (3, "auto"))):
        found = rehearsed(planner, plan, None, Resources(workers=3), *asked)
        assert (found.resources.workers, found.rates, tried) == (3, {}, [])


def test_the_longest_of_each_seed_begins(trials: list[Trial]) -> None:
    plan = Plan(list(trials), set(), {}, {}, 0, {})
    small, large = trials[0].configuration, trials[1].configuration
    longest_first(plan, {small: 1.0, large: 9.0})
    assert [(trial.seed, trial.configuration) for trial in plan.trials] == [
        (s, c) for s in (0, 1) for c in (large, small)
    ]


def test_a_rehearsal_trains_in_processes_of_its_own_and_leaves_no_trace(
    trials: list[Trial], paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearsal, "cores", lambda: 2)
    found = rehearse(trials[0], Rehearsal(paths.data, None), Resources())
    assert set(found.rates) == {1, 2}
    assert all(rate > 0 for rate in found.rates.values())
    assert not paths.data.exists()
    assert [each.name for each in paths.store.iterdir()] == ["mlflow.db"]
    broken = replace(trials[0], dataset="nosuch")
    with pytest.raises(StudyError, match=r"no number of workers could be tried: .*nosuch"):
        rehearse(broken, Rehearsal(paths.data, None), Resources())


def test_auto_is_told_and_used_and_a_word_that_is_none_refused(inside: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    playing({8: 10.0, 4: 30.0, 2: 20.0, 1: 10.0}, monkeypatch)
    said = CliRunner().invoke(main, ["run", "study", "smoke", "--workers", "auto", "--dry-run"])
    assert said.exit_code == 0, said.output
    assert (
        "4 at a time; batches a second of all together by how many there are: 1: 10, 2: 20, 4: 30, 8: 10" in said.output
    )
    assert "with 4 at a time" in said.output
    known = CliRunner().invoke(
        main, ["run", "study", "smoke", "--workers", "3", "--trials-per-gpu", "auto", "--dry-run"]
    )
    assert "batches a second" not in known.output  # there is no GPU
    assert "with 3 at a time" in known.output
    ray = CliRunner().invoke(main, ["run", "study", "smoke", "--workers", "auto", "--executor", "submitit"])
    assert ray.exit_code == 2
    assert "the executor submitit shares its machines out itself; it must be a number" in ray.output
    assert CliRunner().invoke(main, ["run", "study", "smoke", "--workers", "some"]).exit_code == 2
