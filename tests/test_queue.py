"""The queue: what is next, what a dead driver left, what a search counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from bench.run.queue import ATTEMPTS, Queue, Search, open_storage
from bench.score import Metric
from bench.study.definition import SECTIONS, Range, Trial

LOSS = Metric("test_loss", "lower")


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


def test_trials_come_in_their_order_once(storage: RDBStorage) -> None:
    line = queue(storage)
    line.enqueue([trial(0), trial(1), trial(2)])
    assert [line.next(), line.next(), line.next(), line.next()] == [trial(0), trial(1), trial(2), None]
    before = line.open
    for seed in range(3):
        line.tell(trial(seed), float(seed))
    assert (before, line.open) == (True, False)
    assert states(storage) == [TrialState.COMPLETE] * 3


def test_what_a_dead_driver_left_is_closed_and_can_run_again(storage: RDBStorage) -> None:
    dead = queue(storage)
    dead.enqueue([trial(0), trial(1), trial(2)])
    dead.next()
    dead.next()
    again = queue(storage, finished={trial(1).key: 7.0})
    assert states(storage)[:2] == [TrialState.FAIL, TrialState.COMPLETE]
    again.enqueue([trial(0), trial(2)])
    assert [again.next(), again.next(), again.next()] == [trial(0), trial(2), None]  # the interrupted one first
    again.tell(trial(0), 1.0)
    again.tell(trial(2), 1.0)
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
    queue(storage).enqueue([trial(0), trial(1)])
    line = queue(storage)
    line.enqueue([trial(1)])
    assert line.next() == trial(1)
    assert line.next() is None
    assert states(storage)[0] == TrialState.FAIL


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


SPACE = {"latent_dim": Range(2, 64), "rate": Range(1e-4, 1e-2, log=True), "hidden_dims": ([16], [32, 8])}


def search(storage: RDBStorage, total: int, space: Any = SPACE, finished: Any = None) -> Search:
    return Search(storage, "s", LOSS, finished or {}, space=space, total=total, propose=lambda cell: trial(0, **cell))


def test_a_search_proposes_its_total_over_all_invocations(storage: RDBStorage) -> None:
    first = search(storage, 5)
    for value in range(3):
        proposed = first.next()
        assert proposed is not None
        first.tell(proposed, float(value))
    second = search(storage, 5)
    rest = [second.next(), second.next(), second.next()]
    assert rest[2] is None
    for proposed in rest[:2]:
        assert proposed is not None
        second.tell(proposed, 9.0)
    assert not second.open
    assert not search(storage, 5).open


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
        proposals.tell(proposed, float(proposed.settings["params"]["latent_dim"]))
    assert len(run) == len(set(run)) == 2
    assert not proposals.open


def test_the_best_come_first_and_once(storage: RDBStorage) -> None:
    proposals = search(storage, 6)
    values = [5.0, 1.0, 3.0, 2.0, 4.0, 6.0]
    proposed = []
    for value in values:
        each = proposals.next()
        assert each is not None
        proposals.tell(each, value)
        proposed.append(each)
    assert [best.key for best in proposals.best(3)] == [proposed[1].key, proposed[3].key, proposed[2].key]


def test_a_trial_that_falls_behind_its_peers_is_given_up(storage: RDBStorage) -> None:
    proposals = search(storage, 7)
    for _ in range(5):
        good = proposals.next()
        assert good is not None
        assert not any(proposals.report(good, epoch, 1.0) for epoch in range(1, 6))
        proposals.tell(good, 1.0)
    bad = proposals.next()
    assert bad is not None
    assert [proposals.report(bad, epoch, 100.0) for epoch in range(1, 4)] == [False, False, True]
    proposals.tell(bad, None, pruned=True)
    assert states(storage, "s")[-1] == TrialState.PRUNED
