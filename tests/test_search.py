"""Searches through the driver, with an executor that plays trials whose values are known beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from typing import Any

import optuna
import pytest
from optuna.study import StudyDirection

from bench.checkpoint import Progress
from bench.executors import Resources, local
from bench.paths import Paths
from bench.report.selection import selected
from bench.run.driver import Driver, Outcome
from bench.run.proposals import BLANK, ENOUGH, importances
from bench.run.worker import Epoch, Finished, Started
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Range, Study, StudyError, Trial
from bench.study.file import build
from bench.tracking.store import Store

EPOCHS = 5
Play = Callable[..., Generator[tuple[Trial, Any], bool | None, None]]


def playing(metric: str, values: Callable[[Trial], float | None]) -> Play:
    """An executor's ``run`` under which every trial's ``metric``, and its held-out loss after every epoch, is its value.

    Where that is None, the metric is blank.
    """

    def run(
        trials: Iterator[Trial | None], work: Any, resources: Resources
    ) -> Generator[tuple[Trial, Any], bool | None, None]:
        for trial in trials:
            assert trial is not None
            value = values(trial)
            yield trial, Started(1, {"code": "of before"}, {"sha256": "0" * 64})
            for epoch in range(EPOCHS + 1):
                if (yield trial, Epoch(Progress(epoch, {}, {}, {"loss": value or 0.0}, 1.0, 1.0, 1.0), {})):
                    break
            else:
                yield trial, Finished({metric: Score(value, "" if value is not None else "nothing to see")}, {})

    return run


def search(
    known: Catalogue,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    values: Callable[[Trial], float | None],
    hidden_dims: tuple[int, ...] = (512,),
    most: int = 1000,
    name: str = "search",
    **options: bool,
) -> Outcome:
    """Seven proposals of a latent dimension up to ``most``, the best two confirmed over one seed."""
    monkeypatch.setattr(local, "run", playing(metric, values))
    study = searching(known, paths, metric, hidden_dims, most, name)
    with Driver(study, known, paths, "test") as driver:
        for _ in driver.run(driver.plan(**options), "local", Resources()):
            pass
        return driver.outcome


def searching(
    known: Catalogue,
    paths: Paths,
    metric: str,
    hidden_dims: tuple[int, ...] = (512,),
    most: int = 1000,
    name: str = "search",
) -> Study:
    tables = {
        "question": "Which?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": [metric],
        "trials": 7,
        "params": {"hidden_dims": list(hidden_dims)},
        "confirm": {"top": 2, "seeds": 1},
        "vary": {"latent_dim": {"low": 2, "high": most}},
    }
    return build(tables, paths.study(name), known)


def reported(study: Study, known: Catalogue, paths: Paths) -> Any:
    """The runs that a report of the study is of."""
    return selected(study, known, Store(paths.store, paths.tracking, study.name, "", create=False).table())


def dimension(trial: Trial) -> float:
    return float(trial.settings["params"]["latent_dim"])


def directions(paths: Paths) -> set[StudyDirection]:
    storage = optuna.storages.RDBStorage(paths.queue)
    return {direction for study in storage.get_all_studies() for direction in study.directions}


@pytest.mark.parametrize(
    ("metric", "best", "direction"),
    [("psnr", max, StudyDirection.MAXIMIZE), ("reconstruction_mse", min, StudyDirection.MINIMIZE)],
)
def test_a_search_keeps_what_is_best_in_its_metrics_direction(
    known: Catalogue,
    paths: Paths,
    monkeypatch: pytest.MonkeyPatch,
    metric: str,
    best: Callable[..., float],
    direction: StudyDirection,
) -> None:
    outcome = search(known, paths, monkeypatch, metric, dimension)
    assert directions(paths) == {direction}
    proposed = [dimension(trial) for trial in outcome.finished if trial.held_out == "validation"]
    confirmed = [dimension(trial) for trial in outcome.finished if trial.held_out == "test"]
    assert len(set(proposed)) == 7
    first = best(proposed)
    assert confirmed == [first, best(value for value in proposed if value != first)]
    assert not outcome.pruned  # no loss is this metric, so none says that a trial falls behind


def test_a_search_gives_up_the_worse_proposal_and_not_the_better(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five at a loss of 1; then one at 100, which is above their median, and one at 0.01, which is below it."""
    losses: dict[str, float] = {}

    def loss(trial: Trial) -> float:
        return losses.setdefault(trial.key, [*[1.0] * 5, 100.0, 0.01, 1.0, 1.0][len(losses)])

    outcome = search(known, paths, monkeypatch, "test_loss", loss)
    assert [losses[trial.key] for trial in outcome.pruned] == [100.0]
    assert losses[outcome.finished[5].key] == 0.01
    assert outcome.finished[6].varied == outcome.finished[5].varied  # and so it is the first to be confirmed
    table = Store(paths.store, None, "search", "", create=False).table()
    pruned = table[table["state"] == "pruned"]
    assert pruned["key"].tolist() == [outcome.pruned[0].key]
    assert pruned["reason"].tolist() == ["not worth going on with after epoch 3"]


