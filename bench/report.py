"""Table in, report out: Markdown, CSV and pictures, made from the tracked runs alone."""

from __future__ import annotations

import json
import math
import os
import re
import tempfile
import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench import figures
from bench.study import Study, StudyError

LARGEST = 1e300  # a tracking store keeps an infinity as the largest float
TOP = 10  # rows of a search that are shown; all are in the CSV
WIDTH = 118  # columns of a terminal that a printed table may fill
PLACE = re.compile(r"(?<![\w:/.~])/(?:[\w.+@~-]+/)+(?=[\w.+@~-])")  # folders of an absolute path: one machine's own
ROW = ["dataset", "split", "variant", "configuration"]  # two that share a rounded name are two rows
PICTURES = {
    "samples.png": "Samples, from the same noise in every variant",
    "reconstructions.png": "Held-out images over their reconstructions",
    "interpolation.png": "Interpolations between held-out images",
    "manifold.png": "The latent plane, at quantiles of its prior",
}


def summary(study: Study, runs: pd.DataFrame, better: Mapping[str, str]) -> pd.DataFrame:
    """One row per data set, split and configuration: mean, standard deviation and n of every metric over seeds, and the costs.

    What was not measured is blank, never zero. A metric that was taken under two protocols is blank too: `notes` says so.
    """
    runs = _prepared(study, runs, better)
    rows = []
    for (dataset, split, variant, _), trials in runs.groupby(ROW, sort=False):
        finished = trials[trials["state"] == "finished"]
        model = trials["model"].iloc[0]
        row: dict[str, object] = {"dataset": dataset, "split": split, "variant": variant, "model": model}
        for metric in study.metrics:
            mixed = _protocols(runs, metric, str(dataset), str(split))
            values = pd.Series(dtype=float) if len(mixed) > 1 else _values(finished, metric)
            row[f"{metric}_mean"] = values.mean()
            row[f"{metric}_std"] = values.std()  # of a sample, blank for one seed
            row[f"{metric}_n"] = len(values)
        for cost in ("parameters", "epochs", "seconds_per_epoch", "images_per_second", "peak_megabytes"):
            row[cost] = pd.to_numeric(finished[cost]).mean()
        row["finished"], row["total"] = len(finished), len(trials)
        rows.append(row)
    return _ordered(study, pd.DataFrame(rows), better)


def markdown_table(study: Study, rows: pd.DataFrame, better: Mapping[str, str]) -> str:
    """The rows of one data set and split for a reader: the best mean of each metric in bold."""
    table = _readable(study, rows, better, bold="**")
    table["variant"] = table["variant"].str.replace("|", "\\|", regex=False)
    return str(table.to_markdown(index=False, disable_numparse=True))


def console(study: Study, runs: pd.DataFrame, better: Mapping[str, str]) -> str:
    """The tables in plain text, as a finished study prints them; a column that is blank throughout is left to `notes`."""
    runs = _prepared(study, runs, better)
    parts = []
    for (dataset, split), rows in summary(study, runs, better).groupby(["dataset", "split"], sort=False):
        table = _readable(study, rows.head(TOP) if study.is_search else rows, better, bold="")
        parts.append(f"{study.name} on {dataset}, {split} split\n{_plain(table)}")
    return "\n\n".join([*parts, "\n".join(notes(study, runs))]).strip()


def notes(study: Study, runs: pd.DataFrame) -> list[str]:
    """Why cells are blank and trials failed, a line each."""
    lines = []
    for (dataset, split), trials in runs.groupby(["dataset", "split"], sort=False):
        for metric in study.metrics:
            where = f"{metric} on {dataset}{_unless_test(str(split))}"
            protocols = _protocols(runs, metric, str(dataset), str(split))
            if len(protocols) > 1:
                each = "; ".join(map(_in_words, sorted(protocols)))
                lines.append(
                    f"{where} was taken under {len(protocols)} protocols, which one column cannot hold: {each}"
                )
            finished = trials[trials["state"] == "finished"]
            if f"reason.{metric}" in finished:
                blank = finished[finished[f"reason.{metric}"].fillna("") != ""]
                for reason, blanks in blank.groupby(f"reason.{metric}", sort=True):
                    lines.append(f"{where} is blank for {', '.join(sorted(set(blanks['model'])))}: {reason}")
    for _, trial in runs[runs["state"] == "failed"].iterrows():
        where = f"{trial['variant']} seed {trial['seed']} on {trial['dataset']}{_unless_test(trial['split'])}"
        lines.append(f"{where} failed: {trial['failure']}: {trial['reason']}")
    return lines


