"""Tracked runs in, tables out: means over seeds, their spread, what is tied with the best, and what is blank and why."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Iterable

import pandas as pd

from bench.report.significance import LEVEL, apart, holm, interval
from bench.score import LARGEST, TRAINED, Metric
from bench.study.definition import Study, StudyError
from bench.text import escaped, printable

TOP = 10  # rows of a search that are shown; all are in the CSV
WIDTH = 118  # columns that a printed table may fill where nobody says how wide the terminal is
NAME = 24  # of them that a variant's name has at the least
SIDE_BY_SIDE = 6  # variants that a table may have as columns ...
COLUMNS = 10  # ... once it has more columns than this
ROW = ["dataset", "split", "variant", "configuration"]  # two that share a rounded name are two rows


def summary(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per data set, split and configuration, with its costs and, of every metric over its seeds:

    ``_mean``, ``_std``, ``_n``, ``_interval`` (half the width of the 95 % interval), ``_best``, ``_p`` (of a paired t-test
    against the best over the seeds that both have, after Holm's correction over the variants), ``_tied`` (where that is above
    5 %), ``_untested`` (where they share no two seeds; where nothing was tested there is no best) and ``_biased`` (by few
    samples, as its protocol says). What was not measured is blank, never zero. A metric that was taken under two protocols is
    blank too: `notes` says so.
    """
    runs = prepared(study, runs)
    tables = [_summarised(study, alike) for _, alike in runs.groupby(["dataset", "split"], sort=False)]
    return _ordered(study, pd.concat(tables))


def markdown_table(study: Study, rows: pd.DataFrame) -> str:
    """The rows of one data set and split for a reader: the best mean of each metric in bold, what is tied with it marked."""
    table = _readable(study, rows, best="**{}**")
    table["variant"] = table["variant"].map(escaped)
    return str(_laid_out(table).to_markdown(index=False, disable_numparse=True))


def console(study: Study, runs: pd.DataFrame, width: int | None = None) -> str:
    """The tables in plain text, as a finished study prints them; what is blank throughout is left to `notes`.

    Args:
        width: of the terminal, in columns; None where there is none, and so lines of words are not broken.
    """
    runs = prepared(study, runs)
    parts = []
    for (dataset, split), rows in summary(study, runs).groupby(["dataset", "split"], sort=False):
        table = _readable(study, rows.head(TOP) if study.is_search else rows, best="{} *")
        table = table.loc[:, (table != "").any()]
        parts.append(
            f"{study.name} on {printable(str(dataset))}, {split} split\n{plain_table(_laid_out(table), width or WIDTH)}"
        )
        parts[-1] += f"\n{_filled(legend, width)}" if (legend := legend_of(study, rows, best="*")) else ""
    return "\n\n".join([*parts, "\n".join(_filled(printable(note), width) for note in notes(study, runs))]).strip()


def _filled(text: str, width: int | None) -> str:
    """A line of words, broken between them where a terminal would break it anywhere."""
    return textwrap.fill(text, width, subsequent_indent="  ") if width else text


def legend_of(study: Study, rows: pd.DataFrame, best: str) -> str:
    """What the marks in the table of one data set mean: those that are in it, the best one's being ``best``."""
    marked = {mark: any(rows[f"{m.name}_{mark}"].any() for m in study.metrics) for mark in ("best", "tied", "untested")}
    words = {
        "best": f"{best}: best mean",
        "tied": "≈ tied with it: a paired t-test over the seeds that both have, at 5 % after Holm's correction over the "
        "variants, does not tell them apart",
        "untested": "untested: one seed says nothing of which is best",
    }
    return "; ".join(words[mark] for mark in words if marked[mark])


def notes(study: Study, runs: pd.DataFrame) -> list[str]:
    """Why cells are blank and trials failed, a line each."""
    lines = []
    for (dataset, split), trials in runs.groupby(["dataset", "split"], sort=False):
        for metric in (metric.name for metric in study.metrics):
            where = f"{metric} on {dataset}{unless_test(str(split))}"
            taken = protocols(trials, metric)
            if len(taken) > 1:
                each = "; ".join(map(in_words, sorted(taken)))
                lines.append(f"{where} was taken under {len(taken)} protocols, which one column cannot hold: {each}")
            finished = trials[trials["state"] == "finished"]
            if f"reason.{metric}" in finished:
                blank = finished[finished[f"reason.{metric}"].fillna("") != ""]
                for reason, blanks in blank.groupby(f"reason.{metric}", sort=True):
                    lines.append(f"{where} is blank for {', '.join(sorted(set(blanks['model'])))}: {reason}")
    for _, trial in runs[runs["state"] == "failed"].iterrows():
        where = f"{trial['variant']} seed {trial['seed']} on {trial['dataset']}{unless_test(trial['split'])}"
        lines.append(f"{where} failed: {trial['failure']}: {trial['reason']}")
    return lines