def test_a_search_that_may_not_prune_lets_the_worse_proposal_end(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric that no epoch's loss stands for is not followed while a trial trains, however bad the loss."""
    outcome = search(known, paths, monkeypatch, "fd_classifier", lambda trial: dimension(trial) ** 3)
    assert len(outcome.finished) == 9
    assert not outcome.pruned


def test_a_search_says_what_it_knows_of_other_code_and_tries_nothing_again(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven proposals and the two that confirm them; those of other settings are another search's."""
    assert not search(known, paths, monkeypatch, "psnr", dimension).notes
    told = "trained with other code of vae than there is now: 9 of the finished trials"
    for rerun_changed in (False, True):
        again = search(known, paths, monkeypatch, "psnr", dimension, rerun_changed=rerun_changed)
        assert again.notes == [told]
        assert not again.finished
    assert not search(known, paths, monkeypatch, "psnr", dimension, hidden_dims=(16,)).notes
    monkeypatch.setattr("bench.run.earlier.code_of", lambda model, dataset: "of before")
    assert not search(known, paths, monkeypatch, "psnr", dimension).notes


def test_a_search_whose_range_has_become_narrower_goes_on_from_what_lies_within(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = search(known, paths, monkeypatch, "psnr", dimension)
    before = [dimension(trial) for trial in first.finished if trial.held_out == "validation"]
    narrower = int(sorted(before)[3])  # four of seven lie within
    again = search(known, paths, monkeypatch, "psnr", dimension, most=narrower)
    proposed = [dimension(trial) for trial in again.finished if trial.held_out == "validation"]
    assert len(proposed) == 3
    assert max(proposed) <= narrower
    of_now = reported(searching(known, paths, "psnr", most=narrower), known, paths)
    assert sorted(of_now.loc[of_now["split"] == "validation", "param.latent_dim"].map(int)) == sorted(
        dim for dim in map(int, (*before, *proposed)) if dim <= narrower
    )
    assert len(reported(searching(known, paths, "psnr"), known, paths)) == len(first.finished) + len(again.finished)
    assert len(reported(searching(known, paths, "psnr", hidden_dims=(256,)), known, paths)) == 0
    assert not list(paths.store.glob("optuna.db.damaged-*"))


def test_a_search_without_its_objective_is_stopped_early(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seven trials would find nothing; one that has it is enough to go on."""
    once = iter([None, None, 5.0, *[None] * 20])
    assert len(search(known, paths, monkeypatch, "psnr", lambda trial: next(once)).finished) == 7 + 1
    none = search(known, paths, monkeypatch, "ssim", lambda trial: None, hidden_dims=(256,))
    assert len(none.finished) == BLANK
    assert none.broken == (
        "the search was stopped, since ssim, by which it chooses, is blank of every trial so far: nothing to see"
    )


def test_a_search_takes_another_ones_runs_where_they_have_what_it_looks_for_and_trains_its_own_else(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next proposal follows from the value, which a run of another objective has not."""
    search(known, paths, monkeypatch, "psnr", dimension)
    same = search(known, paths, monkeypatch, "psnr", dimension, name="same")
    assert not same.finished
    assert sum("finished in study search" in note for note in same.notes) == 7 + 2
    other = search(known, paths, monkeypatch, "ssim", dimension, name="other")
    assert len(other.finished) == 7 + 2
    assert not other.broken


def test_what_smoke_sets_need_not_lie_in_what_is_searched(known: Catalogue, paths: Paths) -> None:
    """``--smoke`` trains for one epoch, of however many are drawn."""
    tables = {
        "question": "Which?",
        "source": "none",
        "model": "vae",
        "datasets": ["digits"],
        "metrics": ["psnr"],
        "trials": 3,
        "vary": {"epochs": {"low": 5, "high": 50}},
        "smoke": {"training": {"epochs": 1}},
    }
    whole, smoke = (build(tables, paths.study("x"), known, smoke=smoke) for smoke in (False, True))
    assert whole.tries(known, "digits", 0, {"epochs": 5})
    assert not whole.tries(known, "digits", 0, {"epochs": 1})
    assert smoke.tries(known, "digits", 0, {"epochs": 1})


def test_a_search_for_what_a_model_cannot_have_is_refused(
    known: Catalogue, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "search: latent_dim=2 on digits: test_error is what the search looks for, and vae is not something that classifies"
    with pytest.raises(StudyError, match=message):
        search(known, paths, monkeypatch, "test_error", dimension)


def test_what_mattered_is_what_the_objective_hangs_on() -> None:
    """Of two settings one decides: it explains all but what a forest of few points leaves to chance."""
    widths: tuple[Any, ...] = (1, 2, [3, 4])
    space: dict[str, tuple[Any, ...] | Range] = {"rate": Range(0.0, 1.0), "width": widths}
    cells = [{"rate": json.dumps(n / 19), "width": json.dumps(widths[n % 3])} for n in range(20)]
    values = [(n / 19) ** 2 for n in range(20)]
    found = importances(space, cells, values)
    assert list(found) == ["rate", "width"]
    assert sum(found.values()) == pytest.approx(1)
    assert found["rate"] > 0.9
    assert importances(space, cells, values) == found
    assert importances(space, cells[:ENOUGH], values[:ENOUGH])
    assert importances(space, cells[: ENOUGH - 1], values[: ENOUGH - 1]) == {}
    assert importances(space, cells, [1.0] * 20) == {}
