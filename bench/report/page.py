"""Tables in, a report's page out: described once, and written as Markdown, HTML, CSV and pictures."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import pandas as pd

from bench.files import Weights
from bench.report import answer, illustrations, ranking, search
from bench.report.blocks import (
    Block,
    Bullets,
    Files,
    Fold,
    Page,
    Picture,
    Quote,
    Row,
    Section,
    Tabs,
    Text,
    mapped,
    some,
)
from bench.report.cells import HELD_OUT, deciding, laid_out, measures
from bench.report.claims import Judgement, judge
from bench.report.folder import RUNS, placeless, replace_files
from bench.report.html import html
from bench.report.latex import latex
from bench.report.markdown import markdown
from bench.report.protocol import measured, settings
from bench.report.provenance import again, cost
from bench.report.tables import TOP, by_protocol, notes, prepared, summary, unless_test
from bench.score import Metric
from bench.study.definition import Study
from bench.study.naming import applied_file, nicknames


def describe(
    study: Study,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, bytes]],
    importances: Mapping[str, Mapping[str, float]],
    table: pd.DataFrame | None = None,
    judgements: Sequence[Judgement] | None = None,
    archive: str = "",
    weights: Weights = "none",
) -> Page:
    """The page of a study, with what lies beside it; the arguments are those of `write`.

    Raises:
        StudyError: nothing is tracked yet.
    """
    runs = prepared(study, runs)
    table = summary(study, runs) if table is None else table
    judgements = judge(study, runs, curves) if judgements is None else judgements
    found = ranking.found(study, table, judgements)
    told, taken = by_protocol(study, runs)
    chosen = deciding(told, table)
    files: dict[str, bytes] = {}
    effects = illustrations.effect_plot(told, table, taken, chosen)
    if effects:
        files[illustrations.EFFECTS] = effects
    sections = []
    stems: Counter[str] = Counter()
    for (dataset, split), rows in table.groupby(["dataset", "split"], sort=False):
        trials = runs[(runs["dataset"] == dataset) & (runs["split"] == split)]
        stem = re.sub(r"[^\w.-]", "-", f"{Path(str(dataset)).stem[:50]}-{split}")
        stems[stem] += 1
        stem += f"-{stems[stem]}" if stems[stem] > 1 else ""  # two paths may end alike
        shown = rows.head(TOP) if study.is_search else rows
        blocks, beside = _compared(told, shown, trials, chosen, curves, pictures, stem)
        if study.is_search and split != "test":
            more, drawn = search.searched(study, trials, importances.get(str(dataset), {}), stem)
            blocks, beside = (*more, *blocks), {**beside, **drawn}
        caption = Text(_caption(study, rows, trials, str(split)))
        sections.append(Section(f"{dataset}{unless_test(str(split))}", (caption, *blocks)))
        files |= beside
    tables = {"summary.csv": table, RUNS: runs} | ({"claims.csv": answer.frame(judgements)} if judgements else {})
    for name, rows in tables.items():
        text = rows.to_csv(index=False, float_format="%.6g")
        files[name] = placeless(text).encode(errors="backslashreplace")
    remarks, differing = notes(study, runs), settings(study, runs)
    smaller = [name for dataset, name in nicknames(runs["dataset"]).items() if study.is_resized_on(dataset)]
    numbers = [("Every number", "summary.csv"), ("every trial", RUNS), ("every verdict", "claims.csv")]
    facts = _facts(study, table, runs, found)
    blocks = some(
        Text(found, lead=True) if found else None,
        answer.tables(judgements) or ranking.ranking(study, table),
        Text(f"Study {study.name}: {facts['data']}, n = {facts['n']}, {facts['date']}."),
        Quote(study.source),
        Text(f"At size {study.size} on {', '.join(smaller)}: {study.sizes[study.size].reason}") if smaller else None,
        _effects(study, chosen, table, judgements) if effects else None,
        Tabs(tuple(sections)),
        Section("Blanks and failures", (Bullets(tuple(remarks)),)) if remarks else None,
        Section("In what else the variants differ", (differing,)) if differing.rows else None,
        Section("How it was measured", (measured(study, runs),)),
        Section("What it cost", cost(runs)),
        Section(
            "How to have it again",
            (*again(runs, study.name, archive, weights), Files(tuple((n, what) for what, n in numbers if n in files))),
        ),
    )
    thumbnail = next((name for name in (illustrations.EFFECTS, *files) if name in files and name.endswith(".png")), "")
    page = Page(study.name, study.question, blocks, files, facts, thumbnail)
    described: Page = mapped(page, placeless)
    return described


def write(
    study: Study,
    runs: pd.DataFrame,
    curves: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, bytes]],
    folder: Path,
    *,
    importances: Mapping[str, Mapping[str, float]] | None = None,
    table: pd.DataFrame | None = None,
    judgements: Sequence[Judgement] | None = None,
    with_latex: bool = False,
    archive: str = "",
    weights: Weights = "none",
) -> Path:
    """Write ``README.md``, ``report.html``, tables (``claims.csv`` where there are any) and pictures into ``folder``.

    What a report wrote there before and has no more is removed.

    Args:
        runs: one row per trial, as `bench.tracking` tables them.
        curves: ``run_id, name, step, value``.
        pictures: PNG by file name, by run.
        importances: of a search, a share for every setting, by data set.
        table: the `summary` of the runs, where it is at hand.
        judgements: what `judge` says of them, where it is at hand.
        with_latex: the tables too, as ``report.tex``.
        archive: the file of its runs, as whoever stands in the project calls it; empty where there is none.
        weights: how their trained weights are in it.

    Returns:
        The path of the ``README.md``.

    Raises:
        StudyError: nothing is tracked yet.
    """
    page = describe(study, runs, curves, pictures, importances or {}, table, judgements, archive, weights)
    facts = {**page.facts, "thumbnail": page.thumbnail}
    texts = {
        "README.md": markdown(page),
        "report.html": html(page),
        "report.json": json.dumps(facts, indent=1, ensure_ascii=False) + "\n",
        **({"report.tex": latex(page)} if with_latex else {}),
    }
    replace_files(folder, {**page.files, **{n: text.encode(errors="backslashreplace") for n, text in texts.items()}})
    return folder / "README.md"


def _compared(
    study: Study,
    rows: pd.DataFrame,
    trials: pd.DataFrame,
    chosen: Sequence[Metric],
    curves: pd.DataFrame,
    pictures: Mapping[str, Mapping[str, bytes]],
    stem: str,
) -> tuple[tuple[Block, ...], dict[str, bytes]]:
    """What one data set has to show: pictures abreast, the measures that decide, the rest folded."""
    sheets = illustrations.sheets(study, rows, trials, pictures, stem)
    curve = illustrations.curve_plot(rows, trials, curves, stem)
    abreast = tuple(sheets[name][0] for name in illustrations.ABREAST if name in sheets)
    applied = [applied_file(name) for name in study.applications]
    folded = tuple(each for name, (each, _) in sheets.items() if name not in (*illustrations.ABREAST, *applied))
    rest = [metric for metric in study.metrics if metric not in chosen]
    more = laid_out(measures(study, rows, rest, f"rest-{stem}", costs=False))
    blocks = some(
        Row(abreast) if abreast else None,
        *(sheets[name][0] for name in applied if name in sheets),
        measures(study, rows, chosen, f"measures-{stem}"),
        Fold("The other measures", (more,)) if len(more.columns) > 1 else None,
        curve[0] if curve else None,
        Fold("More pictures", folded) if folded else None,
    )
    drawn = [*sheets.values(), *([curve] if curve else [])]
    return blocks, {each.file: content for each, content in drawn}


def _effects(study: Study, chosen: Sequence[Metric], table: pd.DataFrame, judgements: Sequence[Judgement]) -> Picture:
    what = " and ".join(study.vary)
    note = "Dots are seeds, marks their means, bars the 95 % intervals of the means by Student's t."
    if any("paired" in each.test for each in judgements):
        note += " Verdicts are of differences seed by seed, which may be surer than bars that overlap."
    if any(metric.name.endswith(HELD_OUT) for metric in chosen):
        note += " A dotted line is what held-out images have."
    rows = table[["dataset", "variant"]].itertuples(index=False)
    if any(illustrations.source_has(study, metric, *row) for row, metric in product(rows, chosen)):
        note += " A black dash is the number that the source has."
    return Picture(illustrations.EFFECTS, f"What {what} does" if what else "How they compare", note)


def _facts(study: Study, table: pd.DataFrame, runs: pd.DataFrame, found: str) -> dict[str, str]:
    """What an index says of the page."""
    counts = sorted({int(n) for n in table.loc[table["finished"] > 0, "finished"]}) or [0]
    datasets = [
        f"{name} ({study.size})" if study.is_resized_on(dataset) else name
        for dataset, name in nicknames(runs["dataset"]).items()
    ]
    return {
        "study": study.name,
        "question": study.question,
        "answer": found,
        "data": ", ".join(datasets),
        "n": f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0]),
        "date": f"{runs['started'].max():%Y-%m-%d}",
    }


def _caption(study: Study, rows: pd.DataFrame, trials: pd.DataFrame, split: str) -> str:
    seeds = sorted(set(trials["seed"]))
    epochs = ", ".join(str(int(n)) for n in sorted(set(trials["epochs"])))
    words = f"Measured on the {split} split after {epochs} epoch{'' if epochs == '1' else 's'}, "
    words += f"mean ± standard deviation over seeds {_listed(seeds)}." if len(seeds) > 1 else f"seed {seeds[0]} alone."
    if study.is_search and split != "test":
        return f"{search.words_of(study, rows, trials)} {words}"
    if study.is_search:
        return f"Confirmed: the best proposals trained again on all training images. {words}"
    return words


def _listed(numbers: Sequence[int]) -> str:
    whole = len(numbers) > 2 and list(numbers) == list(range(numbers[0], numbers[-1] + 1))
    return f"{numbers[0]} to {numbers[-1]}" if whole else " and ".join(str(number) for number in numbers)
