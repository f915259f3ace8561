"""What `bench run` says before it begins, and all that `--dry-run` does: every trial, and how long it may take."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from bench.cli.layout import table, terminal, wrapped
from bench.cli.remaining import clock
from bench.cli.study_page import space
from bench.tracking.words import title

if TYPE_CHECKING:
    from bench.executors import Resources
    from bench.run.driver import Driver
    from bench.run.plan import Plan
    from bench.study.definition import Study, Trial


def announce(study: Study, plan: Plan) -> str:
    """What there is to do, in a line."""
    if study.is_search:
        text = f"{study.name}: a search over {', '.join(study.vary)}, {plan.proposals} configurations in all"
        return f"{text}, then {plan.confirmations} trials to confirm the best" if plan.confirmations else text
    words = [f"{study.name}: {len(plan.trials)} trials"]
    if same := study.count - len(plan.trials):
        words[0] += f" (not {study.count}: under these settings {same} would be the same as others)"
    if plan.done:
        words.append(f"{len(plan.done)} finished already" + _where(plan))
    if plan.outdated:
        words.append(f"{len(plan.outdated)} of them with other code")
    words.append(f"{len(plan.todo)} to train" if plan.todo else "nothing to train")
    if plan.again:
        words.append(f"{len(plan.again)} to measure again")
    return ", ".join(words)


def _where(plan: Plan) -> str:
    """The other studies that have finished some of them."""
    counts = Counter(record.study for record in plan.borrowed.values())
    return f" ({', '.join(f'{count} in study {study}' for study, count in sorted(counts.items()))})" if counts else ""


def describe(study: Study, plan: Plan, driver: Driver, resources: Resources) -> None:
    """Print the whole plan: a line per trial, or the space of a search, and how long it may take."""
    lines = [*wrapped(announce(study, plan), terminal(), "  "), *(space(study) if study.is_search else ())]
    rows = []
    for trial in plan.trials:
        record = driver.records.get(trial.key)
        waiting = record.state if record else "to run"
        state = "finished" if trial.key in plan.done else waiting
        state += " with other code" if trial.key in plan.outdated else ""
        rows.append((title(trial), f"{plan.parameters[trial.key]:,} parameters", trial.key, state))
    click.echo("\n".join([*lines, *(table(rows, terminal(), numbers=[1]) if rows else ())]))
    if plan.todo or study.is_search:
        for line in wrapped(_time(study, plan, driver, resources), terminal(), "  "):
            click.echo(line)


def _time(study: Study, plan: Plan, driver: Driver, resources: Resources) -> str:
    """How long the rest may take: by earlier runs like these, or else by a few batches of each configuration."""
    from statistics import fmean

    from bench.run.earlier import tried

    planner = driver.planner
    past = tried(study, planner.catalogue, driver.records, planner.fingerprint) if study.is_search else []
    number = len(plan.todo) or plan.proposals + plan.confirmations - len(past)
    if number <= 0:
        return "nothing is left to try"
    known = [plan.seconds[trial.key] for trial in plan.todo if trial.key in plan.seconds]
    known += [record.seconds for record in past if record.state == "finished"]
    at_a_time = min(resources.slots, number)
    if known:
        minutes = fmean(known) * number / at_a_time / 60
        return f"about {minutes:.1f} minutes with {at_a_time} at a time, by {len(known)} earlier runs like these"
    from bench.run.probe import probe

    trials: list[Trial] = plan.todo or list(driver.planner.corners())
    found = probe(trials, driver.planner, resources.slots)
    if not found.tried:
        return f"no earlier run like these to estimate the time from, and no batch could be timed: {found.reason}"
    seconds = fmean(found.seconds[trial.configuration] for trial in trials) * number / at_a_time
    of = "1 configuration" if found.tried == 1 else f"{found.tried} configurations"
    return (
        f"about {clock(seconds)} to train with {at_a_time} at a time: an estimate from {found.batches} batches of {of}, without "
        "the measures at the end, since no run like these has finished yet"
    )
