"""What a search tries next, sampled with TPE: so many configurations in total, not per invocation."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial, TrialState

from bench.run.outcome import Stopped
from bench.run.queue import Queue, Storage
from bench.score import Metric, Score
from bench.study.definition import Cell, Range, Trial

ENOUGH = 8  # proposals that importances are told from
BLANK = 3  # proposals without their objective after which a search gives up: one alone may have come out as infinite


@dataclass(frozen=True)
class Past:
    """A proposal that was tried, as its run tells.

    Attributes:
        state: ``finished``, ``pruned``, ``failed`` or ``interrupted``.
        value: of the objective.
        losses: on held-out images, by epoch.
    """

    trial: Trial
    state: str
    value: float | None
    losses: Mapping[int, float] = field(default_factory=dict)


class Search(Queue):
    """A queue that proposes its own trials until ``total`` configurations have been tried.

    Every proposal is drawn from a seed of its own number, so that it hangs on that and on what was told of those before it: an
    interrupted search proposes what an undisturbed one would.
    """

    def __init__(
        self,
        storage: Storage,
        name: str,
        objective: Metric,
        finished: Mapping[str, float | None],
        *,
        space: Mapping[str, tuple[Any, ...] | Range],
        total: int,
        propose: Callable[[Cell], Trial],
        prune: bool = True,
    ) -> None:
        """Open the queue ``name``.

        Args:
            propose: makes the trial of a point of ``space``.
            prune: give up trials whose held-out loss, which is the objective then, lies behind that of the others.
        """
        super().__init__(storage, name, objective, finished)
        self._distributions = {setting: _distribution(values) for setting, values in space.items()}
        self._total = total
        self._propose = propose
        self._prune = prune
        self._blank = 0  # of what finished since it was opened
        self._followed: dict[int, optuna.Trial] = {}  # by ID, those whose losses Optuna is told
        frozen = self._frozen()
        self._seen = {each.user_attrs["key"] for each in frozen if "key" in each.user_attrs}
        for each in frozen:
            if each.state == TrialState.WAITING and "trial" in each.user_attrs:
                self._wanted[each.user_attrs["key"]] = Trial.from_dict(json.loads(each.user_attrs["trial"]))
        for each in (*self._interrupted(), *self._unstored()):
            # An interrupted configuration is the same configuration: it goes on where its checkpoint stands.
            params = {**each.system_attrs.get("fixed_params", {}), **each.params}
            trial = Trial.from_dict(json.loads(each.user_attrs["trial"]))
            self._enqueue(trial, params, each.user_attrs.get("attempt", 1))

    def _unstored(self) -> list[FrozenTrial]:
        """What was told here as finished before it could be written down as a run, and then never was."""
        done = (each for each in self._last() if each.state == TrialState.COMPLETE)
        return [each for each in done if "trial" in each.user_attrs and each.user_attrs["key"] not in self._finished]

    @property
    def known(self) -> frozenset[str]:
        """The keys of all that was proposed."""
        return frozenset(self._seen)

    def remember(self, past: Iterable[Past]) -> None:
        """Take in proposals that are not known here any more, in their order: the queue's database was lost, say."""
        for each in past:
            trial, value = each.trial, each.value
            cell = {name: _internal(trial.varied[name], self._distributions[name]) for name in self._distributions}
            states = {"finished": TrialState.COMPLETE if value is not None else TrialState.FAIL}
            try:
                tried = optuna.trial.create_trial(
                    state={**states, "pruned": TrialState.PRUNED}.get(each.state, TrialState.FAIL),
                    value=value if each.state == "finished" else None,
                    params=cell,
                    distributions=self._distributions,
                    user_attrs={"key": trial.key, "trial": json.dumps(trial.as_dict())},
                    intermediate_values=dict(each.losses),
                )
            except ValueError:  # outside of the space, which was wider once: no proposal of this search
                continue
            self._seen.add(trial.key)
            if each.state == "interrupted":
                self._enqueue(trial, cell, 1, again=False)
                continue
            self._study.add_trial(tried)

    def next(self) -> Trial | None:
        """A trial that is to be tried again, or else a new proposal, up to the total."""
        waiting = super().next()
        while waiting is None and self.tried < self._total:
            asked = self._ask()
            cell = {name: _external(asked.params[name], each) for name, each in self._distributions.items()}
            trial = self._propose(cell)
            asked.set_user_attr("trial", json.dumps(trial.as_dict()))
            asked.set_user_attr("key", trial.key)
            if trial.key in self._running:
                self._study.tell(asked, state=TrialState.PRUNED)
            elif self._finished.get(trial.key) is not None:  # drawn before, in a space small enough for that
                self._study.tell(asked, self._finished[trial.key])
            elif trial.key in self._seen:
                self._study.tell(asked, state=TrialState.FAIL)
            else:
                self._seen.add(trial.key)
                self._running[trial.key] = asked._trial_id
                return trial
        return waiting

    def report(self, trial: Trial, epoch: int, loss: float) -> bool:
        """Tell the held-out loss; True where the median of the others at this epoch is better than the best so far."""
        if not self._prune:
            return False
        asked = self._running[trial.key]
        if asked not in self._followed:
            self._followed[asked] = optuna.Trial(self._study, asked)
        self._followed[asked].report(loss, epoch)
        return bool(self._followed[asked].should_prune())

    def tell(self, trial: Trial, objective: Score | None, *, pruned: bool = False) -> None:
        """Close ``trial``; where the objective is blank of all that finished, the last's reason stops the search after a few."""
        super().tell(trial, objective, pruned=pruned)
        if objective and objective.value is None:
            self._blank += 1
            if self._blank == BLANK and not self._frozen(TrialState.COMPLETE):
                raise Stopped(
                    f"the search was stopped, since {self._objective.name}, by which it chooses, is blank of every trial so far: "
                    f"{objective.reason}"
                )

    @property
    def open(self) -> bool:
        """Whether a trial is waiting, running or yet to be proposed."""
        return super().open or self.tried < self._total

    def best(self, top: int) -> list[Trial]:
        """The ``top`` finished configurations, the best first."""
        sign = self._objective.sign
        done = sorted(self._frozen(TrialState.COMPLETE), key=lambda frozen: sign * float(frozen.value or 0.0))
        trials = {t.user_attrs["key"]: Trial.from_dict(json.loads(t.user_attrs["trial"])) for t in done}
        return list(trials.values())[:top]

    def _ask(self) -> optuna.Trial:
        """The trial in front of the line, or a proposal, its settings drawn."""
        seed = hashlib.sha256(f"proposal {self.tried}".encode()).digest()
        self._study.sampler = optuna.samplers.TPESampler(seed=int.from_bytes(seed[:4], "big"))
        return self._study.ask(fixed_distributions=self._distributions)

    @property
    def tried(self) -> int:
        """Configurations proposed so far; a second attempt at one is not a second configuration."""
        told = [each.user_attrs for each in self._frozen() if "key" in each.user_attrs]
        return sum(not each.get("again") and each.get("attempt", 1) == 1 for each in told)


