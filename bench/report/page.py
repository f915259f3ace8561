"""Tables in, report out: Markdown, CSV and pictures, made from the tracked runs alone."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench.images import Curve, Panels, picture, png, side_by_side
from bench.images import curves as drawn_curves
from bench.report.answer import answer, frame, markdown
from bench.report.claims import judge
from bench.report.significance import expected_best
from bench.report.tables import (
    ROW,
    TOP,
    in_words,
    legend_of,
    markdown_table,
    notes,
    prepared,
    protocols,
    summary,
    unless_test,
    values_of,
)
from bench.score import LARGEST
from bench.study.definition import Study
from bench.text import escaped, printable

PLACE = re.compile(r"(?<![\w:/.~])/(?:[\w.+@~-]+/)+(?=[\w.+@~-])")  # folders of an absolute path: one machine's own
TRAINING = "training.png"
PICTURES = {
    "samples.png": "Samples, from the same noise in every variant",
    TRAINING: "Samples while it trained, from that noise",
    "reconstructions.png": "Held-out images over their reconstructions",
    "interpolation.png": "Interpolations between held-out images; between noises where a model encodes none",
    "manifold.png": "The latent plane, at quantiles of its prior",
}


def pictured(runs: pd.DataFrame) -> list[str]:
    """The runs whose pictures a report shows: the lowest finished seed of every variant."""
    if not len(runs):
        return []
    finished = runs[runs["state"] == "finished"].sort_values("seed", kind="stable")
    return list(finished.drop_duplicates(ROW)["run_id"])


def followed(study: Study, epochs: Collection[int]) -> list[int]:
    """Of the ``epochs`` after which a run was looked at, those whose samples a report shows, rising.

    They are those that the study names; where it names none, the first and one in the middle; and the last.
    """
    if not epochs:
        return []
    last = max(epochs)
    between = sorted(epoch for epoch in epochs if 0 < epoch < last)
    if study.pictures:
        between = [epoch for epoch in between if epoch in study.pictures]
    elif between:
        between = [between[0], min(between, key=lambda epoch: abs(2 * epoch - last))]
    return sorted({*between, last})


def in_a_row(samples: Mapping[int, bytes]) -> dict[str, bytes]:
    """The samples of one run by epoch as one picture, by its file name; nothing where there is no more than one epoch."""
    if len(samples) < 2:
        return {}
    row = {f"epoch {epoch}": picture(samples[epoch]) for epoch in sorted(samples)}
    return {TRAINING: png(side_by_side(row, len(row)))}


def write(
    study: Study,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, bytes]],
    folder: Path,
) -> Path:
    """Write ``README.md``, its tables (``claims.csv`` where there are any) and its pictures into ``folder``; the README's path.

    Args:
        runs: one row per trial, as `bench.tracking` tables them.
        curves: ``run_id, name, step, value``.
        pictures: PNG by file name, by run.

    Raises:
        StudyError: nothing is tracked yet.
    """
    runs = prepared(study, runs)
    table = summary(study, runs)
    judgements = judge(study, runs, curves)
    lines = [f"# {escaped(study.name)}", "", escaped(study.question), ""]
    if judgements:
        lines += [escaped(answer(judgements)), "", markdown(judgements), ""]
    lines += [f"> {escaped(study.source)}", ""]
    lines += ["Every number is in [summary.csv](summary.csv), every trial in [runs.csv](runs.csv).", ""]
    files: dict[str, bytes] = {}
    stems: Counter[str] = Counter()
    for (dataset, split), rows in table.groupby(["dataset", "split"], sort=False):
        trials = runs[(runs["dataset"] == dataset) & (runs["split"] == split)]
        lines += [
            f"## {escaped(str(dataset))}{unless_test(str(split))}",
            "",
            _caption(study, rows, trials, str(split)),
            "",
        ]
        shown = rows.head(TOP) if study.is_search else rows
        lines += [markdown_table(study, shown), ""]
        if legend := legend_of(study, shown, best="Bold"):
            lines += [f"{legend}.", ""]
        if study.is_search and split != "test":
            lines += _prospects(study, trials)
        stem = re.sub(r"[^\w.-]", "-", f"{Path(str(dataset)).stem[:50]}-{split}")
        stems[stem] += 1
        stem += f"-{stems[stem]}" if stems[stem] > 1 else ""  # two paths may end alike
        for name, title, content in _illustrations(shown, trials, curves, pictures):
            files[f"{stem}-{name}"] = content
            lines += [f"### {title}", "", f"![{title}]({stem}-{name})", ""]
    if remarks := notes(study, runs):
        lines += ["## Blanks and failures", "", *(f"* {escaped(remark)}" for remark in remarks), ""]
    lines += ["## How it was measured", "", *_protocol_lines(study, runs), "", "## Where it comes from", ""]
    lines += [*_provenance(runs), ""]
    tables = {"summary.csv": table, "runs.csv": runs} | ({"claims.csv": frame(judgements)} if judgements else {})
    pages = {name: rows.to_csv(index=False, float_format="%.6g") for name, rows in tables.items()}
    pages["README.md"] = "\n".join(lines)
    files |= {name: PLACE.sub("", page).encode(errors="backslashreplace") for name, page in pages.items()}
    folder.mkdir(parents=True, exist_ok=True)
    _put(files, folder)
    return folder / "README.md"


def _put(files: Mapping[str, bytes], folder: Path) -> None:
    """Write all of the files before any of them is replaced: a full disk leaves the report that was there."""
    for left in folder.glob(".partial-*"):
        if not _lives(left.name.removeprefix(".partial-")):
            shutil.rmtree(left, ignore_errors=True)
    partial = folder / f".partial-{os.getpid()}"
    try:
        partial.mkdir(exist_ok=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        for name in files:
            os.replace(partial / name, folder / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _lives(process: str) -> bool:
    """Whether a process of this machine has this number, which may write here too."""
    try:
        os.kill(int(process), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True


def _caption(study: Study, rows: pd.DataFrame, trials: pd.DataFrame, split: str) -> str:
    seeds = sorted(set(trials["seed"]))
    epochs = ", ".join(str(int(n)) for n in sorted(set(trials["epochs"])))
    words = f"Measured on the {split} split after {epochs} epoch{'' if epochs == '1' else 's'}, "
    words += f"mean ± standard deviation over seeds {_listed(seeds)}." if len(seeds) > 1 else f"seed {seeds[0]} alone."
    if study.is_search and split != "test":
        counts = [f"{(trials['state'] == state).sum()} {state}" for state in ("finished", "pruned", "failed")]
        best = f"the best {min(TOP, len(rows))} by {study.objective.name} ({study.objective.better} is better)"
        return f"{len(rows)} proposals, {best}: {', '.join(counts)}. {words}"
    if study.is_search:
        return f"Confirmed: the best proposals trained again on all training images. {words}"
    return words


def _prospects(study: Study, trials: pd.DataFrame) -> list[str]:
    """The expected best of fewer proposals, so that searches of other lengths compare."""
    objective, sign = study.objective.name, study.objective.sign
    found = sign * values_of(trials[trials["state"] == "finished"], objective)
    if len(found) < 2:
        return []
    values = [*found, *[found.max()] * int((trials["state"] == "pruned").sum())]
    counts = [k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500) if k < len(values)] + [len(values)]
    table = pd.DataFrame({"proposals": counts, objective: [f"{sign * expected_best(values, k):.4g}" for k in counts]})
    text = f"The expected best {objective} of so many of these proposals, a pruned one counting as the worst that was finished:"
    return [text, "", str(table.to_markdown(index=False, disable_numparse=True)), ""]


def _listed(numbers: Sequence[int]) -> str:
    whole = len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if whole else " and ".join(str(number) for number in numbers)


def _illustrations(
    rows: pd.DataFrame, trials: pd.DataFrame, curves: pd.DataFrame, pictures: Mapping[str, Mapping[str, bytes]]
) -> list[tuple[str, str, bytes]]:
    """File name, title and PNG of every illustration of one table."""
    shown: list[tuple[str, str, bytes]] = []
    trials = trials[trials["variant"].isin(rows["variant"]) & (trials["state"] == "finished")]
    if panels := _panels(rows, trials, curves):
        title = (
            "Losses: held-out solid; training dashed in eval mode, which compares with it, dotted as its steps took it"
        )
        shown.append(("curves.png", title, png(drawn_curves(panels))))
    for name, title in PICTURES.items():
        found = {}
        for variant in rows["variant"]:
            own = trials[trials["variant"] == variant].sort_values("seed", kind="stable")["run_id"]
            content = pictures.get(own.iloc[0], {}).get(name) if len(own) else None
            if content:
                found[variant] = picture(content)
        if found:
            sheet = side_by_side(found, 1) if name == TRAINING else side_by_side(found)
            shown.append((name, title, png(sheet)))
    return shown


def _panels(rows: pd.DataFrame, trials: pd.DataFrame, curves: pd.DataFrame) -> Panels:
    """What `images.curves` draws: epoch 0 is left out, where the losses of untrained models dwarf all others."""
    panels: dict[str, dict[str, dict[str, Curve]]] = {}
    joined = trials[["run_id", "variant"]].merge(curves, on="run_id")
    joined = joined[(joined["step"] > 0) & (joined["value"].abs() < LARGEST)]
    names = (name.split("/", 1) for name in set(joined["name"]))
    training = ("train", "train_eval")  # in this order, before the held-out split
    for split, term in sorted(names, key=lambda name: (name[1] != "loss", name[1], name[0] not in training, name[0])):
        for variant in rows["variant"]:
            own = joined[(joined["name"] == f"{split}/{term}") & (joined["variant"] == variant)]
            if len(own):
                curve = own.groupby("step")["value"].apply(list).to_dict()
                panels.setdefault(term, {}).setdefault(variant, {})[split] = curve
    return panels


def _protocol_lines(study: Study, runs: pd.DataFrame) -> list[str]:
    lines: dict[tuple[object, str], list[str]] = {}  # data set and words -> metrics
    for (dataset, _), trials in runs.groupby(["dataset", "split"], sort=False):
        for metric in (metric.name for metric in study.metrics):
            taken = protocols(trials, metric, trained=True)
            for text, variants in sorted(taken.items()):
                words = in_words(text) + (f" (of {', '.join(variants)})" if len(taken) > 1 else "")
                lines.setdefault((dataset, words), []).append(metric)
    told = [f"{', '.join(metrics)} on {dataset}: {words}" for (dataset, words), metrics in lines.items()]
    return [f"* {escaped(each)}" for each in told]


def _provenance(runs: pd.DataFrame) -> list[str]:
    finished = runs[runs["state"] == "finished"]
    versions = sorted({", ".join(f"{k} {v}" for k, v in json.loads(text).items()) for text in runs["versions"]})
    # Not from the start of a run to its end: between the two a run may have waited for days, or been measured again.
    hours = (pd.to_numeric(finished["seconds_per_epoch"]) * finished["epochs"]).sum() / 3600
    commits = sorted({each for commits in runs["commit"] for each in commits.split(", ")} - {""})
    commands = [printable(command) for command in sorted({*runs["command"]} - {""})]
    fence = "`" * max([3, *(1 + len(ticks) for ticks in re.findall("`+", " ".join(commands)))])
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (runs["started"].min(), runs["started"].max()))
    return [
        f"* commit: {escaped(', '.join(commits))}",
        f"* versions: {escaped('; '.join(filter(None, versions)))}",
        f"* device: {escaped('; '.join(sorted({*runs['device']} - {''})))}",
        *(f"* data: {escaped(line)}" for line in _data_lines(runs)),
        *(f"* of the user's own: {escaped(line)}" for line in _guest_lines(runs)),
        *_origins(runs),
        f"* trials: {len(finished)} finished of {len(runs)}, about {hours:.2f} hours of training in all, "
        f"started {first} to {last} UTC",
        f"* again with:\n\n{fence}",
        *commands,
        fence,
    ]


def _origins(runs: pd.DataFrame) -> list[str]:
    lines = []
    for column, what, word in (("origin", "imported", "from"), ("trained_in", "trained in other studies", "in")):
        counts = runs.loc[runs[column] != "", column].value_counts().sort_index()
        if words := [f"{count} {word} {place}" for place, count in counts.items()]:
            lines.append(f"* {what}: {escaped(', '.join(words))}")
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
