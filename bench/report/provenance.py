"""What runs cost, where they come from, and how to have them again."""

from __future__ import annotations

import json

import pandas as pd

from bench.files import Weights
from bench.report.blocks import Block, Bullets, Cell, Code, Table, Text, some
from bench.study.definition import SINGLE
from bench.text import printable

COUNTED = {"processor_wh_per_epoch": "energy of processors", "gpu_wh_per_epoch": "energy of GPUs"}
COUNTS = Text(
    "Energy is what the counters of whole processor packages (RAPL) and GPUs (NVML) rose by while a trial's epochs ran, without "
    "memory modules and fans. Trials that ran at once on one of them each count all of it, and their sum is then too high."
)


def cost(runs: pd.DataFrame) -> tuple[Block, ...]:
    """Device-hours of training by data set and device; a device is what a trial had: a GPU, or threads of a processor."""
    finished = runs[runs["state"] == "finished"]
    # Not from the start of a run to its end: between the two a run may have waited for days, or been measured again.
    hours = pd.to_numeric(finished["seconds_per_epoch"]) * finished["epochs"] / 3600
    first, last = runs["started"].min(), runs["started"].max()
    until = f"{last:%H:%M}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M}"
    rows = []
    for (dataset, device), own in finished.groupby(["dataset", "device"], sort=False):
        spent, peak = hours[own.index].sum(), pd.to_numeric(own["peak_megabytes"]).max()
        cells = [Cell(str(dataset)), Cell(_device(str(device))), Cell(f"{len(own)}", value=len(own))]
        cells.append(Cell(f"{spent:.2f} h", value=spent))
        cells.append(Cell() if pd.isna(peak) else Cell(f"{peak:,.0f} MB", value=peak))
        cells += [_energy(own, column) for column in COUNTED]
        rows.append(tuple(cells))
    words = (
        f"{len(finished)} finished of {len(runs)} trials, about {hours.sum():.2f} device-hours of training in all, "
        f"started {first:%Y-%m-%d %H:%M} to {until} UTC."
    )
    columns = ("data set", "device", "trials", "device-hours of training", "most memory of a trial", *COUNTED.values())
    counted = any(cell.text for cells in rows for cell in cells[-len(COUNTED) :])
    table = Table("cost", columns, tuple(rows)).filled() if rows else None
    return some(Text(words), table, COUNTS if counted else None)


def _device(name: str) -> str:
    """A device in words; runs keep it as they told it, so that it compares."""
    return name.replace(" 1 thread(s)", " 1 thread").replace("thread(s)", "threads")


def _energy(runs: pd.DataFrame, column: str) -> Cell:
    """Watt-hours of training, where they were counted of every run."""
    spent = (pd.to_numeric(runs[column]) * runs["epochs"]).sum(skipna=False)
    return Cell() if pd.isna(spent) else Cell(f"{spent:,.3g} Wh", value=spent)


def again(runs: pd.DataFrame, study: str, archive: str, weights: Weights) -> tuple[Block, ...]:
    """The commands, and what the numbers rest on beside them: code, versions, data.

    Args:
        archive: a file of the runs, from which the page can be made without training; may be empty.
        weights: how their trained weights are in it.
    """
    versions = sorted({", ".join(f"{k} {v}" for k, v in json.loads(text).items()) for text in runs["versions"]})
    commits = sorted({each for commits in runs["commit"] for each in commits.split(", ")} - {""})
    facts = [
        ("commit", ", ".join(commits)),
        ("versions", "; ".join(filter(None, versions))),
        *(("data", line) for line in _data_lines(runs)),
        *(("of the user's own", line) for line in _guest_lines(runs)),
        *_origins(runs),
    ]
    commands = [printable(command) for command in sorted({*runs["command"]} - {""})]
    from_runs = Code(f"bench import {archive}\nbench report {study}")
    words = Text("The same page from the runs that lie beside it, in a project without them, and without training:")
    precision = " in half precision" if weights == "half" else ""
    words_of_models = Text(
        f"Their trained models are in that file too{precision}, to be used and to be measured again:"
    )
    models = Code(f"bench apply generate RUN\nbench run study {study} --remeasure")
    return (
        Code("\n".join(commands)),
        *((words, from_runs) if archive else ()),
        *((words_of_models, models) if archive and weights != "none" else ()),
        Bullets(tuple(f"{what}: {words}" for what, words in facts if words)),
    )


def _origins(runs: pd.DataFrame) -> list[tuple[str, str]]:
    lines = []
    for column, what, word in (("origin", "imported", "from"), ("trained_in", "trained elsewhere", "in")):
        counts = runs.loc[runs[column] != "", column].replace(SINGLE, "single trials").value_counts().sort_index()
        lines.append((what, ", ".join(f"{count} {word} {place}" for place, count in counts.items())))
    return lines


def _guest_lines(runs: pd.DataFrame) -> list[str]:
    """Each component that did not come with the suite, in every state of its file that runs were trained with."""
    used = {item for text in set(runs["guests"]) for item in json.loads(text).items()}
    return [f"{origin}, sha256 {digest[:12]}" for origin, digest in sorted(used)]


def _data_lines(runs: pd.DataFrame) -> list[str]:
    lines = set()
    for dataset, text in runs.loc[runs["data"] != "{}", ["dataset", "data"]].itertuples(index=False):
        facts = json.loads(text)
        sizes = ", ".join(f"{int(n):,} {split}" for split, n in facts.items() if n.isdigit() and split != "sha256")
        lines.add(f"{dataset}, {sizes} images, sha256 {facts.get('sha256', '')[:12]}")
    return sorted(lines)