def pictured(runs: pd.DataFrame) -> list[str]:
    """The runs whose pictures a report shows: the lowest finished seed of every variant."""
    if not len(runs):
        return []
    finished = runs[runs["state"] == "finished"].sort_values("seed", kind="stable")
    return list(finished.drop_duplicates(ROW)["run_id"])


def write(
    study: Study,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, bytes]],
    folder: Path,
    better: Mapping[str, str],
) -> Path:
    """Write ``README.md``, ``summary.csv``, ``runs.csv`` and the pictures into ``folder``; the README's path.

    Args:
        runs: one row per trial, as `bench.tracking` tables them.
        curves: ``run_id, name, step, value``.
        pictures: PNG by file name, by run.

    Raises:
        StudyError: nothing is tracked yet.
    """
    runs = _prepared(study, runs, better)
    table = summary(study, runs, better)
    lines = [f"# {study.name}", "", study.question, "", f"> {study.source}", ""]
    lines += ["Every number is in [summary.csv](summary.csv), every trial in [runs.csv](runs.csv).", ""]
    files: dict[str, bytes] = {}
    stems: Counter[str] = Counter()
    for (dataset, split), rows in table.groupby(["dataset", "split"], sort=False):
        trials = runs[(runs["dataset"] == dataset) & (runs["split"] == split)]
        lines += [f"## {dataset}{_unless_test(str(split))}", "", _caption(study, rows, trials, str(split), better), ""]
        shown = rows.head(TOP) if study.is_search else rows
        lines += [markdown_table(study, shown, better), ""]
        stem = re.sub(r"[^\w.-]", "-", f"{Path(str(dataset)).stem}-{split}")
        stems[stem] += 1
        stem += f"-{stems[stem]}" if stems[stem] > 1 else ""  # two paths may end alike
        for name, title, content in _illustrations(shown, trials, curves, pictures):
            files[f"{stem}-{name}"] = content
            lines += [f"### {title}", "", f"![{title}]({stem}-{name})", ""]
    if remarks := notes(study, runs):
        lines += ["## Blanks and failures", "", *(f"* {remark}" for remark in remarks), ""]
    lines += ["## How it was measured", "", *_protocol_lines(study, runs), "", "## Where it comes from", ""]
    lines += [*_provenance(runs), ""]
    tables = {"summary.csv": table, "runs.csv": runs}
    pages = {name: rows.to_csv(index=False, float_format="%.6g") for name, rows in tables.items()}
    pages["README.md"] = "\n".join(lines)
    files |= {name: PLACE.sub("", page).encode() for name, page in pages.items()}
    folder.mkdir(parents=True, exist_ok=True)
    # All is written before anything is replaced: a full disk leaves the report that was there.
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as partial:
        for name, content in files.items():
            (Path(partial) / name).write_bytes(content)
        for name in files:
            os.replace(Path(partial) / name, folder / name)
    return folder / "README.md"


def _prepared(study: Study, runs: pd.DataFrame, better: Mapping[str, str]) -> pd.DataFrame:
    """The runs in the study's own order, under names that tell configurations apart; a StudyError where there are none."""
    if not len(runs):
        raise StudyError(f"no trial of study {study.name} is tracked yet; run: bench run study {study.name}")
    return _told_apart(_ordered(study, runs, better))


