"""How many trials at a time get most done here: the one that takes longest, for a few seconds, so many times at once."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from bench import registry
from bench.executors import Resources
from bench.run.plan import Plan, Planner
from bench.run.probe import few, probe
from bench.run.resources import AUTO, cores
from bench.study.definition import Failure, StudyError, Trial
from bench.tracking.words import title

SECONDS = 4.0  # that each of those at once trains for
MOST_BATCHES = 1000
GAIN = 1.1  # times as much must be done by more at a time, whose memory is the price
MOST = 16  # trials on one GPU


@dataclass(frozen=True)
class Rehearsed:
    """What was found.

    Attributes:
        resources: those under which most gets done.
        rates: batches a second of all that ran at once, by their number; 0 where one of them failed.
    """

    resources: Resources
    rates: Mapping[int, float]


@dataclass(frozen=True)
class Rehearsal:
    """``work(trial)`` for an executor: a batch that does not count, and then as many as may fit into `SECONDS`; their rate."""

    data_dir: Path
    guests: Path | None

    def __call__(self, trial: Trial) -> Iterator[float]:
        """Batches a second."""
        from bench.optimizers import TrainingOptions
        from bench.run.worker import build, choose_device, load_data, use_threads
        from bench.training import train

        use_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        registry.visit(self.guests)
        data = load_data(trial, self.data_dir)
        options = replace(TrainingOptions.from_settings(trial.settings["training"]), epochs=1)
        model = build(trial, data.spec).to(choose_device())
        batches, size = 1, min(options.batch_size, len(data.train))
        for warm in (False, True):
            some = few(data, batches, size).to(model.device)
            began = time.monotonic()
            *_, _ = train(model, some, options, seed=trial.seed)
            took = time.monotonic() - began
            if warm:
                yield batches / took
            batches = max(1, min(MOST_BATCHES, round(SECONDS / took)))


def rehearsed(
    planner: Planner, plan: Plan, guests: Path | None, resources: Resources, *asked: int | str | None
) -> Rehearsed:
    """What gets most done of a plan, by its longest trial; the trials of each seed are put in order, the longest first.

    Args:
        asked: the number of workers and that of trials to a GPU as they were given, of which one or both are `AUTO`; the one that
            does not matter here, by whether there are GPUs to use, is not looked at.

    Raises:
        StudyError: none of the plan's trials can be trained.
    """
    if asked[bool(resources.gpus)] != AUTO or not (plan.todo or plan.proposals):
        return Rehearsed(resources, {})
    trials = plan.todo or list(planner.corners())
    seconds = probe(trials, planner, resources.slots).seconds
    longest_first(plan, seconds)
    longest = max(trials, key=lambda trial: seconds.get(trial.configuration, 0.0))
    return rehearse(longest, Rehearsal(planner.data_dir, guests), resources)


def rehearse(trial: Trial, work: Rehearsal, resources: Resources) -> Rehearsed:
    """Find the number of workers, or of trials to a GPU, under which most batches of ``trial`` are trained a second.

    On a processor every number of workers shares all cores out, from one for each core downwards by halves; on GPUs more are put
    on each as long as that gets a tenth more done, and fit.

    Raises:
        StudyError: it cannot be trained even once at a time.
    """
    rates: dict[int, float] = {}
    for candidate in _candidates(resources):
        number = candidate.slots
        rates[number], why = _rate(trial, work, candidate)
        before = max((rate for other, rate in rates.items() if other != number), default=0.0)
        if candidate.gpus and (not rates[number] or rates[number] < GAIN * before):
            break
    if not any(rates.values()):
        raise StudyError(f"{title(trial)}: no number of workers could be tried: {why}")
    # The fewest that come near the best: more hold more memory.
    fewest = min(number for number, rate in rates.items() if rate * GAIN >= max(rates.values()))
    return Rehearsed(next(each for each in _candidates(resources) if each.slots == fewest), rates)


def longest_first(plan: Plan, seconds: Mapping[str, float]) -> None:
    """Let the trials of a seed begin with those that take longest, by ``seconds`` for each configuration."""
    places = {place: n for n, place in enumerate(dict.fromkeys((t.dataset, t.seed) for t in plan.trials))}
    plan.trials.sort(key=lambda t: (places[t.dataset, t.seed], -seconds.get(t.configuration, 0.0)))


def _candidates(resources: Resources) -> Iterator[Resources]:
    if resources.gpus:
        number = 1
        while number <= MOST and number * len(resources.gpus) <= max(cores(), len(resources.gpus)):
            yield replace(resources, trials_per_gpu=number)
            number *= 2
        return
    number = cores()
    while number >= 1:
        yield replace(resources, workers=number)
        number //= 2


def _rate(trial: Trial, work: Rehearsal, resources: Resources) -> tuple[float, str]:
    """Batches a second of as many as there are slots, and why one failed, if one did."""
    rates, once = list[float](), iter([replace(trial) for _ in range(resources.slots)])
    with closing(registry.load("executors", "local").run(once, work, resources)) as events:
        for _, event in events:
            if isinstance(event, Failure):
                return 0.0, event.reason
            rates.append(event)
    return sum(rates), ""
