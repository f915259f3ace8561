"""How every value was measured, in a reader's words."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping

import pandas as pd

from bench.report.blocks import Cell, Table
from bench.report.tables import protocols
from bench.study.catalogue import catalogue
from bench.study.definition import Study

# What a fact of a protocol says; one that is not here says its own name.
IMAGES = {"images": "{} held-out images", "split": "{} split", "generated": "{} generated images"}
WORDS = {
    "train": "{} training images",
    "of_images": "on {} of them",
    "fitted_on": "fitted on {} training images",
    "at_most": "at most {} of a kind",
    "chosen": "{}",
    "draws": "{} draws for each image",
    "pixels": "pixels {}",
    "told": "each told {}",
    "extractor": "features of {}",
    "accuracy": "right on {} of held-out images",
    "weights": "weights {}",
    "dtype": "in {}",
    "neighbours": "{} nearest neighbours",
    "biased": "biased {}",
    "stands_as": "stands as {}",
    "sure_from": "sure from {} on",
    "most_common_of_held_out": "{} of held-out images",
    "threshold": "a variance above {}",
    "nearest_of": "nearest of {}",
    "range": "images in {}",
    "high": "frequencies {}",
    "extrapolated_from": "extrapolated from {} images on",
}
OPTION = "param."
TRAINING = {
    "precision": "in {}",
    "binarise": "on binarised images: {}",
    "threads": "with {} of a processor",
    "weights_in": "of weights that were kept in {}",
}


def measured(study: Study, runs: pd.DataFrame) -> Table:
    """A row for how models were trained, and one for all measures that were taken likewise: on which images, and how.

    Of which variants, where they differ.
    """
    rows: dict[tuple[str, ...], list[str]] = {}  # data set, on, how, variants -> measures
    for (dataset, _), trials in runs.groupby(["dataset", "split"], sort=False):
        trained = _trained(study, trials)
        for words, variants in sorted(trained.items()):
            rows.setdefault((str(dataset), "", words, _unless_all(variants, trained)), []).append("training")
        for metric in (metric.name for metric in study.metrics):
            taken = protocols(trials, metric)
            for text, variants in sorted(taken.items()):
                facts = json.loads(text)
                order = [*(name for name in WORDS if name in facts), *(n for n in facts if n not in (*WORDS, *IMAGES))]
                place = (str(dataset), _words(IMAGES, facts, IMAGES), _words(order, facts, WORDS))
                rows.setdefault((*place, _unless_all(variants, taken)), []).append(metric)
    cells = [tuple(map(Cell, (", ".join(dict.fromkeys(measures)), *words))) for words, measures in rows.items()]
    return Table("protocol", ("measures", "data set", "on", "how", "variants"), tuple(cells)).filled()


def settings(study: Study, runs: pd.DataFrame) -> Table:
    """The settings in which variants of a data set differ, but for what the study varies; no rows where none do, or in a search.

    What a model has to itself is compared between variants of that model: two models may mean two things by one name.
    """
    columns = [
        name for name in map(str, runs) if name.startswith(OPTION) and name.removeprefix(OPTION) not in study.vary
    ]
    common = {OPTION + name for options in catalogue().options.values() for name in options}
    rows, differing = [], set[str]()
    for dataset, trials in () if study.is_search else runs.groupby("dataset", sort=False):
        first = trials.drop_duplicates("variant").set_index("variant")
        for variant, trial in first.iterrows():
            rows.append((str(dataset), str(variant), {name: _setting(trial[name]) for name in columns}))
        told = first[columns].map(_setting)
        differing |= {name for name in common & {*columns} if told[name].nunique() > 1}
        differing |= {name for _, own in told.groupby(first["model"]) for name in columns if own[name].nunique() > 1}
    shown = [name for name in columns if name in differing]
    words = tuple(name.removeprefix(OPTION).replace("_", " ") for name in shown)
    cells = [(Cell(variant), Cell(dataset), *(Cell(told[n]) for n in shown)) for dataset, variant, told in rows]
    return Table("settings", ("variant", "data set", *words), tuple(cells) if shown else ())


def _setting(value: object) -> str:
    """A setting as it stands in a table of runs; empty where it has none."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:g}"
    return str(value).strip('"')


def _trained(study: Study, trials: pd.DataFrame) -> dict[str, list[str]]:
    """How models were trained that is not seen in their images, in words, and the variants of each."""
    facts: dict[str, dict[str, object]] = {}
    for metric in study.metrics:
        for text, variants in protocols(trials, metric.name, trained=True).items():
            for variant in variants:
                own = {name: fact for name, fact in json.loads(text).items() if name in TRAINING}
                facts.setdefault(variant, {}).update(own)
    found: dict[str, list[str]] = {}
    for variant, own in facts.items():
        if own:
            found.setdefault(_words(TRAINING, own, TRAINING), []).append(variant)
    return found


def _unless_all(variants: list[str], taken: Mapping[str, list[str]]) -> str:
    return ", ".join(variants) if len(taken) > 1 else ""


def _words(names: Iterable[str], facts: Mapping[str, object], words: Mapping[str, str]) -> str:
    """The facts that there are, in this order and in words."""
    return ", ".join(_fact(name, facts[name], words.get(name, "")) for name in names if name in facts)


def _fact(name: str, value: object, words: str) -> str:
    text = str(value)
    if name == "accuracy":
        text = f"{100 * float(text):.4g} %"
    elif text.isdecimal():
        text = f"{int(text):,}"
    if name == "threads":
        text += " thread" if text == "1" else " threads"
    return words.format(text) if words else f"{name.replace('_', ' ')} {text}"
