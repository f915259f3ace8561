"""The queue: what is next, what a dead driver left, what a search counts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import TrialState

from bench.run.proposals import Search
from bench.run.queue import ATTEMPTS, Queue, open_storage
from bench.run.trial_queue import Again, TrialQueue
from bench.score import Metric, Score
from bench.study.definition import SECTIONS, Range, Trial

LOSS, HIGHER = Metric("test_loss", "lower"), Metric("psnr", "higher")


@pytest.fixture
def storage(tmp_path: Path) -> RDBStorage:
    return open_storage(f"sqlite:///{tmp_path}/deep/optuna.db")


def trial(seed: int, **params: Any) -> Trial:
    settings: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS} | {"params": params}
    return Trial("v", "vae", "digits", seed, settings, varied=params)


def queue(storage: RDBStorage, finished: dict[str, float | None] | None = None) -> Queue:
    return Queue(storage, "q", LOSS, finished or {})


def states(storage: RDBStorage, name: str = "q") -> list[TrialState]:
    return [t.state for t in optuna.load_study(study_name=name, storage=storage).trials]


def test_what_an_address_says_beside_its_file_is_no_part_of_the_name(tmp_path: Path) -> None:
    open_storage(f"sqlite:///{tmp_path}/deep/optuna.db?timeout=5")
    assert [file.name for file in (tmp_path / "deep").glob("optuna*")] == ["optuna.db"]


def test_trials_come_in_their_order_once(storage: RDBStorage) -> None:
    line = queue(storage)
    line.enqueue([trial(0), trial(1), trial(2)])
    assert [line.next(), line.next(), line.next(), line.next()] == [trial(0), trial(1), trial(2), None]
    before = line.open
    for seed in range(3):
        line.tell(trial(seed), Score(float(seed)))
    assert (before, line.open) == (True, False)
    assert states(storage) == [TrialState.COMPLETE] * 3


def test_what_waits_costs_nothing_until_it_begins(storage: RDBStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were it told to Optuna before, every question for the next would read all that waits."""
    told: list[str] = []

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            told.append(name)
            return real(*args, **options)

        return call

    for name in ("create_new_trial", "set_trial_state_values", "set_trial_user_attr"):
        monkeypatch.setattr(RDBStorage, name, counted(name, getattr(RDBStorage, name)))
    line = queue(storage)
    line.enqueue([trial(seed) for seed in range(100)])
    assert told == []
    for seed in range(3):
        assert line.next() == trial(seed)
        line.tell(trial(seed), Score(1.0))
    assert told == ["create_new_trial", "set_trial_state_values"] * 3
    assert len(states(storage)) == 3


def test_what_a_dead_driver_left_is_closed_and_can_run_again(storage: RDBStorage) -> None:
    dead = queue(storage)
    dead.enqueue([trial(0), trial(1), trial(2)])
    dead.next()
    dead.next()
    again = queue(storage, finished={trial(1).key: 7.0})
    assert states(storage)[:2] == [TrialState.FAIL, TrialState.COMPLETE]
    again.enqueue([trial(0), trial(2)])
    assert [again.next(), again.next(), again.next()] == [trial(0), trial(2), None]  # the interrupted one first
    again.tell(trial(0), Score(1.0))
    again.tell(trial(2), Score(1.0))
    assert TrialState.RUNNING not in states(storage)
    assert states(storage).count(TrialState.COMPLETE) == 3


def test_an_interrupted_trial_goes_before_those_that_wait_and_a_retry_stays_one(storage: RDBStorage) -> None:
    dead = queue(storage)
    dead.enqueue([trial(seed) for seed in range(4)])
    assert [dead.next(), dead.next()] == [trial(0), trial(1)]
    assert dead.retry(trial(0))
    again = queue(storage)
    again.enqueue([trial(seed) for seed in range(4)])
    assert [again.next() for _ in range(5)] == [trial(1), trial(0), trial(2), trial(3), None]
    assert again.retry(trial(0)) == (ATTEMPTS > 2)


def test_what_an_earlier_invocation_queued_and_this_one_does_not_want_is_passed_over(storage: RDBStorage) -> None:
    earlier = queue(storage)
    earlier.enqueue([trial(0), trial(1)])
    for seed in range(2):
        earlier.next()
        earlier.retry(trial(seed))
    assert states(storage) == [TrialState.FAIL, TrialState.WAITING] * 2
    line = queue(storage)
    line.enqueue([trial(1)])
    assert line.next() == trial(1)
    assert line.next() is None
    assert states(storage) == [TrialState.FAIL] * 4 + [TrialState.RUNNING]
    assert line.retry(trial(1))  # its second attempt
    assert line.next() == trial(1)
    assert not line.retry(trial(1))


def test_a_trial_is_retried_at_the_end_of_the_line_and_not_for_ever(storage: RDBStorage) -> None:
    line = queue(storage)
    line.enqueue([trial(0), trial(1)])
    assert line.next() == trial(0)
    assert line.retry(trial(0))
    assert line.next() == trial(1)
    for _ in range(ATTEMPTS - 2):
        assert line.next() == trial(0)
        assert line.retry(trial(0))
    assert line.next() == trial(0)
    assert not line.retry(trial(0))
    assert states(storage).count(TrialState.FAIL) == ATTEMPTS


SPACE: dict[str, Any] = {
    "latent_dim": Range(2, 64),
    "rate": Range(1e-4, 1e-2, log=True),
    "hidden_dims": ([16], [32, 8]),
}