def prepared(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs in the study's own order, under names that tell configurations apart; a StudyError where there are none."""
    if not len(runs):
        raise StudyError(f"no trial of study {study.name} is tracked yet; run: bench run study {study.name}")
    return _told_apart(_ordered(study, runs))


def protocols(runs: pd.DataFrame, metric: str, *, trained: bool = False) -> dict[str, list[str]]:
    """The protocols under which the values of a metric were taken, each as sorted JSON, and the variants under each.

    Two of them do not stand in one column. With what a model was ``trained`` in they are for a reader: rows may differ in that.
    """
    if f"protocol.{metric}" not in runs or f"metric.{metric}" not in runs:
        return {}
    found: dict[str, list[str]] = {}
    for variant, text in runs.loc[runs[f"metric.{metric}"].notna(), ["variant", f"protocol.{metric}"]].dropna().values:
        if text:
            facts = {name: fact for name, fact in json.loads(text).items() if trained or name not in TRAINED}
            variants = found.setdefault(json.dumps(facts, sort_keys=True), [])
            variants += [variant] if variant not in variants else []
    return found


def values_of(trials: pd.DataFrame, metric: str) -> pd.Series[float]:
    """What trials measured, by seed; what is blank or infinite is left out."""
    values = pd.to_numeric(trials.set_index("seed").get(f"metric.{metric}", pd.Series(dtype=float)))
    return values[values.abs() < LARGEST].dropna()


def in_words(protocol: str) -> str:
    """A protocol in a reader's words."""
    return ", ".join(f"{name} {value}" for name, value in json.loads(protocol).items())


def unless_test(split: str) -> str:
    """What follows a data set's name where it was not measured on the test split."""
    return "" if split == "test" else f", {split} split"


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


def _summarised(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """The rows of one data set and split."""
    rows: list[dict[str, object]] = []
    values: list[dict[str, pd.Series[float]]] = []  # by metric and seed, for each row
    names = [metric.name for metric in study.metrics]
    mixed = [name for name in names if len(protocols(runs, name)) > 1]
    for (dataset, split, variant, _), trials in runs.groupby(ROW, sort=False):
        finished = trials[trials["state"] == "finished"]
        rows.append({"dataset": dataset, "split": split, "variant": variant, "model": trials["model"].iloc[0]})
        values.append({n: values_of(finished.iloc[:0] if n in mixed else finished, n) for n in names})
        for name, found in values[-1].items():
            rows[-1] |= {
                f"{name}_mean": found.mean(),
                f"{name}_std": found.std(),  # of a sample, blank for one seed
                f"{name}_n": len(found),
                f"{name}_interval": interval(list(found)),
                f"{name}_biased": any("biased" in json.loads(text) for text in protocols(finished, name)),
            }
        for cost in ("parameters", "epochs", "seconds_per_epoch", "images_per_second", "peak_megabytes"):
            rows[-1][cost] = pd.to_numeric(finished[cost]).mean()
        rows[-1] |= {"finished": len(finished), "total": len(trials), "success_rate": len(finished) / len(trials)}
    table = pd.DataFrame(rows)
    compared = [_compared(metric, pd.to_numeric(table[f"{metric.name}_mean"]), values) for metric in study.metrics]
    return pd.concat([table, *compared], axis=1)


def _compared(metric: Metric, means: pd.Series[float], values: list[dict[str, pd.Series[float]]]) -> pd.DataFrame:
    """Every row's mean of a metric compared with the best one; where nothing was tested, no mean is called best."""
    name, costs = metric.name, metric.sign * means
    if not metric.directed or costs.notna().sum() < 2:
        return pd.DataFrame({f"{name}_p": math.nan, **dict.fromkeys(_marks(name), False)}, index=means.index)
    best, leader = costs == costs.min(), values[int(costs.argmin())][name]
    others = costs.notna() & ~best
    differences: list[Iterable[float]] = [
        (own[name] - leader).dropna() if other else [] for own, other in zip(values, others, strict=True)
    ]
    p = pd.Series(holm([apart(list(each)) for each in differences]), index=means.index)
    tested = bool(p.notna().any()) or (len(leader) > 1 and not others.any())
    marks = dict(zip(_marks(name), (best & tested, p > LEVEL, others & p.isna()), strict=True))
    return pd.DataFrame({f"{name}_p": p, **marks})


def _marks(name: str) -> tuple[str, str, str]:
    return f"{name}_best", f"{name}_tied", f"{name}_untested"


def _ordered(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """The study's own order of data sets and variants; a search's best first, its confirmed ones before its proposals."""
    datasets = {name: index for index, name in enumerate(study.datasets)}
    labels = {name: index for index, name in enumerate(study.labels())}
    rows = rows.reset_index(drop=True)
    keys = pd.DataFrame(index=rows.index)
    keys["dataset"] = rows["dataset"].map(datasets).fillna(len(datasets))
    keys["path"] = rows["dataset"]
    keys["split"] = (rows["split"] != "test").astype(int)
    keys["label"] = [labels.get(name, labels.get(name.partition(" (")[0], len(labels))) for name in rows["variant"]]
    name = study.objective.name
    objective = f"{name}_mean" if f"{name}_mean" in rows else f"metric.{name}"
    if study.is_search and objective in rows:
        keys["objective"] = study.objective.sign * pd.to_numeric(rows[objective])
    ties = [name for name in ("variant", "seed", "configuration") if name in rows]
    keys[ties] = rows[ties]
    return rows.loc[keys.sort_values(list(keys.columns), kind="stable").index].reset_index(drop=True)


def _readable(study: Study, rows: pd.DataFrame, best: str) -> pd.DataFrame:
    shown: dict[str, list[str]] = {"variant": list(rows["variant"])}
    for metric in study.metrics:
        name = metric.name
        cells, intervals = [], []
        for _, row in rows.iterrows():
            mean, std, half = (float(row[f"{name}_{part}"]) for part in ("mean", "std", "interval"))
            text = _with_spread(mean, std) if not pd.isna(mean) else ""
            style = best if row[f"{name}_best"] else "{} ≈" if row[f"{name}_tied"] else "{}"
            style += " untested" if row[f"{name}_untested"] and rows[f"{name}_best"].any() else ""
            cells.append(style.format(text))
            intervals.append("" if pd.isna(half) else f"± {half:.3g}")
        remarks = ["biased"] if rows[f"{name}_biased"].any() else []
        remarks += ["untested"] if rows[f"{name}_untested"].any() and not rows[f"{name}_best"].any() else []
        shown[", ".join((f"{name} {metric.arrow}".rstrip(), *remarks))] = cells
        if metric == study.objective and any(intervals):
            shown[f"{name}, 95 %"] = intervals
    shown["parameters"] = ["" if pd.isna(n) else f"{int(n):,}" for n in rows["parameters"]]
    shown["s/epoch"] = ["" if pd.isna(s) else f"{s:.2g}" if s < 10 else f"{s:.0f}" for s in rows["seconds_per_epoch"]]
    shown["finished"] = [f"{done}/{total}" for done, total in zip(rows["finished"], rows["total"], strict=True)]
    return pd.DataFrame(shown)


def _laid_out(table: pd.DataFrame) -> pd.DataFrame:
    """The table, or where few variants have many measures its rows as columns: a page holds those, and not the others."""
    if len(table) > SIDE_BY_SIDE or table.shape[1] <= COLUMNS or table["variant"].duplicated().any():
        return table
    return table.set_index("variant").T.rename_axis("measure").reset_index()


def plain_table(table: pd.DataFrame, width: int = WIDTH) -> str:
    """As many columns side by side as ``width`` holds; names, in the first one, that are too long for it go on below."""
    cells = {str(name): list(map(str, table[name])) for name in table}
    widths = {name: max(map(len, (name, *column))) for name, column in cells.items()}
    title = next(iter(cells))
    names = [printable(name) for name in cells.pop(title)]
    blocks: list[list[str]] = [[]]
    for column in cells:
        if blocks[-1] and NAME + sum(2 + widths[each] for each in [*blocks[-1], column]) > width:
            blocks.append([])
        blocks[-1].append(column)
    parts = []
    for block in blocks:
        rest = sum(2 + widths[column] for column in block)
        widths[title] = min(widths[title], max(NAME, width - rest))
        sizes = [widths[column] for column in (title, *block)]
        rows = [[title, *block], ["-" * size for size in sizes]]
        for index, text in enumerate(names):
            name, *more = textwrap.wrap(text, widths[title])
            rows += [[name, *(cells[column][index] for column in block)], *([line] for line in more)]
        parts.append("\n".join("  ".join(map(str.ljust, row, sizes)).rstrip() for row in rows))
    return "\n\n".join(parts)


def _with_spread(mean: float, std: float) -> str:
    """Four digits of the mean and the standard deviation to the same place, or both to one more that it needs."""
    largest = max(abs(mean), 0.0 if pd.isna(std) else std)
    places = max(0, 3 - math.floor(math.log10(largest))) if largest else 3
    places += 10.0 ** -(places + 1) <= std < 10.0**-places
    style = f".{places}f" if largest < 1e6 else ".3e"
    return f"{mean:{style}}" + ("" if pd.isna(std) else f" ± {std:{style}}")