def _told_apart(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs, a variant's name followed by what differs where it stands for several configurations.

    Names hold rounded values, and a path's images may have changed: such trials are no replicates of one another.
    """
    names = runs["variant"].to_dict()
    for _, alike in runs.groupby(["dataset", "split", "variant"], sort=False):
        if alike["configuration"].nunique() > 1:
            facts = [n for n in map(str, alike) if n.startswith("param.") or n in ("model", "fingerprint")]
            differing = [name for name in facts if alike[name].nunique(dropna=False) > 1]
            for index, run in alike.iterrows():
                words = [f"{name.removeprefix('param.')}={run[name]}" for name in differing]
                names[index] = f"{run['variant']} ({', '.join(words)})"
    return runs.assign(variant=pd.Series(names))


def _values(trials: pd.DataFrame, metric: str) -> pd.Series[float]:
    values = pd.to_numeric(trials.get(f"metric.{metric}", pd.Series(dtype=float)))
    return values[values.abs() < LARGEST].dropna()


def _protocols(runs: pd.DataFrame, metric: str, dataset: str, split: str) -> set[str]:
    """The protocols under which the values of one column were taken, each as sorted JSON."""
    if f"protocol.{metric}" not in runs or f"metric.{metric}" not in runs:
        return set()
    column = runs[(runs["dataset"] == dataset) & (runs["split"] == split) & runs[f"metric.{metric}"].notna()]
    texts = column[f"protocol.{metric}"].dropna()
    return {json.dumps(json.loads(text), sort_keys=True) for text in texts if text}


def _ordered(study: Study, rows: pd.DataFrame, better: Mapping[str, str]) -> pd.DataFrame:
    """The study's own order of data sets and variants; a search's best first, its confirmed ones before its proposals."""
    datasets = {name: index for index, name in enumerate(study.datasets)}
    labels = {name: index for index, name in enumerate(study.labels())}
    rows = rows.reset_index(drop=True)
    keys = pd.DataFrame(index=rows.index)
    keys["dataset"] = rows["dataset"].map(datasets).fillna(len(datasets))
    keys["path"] = rows["dataset"]
    keys["split"] = (rows["split"] != "test").astype(int)
    keys["label"] = [labels.get(name, labels.get(name.partition(" (")[0], len(labels))) for name in rows["variant"]]
    objective = f"{study.metrics[0]}_mean" if f"{study.metrics[0]}_mean" in rows else f"metric.{study.metrics[0]}"
    if study.is_search and objective in rows:
        sign = 1 if better[study.metrics[0]] == "lower" else -1
        keys["objective"] = sign * pd.to_numeric(rows[objective])
    ties = [name for name in ("variant", "seed", "configuration") if name in rows]
    keys[ties] = rows[ties]
    return rows.loc[keys.sort_values(list(keys.columns), kind="stable").index].reset_index(drop=True)


def _readable(study: Study, rows: pd.DataFrame, better: Mapping[str, str], bold: str) -> pd.DataFrame:
    shown: dict[str, list[str]] = {"variant": list(rows["variant"])}
    for metric in study.metrics:
        means = pd.to_numeric(rows[f"{metric}_mean"])
        best = means.min() if better[metric] == "lower" else means.max()
        cells = []
        for mean, std in zip(means, pd.to_numeric(rows[f"{metric}_std"]), strict=True):
            mark = bold if mean == best and means.notna().sum() > 1 else ""
            cells.append("" if pd.isna(mean) else f"{mark}{_with_spread(float(mean), float(std))}{mark}")
        shown[f"{metric} {'↓' if better[metric] == 'lower' else '↑'}"] = cells
    shown["parameters"] = ["" if pd.isna(n) else f"{int(n):,}" for n in rows["parameters"]]
    shown["s/epoch"] = ["" if pd.isna(s) else f"{s:.2g}" if s < 10 else f"{s:.0f}" for s in rows["seconds_per_epoch"]]
    shown["finished"] = [f"{done}/{total}" for done, total in zip(rows["finished"], rows["total"], strict=True)]
    return pd.DataFrame(shown)


def _plain(table: pd.DataFrame) -> str:
    """The columns that hold anything, for a terminal; names too long for it go on below."""
    cells = {str(name): list(map(str, table[name])) for name in table if (table[name] != "").any()}
    widths = {name: max(map(len, (name, *column))) for name, column in cells.items()}
    rest = sum(widths.values()) - widths["variant"] + 2 * (len(widths) - 1)
    widths["variant"] = min(widths["variant"], max(24, WIDTH - rest))
    rows = [list(cells), ["-" * width for width in widths.values()]]
    for first, *others in zip(*cells.values(), strict=True):
        name, *more = textwrap.wrap(first, widths["variant"])
        rows += [[name, *others], *([line] for line in more)]
    return "\n".join("  ".join(map(str.ljust, row, widths.values())).rstrip() for row in rows)


def _with_spread(mean: float, std: float) -> str:
    """Four digits of the mean and the standard deviation to the same place, or both to one more that it needs."""
    largest = max(abs(mean), 0.0 if pd.isna(std) else std)
    places = max(0, 3 - math.floor(math.log10(largest))) if largest else 3
    places += 10.0 ** -(places + 1) <= std < 10.0**-places
    style = f".{places}f" if largest < 1e6 else ".3e"
    return f"{mean:{style}}" + ("" if pd.isna(std) else f" ± {std:{style}}")


def _caption(study: Study, rows: pd.DataFrame, trials: pd.DataFrame, split: str, better: Mapping[str, str]) -> str:
    seeds = sorted(set(trials["seed"]))
    epochs = ", ".join(str(int(n)) for n in sorted(set(trials["epochs"])))
    words = f"Measured on the {split} split after {epochs} epoch{'' if epochs == '1' else 's'}, "
    words += f"mean ± standard deviation over seeds {_listed(seeds)}." if len(seeds) > 1 else f"seed {seeds[0]} alone."
    if study.is_search and split != "test":
        counts = [f"{(trials['state'] == state).sum()} {state}" for state in ("finished", "pruned", "failed")]
        best = f"the best {min(TOP, len(rows))} by {study.metrics[0]} ({better[study.metrics[0]]} is better)"
        return f"{len(rows)} proposals, {best}: {', '.join(counts)}. {words}"
    if study.is_search:
        return f"Confirmed: the best proposals trained again on all training images. {words}"
    return words


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
        title = "Losses; training dashed, held-out solid, bands from the lowest seed to the highest"
        shown.append(("curves.png", title, figures.png(figures.curves(panels))))
    for name, title in PICTURES.items():
        found = {}
        for variant in rows["variant"]:
            own = trials[trials["variant"] == variant].sort_values("seed", kind="stable")["run_id"]
            content = pictures.get(own.iloc[0], {}).get(name) if len(own) else None
            if content:
                found[variant] = figures.picture(content)
        if found:
            shown.append((name, title, figures.png(figures.side_by_side(found))))
    return shown


def _panels(rows: pd.DataFrame, trials: pd.DataFrame, curves: pd.DataFrame) -> figures.Panels:
    """What `figures.curves` draws: epoch 0 is left out, where the losses of untrained models dwarf all others."""
    panels: dict[str, dict[str, dict[str, figures.Curve]]] = {}
    joined = trials[["run_id", "variant"]].merge(curves, on="run_id")
    joined = joined[(joined["step"] > 0) & (joined["value"].abs() < LARGEST)]
    names = (name.split("/", 1) for name in set(joined["name"]))
    for split, term in sorted(names, key=lambda name: (name[1] != "loss", name[1], name[0] != "train")):
        for variant in rows["variant"]:
            own = joined[(joined["name"] == f"{split}/{term}") & (joined["variant"] == variant)]
            if len(own):
                curve = own.groupby("step")["value"].apply(list).to_dict()
                panels.setdefault(term, {}).setdefault(variant, {})[split] = curve
    return panels


def _protocol_lines(study: Study, runs: pd.DataFrame) -> list[str]:
    lines: dict[tuple[str, str], list[str]] = {}  # data set and words -> metrics
    for dataset, split in runs[["dataset", "split"]].drop_duplicates().itertuples(index=False):
        for metric in study.metrics:
            for text in sorted(_protocols(runs, metric, dataset, split)):
                lines.setdefault((dataset, _in_words(text)), []).append(metric)
    return [f"* {', '.join(metrics)} on {dataset}: {words}" for (dataset, words), metrics in lines.items()]


def _in_words(protocol: str) -> str:
    return ", ".join(f"{name} {value}" for name, value in json.loads(protocol).items())


def _provenance(runs: pd.DataFrame) -> list[str]:
    finished = runs[runs["state"] == "finished"]
    versions = sorted({", ".join(f"{k} {v}" for k, v in json.loads(text).items()) for text in runs["versions"]})
    hours = finished["duration_s"].sum() / 3600
    first, last = (f"{moment:%Y-%m-%d %H:%M}" for moment in (runs["started"].min(), runs["started"].max()))
    return [
        f"* commit: {', '.join(sorted({*runs['commit']} - {''}))}",
        f"* versions: {'; '.join(filter(None, versions))}",
        f"* device: {'; '.join(sorted({*runs['device']} - {''}))}",
        *(f"* data: {line}" for line in _data_lines(runs)),
        f"* trials: {len(finished)} finished of {len(runs)}, {hours:.2f} hours of training and measuring in all, "
        f"started {first} to {last} UTC",
        "* again with:\n\n```",
        *sorted({*runs["command"]} - {""}),
        "```",
    ]


def _data_lines(runs: pd.DataFrame) -> list[str]:
    lines = set()
    for dataset, text in runs.loc[runs["data"] != "{}", ["dataset", "data"]].itertuples(index=False):
        facts = json.loads(text)
        sizes = ", ".join(f"{int(n):,} {split}" for split, n in facts.items() if n.isdigit() and split != "sha256")
        lines.add(f"{dataset}, {sizes} images, sha256 {facts.get('sha256', '')[:12]}")
    return sorted(lines)


def _unless_test(split: str) -> str:
    return "" if split == "test" else f", {split} split"
