"""Table in, report out: Markdown, CSV and pictures, made from the tracked runs alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bench import figures
from bench.study import Study, StudyError

LARGEST = 1e300  # a tracking store keeps an infinity as the largest float
TOP = 10  # rows of a search that are shown; all are in the CSV
ROW = ["dataset", "split", "variant", "configuration"]  # two that share a rounded name are two rows
PICTURES = {
    "samples.png": "Samples, from the same noise in every variant",
    "reconstructions.png": "Held-out images over their reconstructions",
    "interpolation.png": "Interpolations between held-out images",
    "manifold.png": "The latent plane, at quantiles of its prior",
}


def summary(study: Study, runs: pd.DataFrame, better: Mapping[str, str]) -> pd.DataFrame:
    """One row per data set, split and variant: mean, standard deviation and n of every metric over seeds, and the costs.

    What was not measured is blank, never zero. A metric that was taken under two protocols is blank too: `notes` says so.
    """
    if not len(runs):
        raise StudyError(f"no trial of study {study.name} is tracked yet; run: bench run study {study.name}")
    rows = []
    for (dataset, split, variant, _), trials in runs.groupby(ROW, sort=False):
        finished = trials[trials["state"] == "finished"]
        row: dict[str, object] = {
            "dataset": dataset,
            "split": split,
            "variant": variant,
            "model": trials["model"].iloc[0],
        }
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
    return str(table.to_markdown(index=False, disable_numparse=True))


def console(study: Study, runs: pd.DataFrame, better: Mapping[str, str]) -> str:
    """The tables in plain text, as a finished study prints them."""
    parts = []
    for (dataset, split), rows in summary(study, runs, better).groupby(["dataset", "split"], sort=False):
        table = _readable(study, rows.head(TOP), better, bold="")
        text = table.to_markdown(index=False, disable_numparse=True, tablefmt="simple")
        parts.append(f"{study.name} on {dataset}, {split} split\n{text}")
    return "\n\n".join([*parts, *notes(study, runs)])


def notes(study: Study, runs: pd.DataFrame) -> list[str]:
    """Why cells are blank and trials failed, a line each."""
    lines = []
    for (dataset, split), trials in runs.groupby(["dataset", "split"], sort=False):
        for metric in study.metrics:
            protocols = _protocols(runs, metric, str(dataset), str(split))
            if len(protocols) > 1:
                lines.append(
                    f"{metric} on {dataset} was taken under {len(protocols)} protocols, which one column cannot hold"
                )
            finished = trials[trials["state"] == "finished"]
            reasons = finished.get(f"reason.{metric}", pd.Series(dtype=str)).fillna("")
            blank = finished[reasons.reindex(finished.index, fill_value="") != ""]
            for reason, blanks in blank.groupby(f"reason.{metric}", sort=True) if len(blank) else ():
                models = ", ".join(sorted(set(blanks["model"])))
                lines.append(f"{metric} on {dataset} is blank for {models}: {reason}")
    for _, trial in runs[runs["state"] == "failed"].sort_values(["dataset", "variant", "seed"]).iterrows():
        lines.append(
            f"{trial['variant']} seed {trial['seed']} on {trial['dataset']} failed: {trial['failure']}: {trial['reason']}"
        )
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
    table = summary(study, runs, better)
    files: dict[str, bytes] = {
        "summary.csv": table.to_csv(index=False, float_format="%.6g").encode(),
        "runs.csv": _ordered(study, runs, better).to_csv(index=False, float_format="%.6g").encode(),
    }
    lines = [f"# {study.name}", "", study.question, "", f"> {study.source}", ""]
    for (dataset, split), rows in table.groupby(["dataset", "split"], sort=False):
        trials = runs[(runs["dataset"] == dataset) & (runs["split"] == split)]
        lines += [
            f"## {dataset}{'' if split == 'test' else f', {split} split'}",
            "",
            _caption(study, rows, trials, str(split)),
            "",
        ]
        shown = rows.head(TOP) if study.is_search else rows
        lines += [markdown_table(study, shown, better), ""]
        stem = f"{Path(str(dataset)).stem}-{split}"
        for name, title, content in _illustrations(study, shown, trials, curves, pictures):
            files[f"{stem}-{name}"] = content
            lines += [f"### {title}", "", f"![{title}]({stem}-{name})", ""]
    if remarks := notes(study, runs):
        lines += ["## Blanks and failures", "", *(f"* {remark}" for remark in remarks), ""]
    lines += ["## How it was measured", "", *_protocol_lines(study, runs), "", "## Where it comes from", ""]
    lines += [*_provenance(runs), ""]
    files["README.md"] = "\n".join(lines).encode()
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / "README.md"


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
    place = {name: index for index, name in enumerate(study.labels())}
    keys = pd.DataFrame(index=rows.index)
    keys["dataset"] = (
        rows["dataset"].map({name: index for index, name in enumerate(study.datasets)}).fillna(len(study.datasets))
    )
    keys["split"] = (rows["split"] != "test").astype(int)
    keys["variant"] = rows["variant"].map(place).fillna(len(place)) if place else 0
    objective = f"{study.metrics[0]}_mean" if f"{study.metrics[0]}_mean" in rows else f"metric.{study.metrics[0]}"
    if study.is_search and objective in rows:
        sign = 1 if better[study.metrics[0]] == "lower" else -1
        keys["objective"] = sign * pd.to_numeric(rows[objective])
    if "seed" in rows:
        keys["seed"] = rows["seed"]
    return rows.loc[keys.sort_values(list(keys.columns), kind="stable").index].reset_index(drop=True)


def _readable(study: Study, rows: pd.DataFrame, better: Mapping[str, str], bold: str) -> pd.DataFrame:
    shown: dict[str, list[str]] = {"variant": [_escaped(name) for name in rows["variant"]]}
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


def _with_spread(mean: float, std: float) -> str:
    """Four digits of the mean, and the standard deviation to the same place."""
    magnitude = len(str(int(abs(mean)))) if abs(mean) >= 1 else 0
    places = max(0, 4 - magnitude)
    return f"{mean:.{places}f}" + ("" if pd.isna(std) else f" ± {std:.{places}f}")


def _caption(study: Study, rows: pd.DataFrame, trials: pd.DataFrame, split: str) -> str:
    seeds = sorted(set(trials["seed"]))
    epochs = ", ".join(str(int(n)) for n in sorted(set(rows["epochs"].dropna())))
    words = (
        f"Measured on the {split} split after {epochs} epochs, mean ± standard deviation over seeds {_listed(seeds)}."
    )
    if study.is_search and split == "validation":
        pruned = int((trials["state"] == "pruned").sum())
        return f"Proposals, the best {min(TOP, len(rows))} of {len(rows)} by {study.metrics[0]}; {pruned} given up early. {words}"
    if study.is_search:
        return f"Confirmed: the best proposals trained again on all training images. {words}"
    return words


def _listed(numbers: Sequence[int]) -> str:
    whole = len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if whole else " and ".join(str(number) for number in numbers)


def _illustrations(
    study: Study,
    rows: pd.DataFrame,
    trials: pd.DataFrame,
    curves: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, bytes]],
) -> list[tuple[str, str, bytes]]:
    """File name, title and PNG of every illustration of one table."""
    shown: list[tuple[str, str, bytes]] = []
    trials = trials[trials["variant"].isin(rows["variant"]) & (trials["state"] == "finished")]
    joined = curves.merge(trials[["run_id", "variant"]], on="run_id")
    joined = joined[(joined["step"] > 0) & (joined["value"].abs() < LARGEST)]
    if len(joined):
        joined = joined.assign(split=joined["name"].str.partition("/")[0], term=joined["name"].str.partition("/")[2])
        panels: dict[str, dict[str, dict[str, dict[int, list[float]]]]] = {}
        for (term, split), part in joined.groupby(["term", "split"], sort=False):
            for variant in rows["variant"]:
                own = part[part["variant"] == variant].groupby("step")["value"].apply(list)
                if len(own):
                    panels.setdefault(str(term), {}).setdefault(variant, {})[str(split)] = own.to_dict()
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


def _protocol_lines(study: Study, runs: pd.DataFrame) -> list[str]:
    lines = []
    for dataset, split in runs[["dataset", "split"]].drop_duplicates().itertuples(index=False):
        for metric in study.metrics:
            for text in sorted(_protocols(runs, metric, dataset, split)):
                words = ", ".join(f"{name} {value}" for name, value in json.loads(text).items())
                lines.append(f"* {metric} on {dataset}: {words}")
    return lines


def _provenance(runs: pd.DataFrame) -> list[str]:
    finished = runs[runs["state"] == "finished"]
    versions = sorted({", ".join(f"{k} {v}" for k, v in json.loads(text).items()) for text in finished["versions"]})
    hours = finished["duration_s"].sum() / 3600
    first, last = runs["started"].min(), runs["started"].max()
    return [
        f"* commit: {', '.join(sorted(set(finished['commit'])))}",
        f"* versions: {'; '.join(versions)}",
        f"* device: {'; '.join(sorted(set(finished['device'])))}",
        *(f"* data: {line}" for line in _data_lines(finished)),
        f"* trials: {len(finished)} finished of {len(runs)}, {hours:.2f} hours of training and measuring in all, "
        f"started {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC",
        "* again with:",
        "",
        "```",
        *sorted(set(finished["command"])),
        "```",
    ]


def _data_lines(finished: pd.DataFrame) -> list[str]:
    lines = set()
    for dataset, text in finished[["dataset", "data"]].itertuples(index=False):
        facts = json.loads(text)
        sizes = ", ".join(f"{int(n):,} {split}" for split, n in facts.items() if n.isdigit() and split != "sha256")
        lines.add(f"{dataset}, {sizes} images, sha256 {facts.get('sha256', '')[:12]}")
    return sorted(lines)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")