def importances(
    space: Mapping[str, tuple[Any, ...] | Range], cells: Iterable[Mapping[str, str]], values: Iterable[float]
) -> dict[str, float]:
    """How much of the objective's variance over ``space`` each setting explains: shares that sum to 1, the largest first.

    By a functional ANOVA over a forest (Hutter et al., An Efficient Approach for Assessing Hyperparameter Importance, 2014,
    https://proceedings.mlr.press/v32/hutter14.html), Optuna's own.

    Args:
        cells: the settings of finished proposals as JSON texts.

    Returns:
        Nothing from fewer than `ENOUGH` proposals, or where there is no variance.
    """
    distributions = {setting: _distribution(of) for setting, of in space.items()}
    study = optuna.create_study()
    for cell, value in zip(cells, values, strict=True):
        params = {name: _internal(json.loads(cell[name]), each) for name, each in distributions.items()}
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=value))
    if len(study.trials) < ENOUGH or len({trial.value for trial in study.trials}) < 2:
        return {}
    return optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))


def _distribution(values: tuple[Any, ...] | Range) -> BaseDistribution:
    """What one setting is drawn from; a choice by its JSON text, since Optuna keeps no lists."""
    if not isinstance(values, Range):
        return CategoricalDistribution([json.dumps(value) for value in values])
    if values.integer:
        return IntDistribution(int(values.low), int(values.high), log=values.log)
    return FloatDistribution(values.low, values.high, log=values.log)


def _internal(value: Any, distribution: BaseDistribution) -> Any:
    return json.dumps(value) if isinstance(distribution, CategoricalDistribution) else value


def _external(value: Any, distribution: BaseDistribution) -> Any:
    return json.loads(value) if isinstance(distribution, CategoricalDistribution) else value