def search(storage: RDBStorage, total: int, space: Any = SPACE, finished: Any = None) -> Search:
    return searching(storage, LOSS, total, space, finished)


def searching(storage: RDBStorage, objective: Metric, total: int, space: Any = SPACE, finished: Any = None) -> Search:
    return Search(
        storage, "s", objective, finished or {}, space=space, total=total, propose=lambda cell: trial(0, **cell)
    )


def test_a_search_proposes_its_total_over_all_invocations(storage: RDBStorage) -> None:
    first = search(storage, 5)
    finished: dict[str, float] = {}
    for value in range(3):
        proposed = first.next()
        assert proposed is not None
        first.tell(proposed, Score(finished.setdefault(proposed.key, float(value))))
    second = search(storage, 5, finished=finished)
    rest = [second.next(), second.next(), second.next()]
    assert rest[2] is None
    for proposed in rest[:2]:
        assert proposed is not None
        second.tell(proposed, Score(finished.setdefault(proposed.key, 9.0)))
    assert not second.open
    assert not search(storage, 5, finished=finished).open


def test_proposals_lie_in_their_ranges_and_keep_their_types(storage: RDBStorage) -> None:
    proposals = search(storage, 12)
    for _ in range(12):
        proposed = proposals.next()
        assert proposed is not None
        params = proposed.settings["params"]
        assert isinstance(params["latent_dim"], int)
        assert 2 <= params["latent_dim"] <= 64
        assert 1e-4 <= params["rate"] <= 1e-2
        assert params["hidden_dims"] in ([16], [32, 8])


def test_an_interrupted_proposal_is_the_same_configuration_again(storage: RDBStorage) -> None:
    interrupted = search(storage, 3).next()
    again = search(storage, 3)
    assert again.next() == interrupted
    assert again.next() != interrupted
    again.next()
    assert again.next() is None


def test_a_configuration_drawn_twice_is_not_run_twice(storage: RDBStorage) -> None:
    space = {"latent_dim": (2, 3)}
    proposals = search(storage, 8, space)
    run = []
    while (proposed := proposals.next()) is not None:
        run.append(proposed.key)
        proposals.tell(proposed, Score(float(proposed.settings["params"]["latent_dim"])))
    assert len(run) == len(set(run)) == 2
    assert not proposals.open


@pytest.mark.parametrize("objective", [LOSS, HIGHER])
def test_optuna_is_told_the_direction(storage: RDBStorage, objective: Metric) -> None:
    searching(storage, objective, 1)
    Queue(storage, "q", objective, {})
    expected = {"lower": StudyDirection.MINIMIZE, "higher": StudyDirection.MAXIMIZE}[objective.better]
    assert [optuna.load_study(study_name=name, storage=storage).direction for name in "sq"] == [expected] * 2


@pytest.mark.parametrize(("objective", "order"), [(LOSS, [1, 3, 2]), (HIGHER, [5, 0, 4])])
def test_the_best_come_first_and_once(storage: RDBStorage, objective: Metric, order: list[int]) -> None:
    proposals = searching(storage, objective, 6)
    values = [5.0, 1.0, 3.0, 2.0, 4.0, 6.0]
    proposed = []
    for value in values:
        each = proposals.next()
        assert each is not None
        proposals.tell(each, Score(value))
        proposed.append(each)
    assert [best.key for best in proposals.best(3)] == [proposed[place].key for place in order]


@pytest.mark.parametrize(("objective", "worse", "better"), [(LOSS, 100.0, 0.01), (HIGHER, 0.01, 100.0)])
def test_a_trial_that_falls_behind_its_peers_is_given_up(
    storage: RDBStorage, objective: Metric, worse: float, better: float
) -> None:
    """After five peers at 1 and three epochs; one that is ahead of them is not."""
    proposals = searching(storage, objective, 7)
    for _ in range(5):
        good = proposals.next()
        assert good is not None
        assert not any(proposals.report(good, epoch, 1.0) for epoch in range(1, 6))
        proposals.tell(good, Score(1.0))
    bad = proposals.next()
    assert bad is not None
    assert [proposals.report(bad, epoch, worse) for epoch in range(1, 4)] == [False, False, True]
    proposals.tell(bad, None, pruned=True)
    assert states(storage, "s")[-1] == TrialState.PRUNED
    ahead = proposals.next()
    assert ahead is not None
    assert not any(proposals.report(ahead, epoch, better) for epoch in range(1, 6))


def test_what_may_not_be_given_up_is_not(storage: RDBStorage) -> None:
    """Neither a grid's trials, nor those of a search that does not prune, nor those that are only measured."""
    line = queue(storage)
    line.enqueue([trial(seed) for seed in range(7)])
    proposals = Search(storage, "s", LOSS, {}, space=SPACE, total=7, propose=lambda cell: trial(0, **cell), prune=False)
    queues: list[TrialQueue] = [line, proposals, Again([trial(seed) for seed in range(7)])]
    for each in queues:
        for value in (*[1.0] * 5, 100.0):
            running = each.next()
            assert running is not None
            assert not any(each.report(running, epoch, value) for epoch in range(1, 6))
            each.tell(running, Score(value))


def test_trials_are_measured_again_in_their_order_once_and_not_retried() -> None:
    again = Again([trial(0), trial(1)])
    assert not again.trains
    assert [again.next(), again.next(), again.next()] == [trial(0), trial(1), None]
    assert not again.retry(trial(1))
    assert again.open
    again.tell(trial(0), Score(1.0))
    assert not again.open
