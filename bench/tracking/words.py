"""What runs and studies say of themselves in MLflow's UI: names, notes, descriptions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bench.study.definition import Trial
from bench.study.naming import nickname
from bench.text import escaped
from bench.tracking.reach import asking
from bench.tracking.rows import TRAINED_IN

if TYPE_CHECKING:
    from bench.tracking.store import Store

NOTE = "mlflow.note.content"  # of a run or an experiment: Markdown that the UI shows beside its name
COLOUR = "mlflow.runColor"
ILLUSTRATED = "mlflow.loggedImages"  # of a run: it has pictures for the UI to lay out
UNTOLD = ("model", "dataset", "seed", "parameters")  # params that no note repeats
ANSWER = "answer"  # of an experiment: what its report says was found


@dataclass(frozen=True)
class Told:
    """What a study says of itself: its question, and what was found; empty where its claims were not judged."""

    question: str
    answer: str


def title(trial: Trial) -> str:
    """A run's name: what is compared, then what is repeated."""
    return f"{trial.variant}, seed {trial.seed}, {nickname(trial.dataset)}"


def settled(trial: Trial, chosen: Mapping[str, Any]) -> dict[str, str]:
    """A run's params: what was trained, on what and from which seed, and the ``chosen`` settings."""
    named = {"model": trial.model, "dataset": trial.dataset, "seed": trial.seed}
    params = {**named, **chosen, **named}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in params.items()}


def note(trial: Trial, study: str, chosen: Mapping[str, Any]) -> str:
    """A run's note: what was trained and how, and how it is named to be put to use.

    Args:
        chosen: its settings that are not the defaults, and those that its study varies; or all of its params.
    """
    epochs = trial.settings["training"]["epochs"]
    lines = [
        f"{trial.model} in the study {study}: trained on {nickname(trial.dataset)} for {epochs} epochs from seed {trial.seed}, "
        f"measured on {trial.held_out} images."
    ]
    settings = [f"{name} = {value}" for name, value in chosen.items() if name not in UNTOLD]
    if settings:
        lines.append(f"Other than by default: {', '.join(settings)}.")
    lines.append(f"To put it to use: bench apply APPLICATION {trial.key}")
    return "\n\n".join(map(escaped, lines))


def own_name(name: str, trial: Trial, tags: Mapping[str, str]) -> str:
    """What a run is called: by its title where its name is of an earlier version, or is of another study's variant."""
    borrowed = TRAINED_IN in tags and name.endswith(title(trial).removeprefix(trial.variant))
    return title(trial) if borrowed or name == trial.name else name


def present(store: Store, colours: Mapping[str, str], chosen: Callable[[Trial], Mapping[str, Any]]) -> None:
    """Give every run of a study what a run written today has: its name in words, its note, and its variant's colour.

    Args:
        chosen: what a note tells of a trial's settings.
    """
    for run in store.reader.runs([str(store.experiment_id)]):
        if not run.readable:  # another program's, or damaged
            continue
        trial = run.trial
        wanted = {
            COLOUR: colours.get(trial.variant, run.tags.get(COLOUR, "")),
            NOTE: run.tags.get(NOTE) or note(trial, store.study, chosen(trial)),
        }
        if run.name != (name := own_name(run.name, trial, run.tags)):
            store.client.update_run(run.run_id, name=name)
        new = {name: value for name, value in wanted.items() if value != run.tags.get(name, "")}
        if new:
            write_tags(store, run.run_id, new)


def write_tags(store: Store, run_id: str, tags: Mapping[str, str]) -> None:
    """Write a run's tags in one go."""
    from mlflow.entities import RunTag

    store.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])


@asking()
def describe(store: Store, answer: str) -> None:
    """Write what was found into the experiment's description, with the ways to the report and to the other studies.

    Args:
        answer: in a sentence or two; empty where nothing is claimed.

    Raises:
        StoreError: the store cannot be written.
    """
    text = f"**{escaped(store.question())}** {escaped(answer)}".strip()
    ways = f"[Report](reports/{quote(store.study)}/) · [All studies](.)"  # of bench ui, from the page that shows them
    tags = store.tags()
    for name, value in ((ANSWER, answer), (NOTE, f"{text} {ways}")):
        if tags.get(name) != value:
            store.client.set_experiment_tag(str(store.experiment_id), name, value)


def told(store: Store) -> Told:
    """What a tracked study says of itself."""
    tags = store.tags()
    return Told(tags.get("question", ""), tags.get(ANSWER, ""))
