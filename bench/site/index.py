"""The index: every tracked study with its question, what was found, and what its runs draw."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from importlib.resources import files
from urllib.parse import urlencode

from bench.paths import Paths
from bench.site import reports
from bench.study.naming import nicknames
from bench.text import line
from bench.tracking.errors import StoreError
from bench.tracking.lookup import studies
from bench.tracking.rows import Record
from bench.tracking.server import UI, Answer
from bench.tracking.store import Store
from bench.tracking.views import Link, group_colours, links
from bench.tracking.words import told

POLICY = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'"
MOST_PICTURES = 4  # of a study: one for each of its first variants
STATES = ("finished", "running", "failed", "pruned", "interrupted")


@dataclass(frozen=True)
class Picture:
    """What a variant draws: the address of its thumbnail, from the index's, and the variant's name."""

    address: str
    name: str


@dataclass(frozen=True)
class Entry:
    """A tracked study, as the index tells of it.

    Attributes:
        data: the data sets, in words.
        seeds: the most that a variant has finished on one of them.
        runs: how many there are in every state.
        last: when the newest began; empty where there is none.
        views: by data set.
        report: its address, from the index's; empty where there is none.
    """

    name: str
    question: str
    answer: str
    data: tuple[str, ...]
    seeds: int
    runs: Counter[str]
    last: str
    views: tuple[tuple[str, Sequence[Link]], ...]
    pictures: tuple[Picture, ...]
    report: str


def page(paths: Paths) -> Answer:
    """The index of what is tracked now."""
    entries = []
    for name in studies(paths.store, paths.tracking):
        try:
            entries.append(entry(paths, Store(paths.store, paths.tracking, name, "", create=False)))
        except StoreError as error:
            entries.append(Entry(name, str(error), "", (), 0, Counter(), "", (), (), ""))
    return Answer(html(entries).encode(errors="backslashreplace"), policy=POLICY)


def style() -> Answer:
    """The index's style sheet."""
    return Answer(files("bench.site").joinpath("index.css").read_bytes(), "text/css; charset=utf-8")


def script(paths: Paths) -> Answer:
    """What every page runs before MLflow does: what a browser is to remember of the UI, were it opened there before."""
    colours = {}
    for name in studies(paths.store, paths.tracking):
        store = Store(paths.store, paths.tracking, name, "", create=False)
        colours[str(store.experiment_id)] = group_colours(store)
    text = files("bench.site").joinpath("opening.js").read_text(encoding="utf-8")
    return Answer(f"const COLOURS = {json.dumps(colours)};\n{text}".encode(), "text/javascript; charset=utf-8")


def entry(paths: Paths, store: Store) -> Entry:
    """What the index tells of a study.

    Raises:
        StoreError: the store cannot be used.
    """
    records = sorted(store.records().values(), key=lambda record: record.started)
    finished = [record for record in records if record.state == "finished"]
    datasets = list(dict.fromkeys(record.trial.dataset for record in records))
    places = nicknames(datasets)
    seeds = Counter((record.trial.dataset, record.trial.variant) for record in finished)
    says = told(store)
    return Entry(
        name=store.study,
        question=says.question,
        answer=says.answer,
        data=tuple(places.values()),
        seeds=max(seeds.values(), default=0),
        runs=Counter(record.state for record in records),
        last=f"{datetime.fromtimestamp(records[-1].started / 1000, UTC):%Y-%m-%d %H:%M} UTC" if records else "",
        views=tuple((places[dataset], links(store, dataset)) for dataset in datasets),
        pictures=tuple(_pictures(store, finished)),
        report=reports.place(paths, store.study),
    )


def html(entries: Sequence[Entry]) -> str:
    """The whole page."""
    articles = [part for each in entries for part in _article(each)]
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            "<title>bench: tracked studies</title>",
            '<link rel="icon" href="static-files/favicon.ico">',
            '<link rel="stylesheet" href="index.css">',
            '<script src="opening.js"></script>',
            "</head>",
            "<body>",
            "<h1>Tracked studies</h1>",
            *(articles or ["<p>Nothing is tracked yet; begin with <code>bench run study latent_dim</code>.</p>"]),
            f'<footer><a href="{UI[1:]}#/experiments">All experiments in MLflow</a></footer>',
            "</body>",
            "</html>",
            "",
        )
    )


def _article(study: Entry) -> list[str]:
    lines = [
        f'<article id="{_text(study.name)}">',
        f"<p class=study>{_text(study.name)}</p>",
        f"<h2>{_text(study.question or study.name)}</h2>",
    ]
    if study.answer:
        lines.append(f"<p class=answer>{_text(study.answer)}</p>")
    if study.pictures:
        shown = [
            f'<figure><img src="{escape(each.address)}" alt="samples of {_text(each.name)}" width="128" height="128">'
            f"<figcaption>{_text(each.name)}</figcaption></figure>"
            for each in study.pictures
        ]
        lines.append(f"<div class=pictures>{''.join(shown)}</div>")
    counts = [f"{study.runs[state]} {state}" for state in STATES if study.runs[state]]
    facts = [
        ", ".join(study.data),
        f"{study.seeds} seed{'' if study.seeds == 1 else 's'}" if study.seeds else "",
        f"runs: {', '.join(counts)}" if counts else "no runs",
        study.last,
    ]
    lines.append(f"<p class=facts>{' · '.join(map(_text, filter(None, facts)))}</p>")
    ways = [(link.name, UI[1:] + link.path) for _, views in study.views for link in views]
    ways += [("Report", study.report)] if study.report else []
    anchors = [f'<a href="{escape(address)}">{_text(name)}</a>' for name, address in ways]
    return [*lines, f"<nav>{''.join(anchors)}</nav>", "</article>"]


def _pictures(store: Store, finished: Sequence[Record]) -> list[Picture]:
    """The last samples of the first variants, each from its first seed on the first data set."""
    found: dict[str, Picture] = {}
    for record in sorted(finished, key=lambda record: record.trial.seed):
        trial = record.trial
        if trial.dataset != finished[0].trial.dataset or trial.variant in found or len(found) == MOST_PICTURES:
            continue
        samples = {
            epoch: path for (name, epoch), path in store.drawn(record.run_id).items() if name == "images/samples"
        }
        if samples:
            query = urlencode({"run_uuid": record.run_id, "path": samples[max(samples)]})
            found[trial.variant] = Picture(f"get-artifact?{query}", trial.variant)
    return list(found.values())


def _text(text: str) -> str:
    return escape(line(text))
