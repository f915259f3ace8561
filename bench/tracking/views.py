"""What MLflow's UI opens on: two saved views for every data set of a study, and one colour for every variant.

MLflow keeps a saved view as a tag of the experiment, ``mlflow.sharedViewState.<id>``: a name, and the state of the page as JSON.
What the state can hold is the UI's own affair, read in the code of 3.17; what it does not know it leaves alone.
"""

from __future__ import annotations

import base64
import colorsys
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pandas as pd

from bench.images import COLOURS
from bench.score import LARGEST, Metric
from bench.study.definition import Trial
from bench.study.naming import nickname
from bench.text import is_name
from bench.tracking.borrowed import show_borrowed
from bench.tracking.names import FINAL
from bench.tracking.reach import asking
from bench.tracking.rows import Record
from bench.tracking.store import Store
from bench.tracking.thumbnails import complete
from bench.tracking.words import present, title

VIEW = "mlflow.sharedViewState."
DEFLATED = "deflate;"
LONG = 15_000  # characters; MLflow takes 20,000 of an experiment's tag
GROUP_COLOURS = "group colours"  # of the experiment: the colour of every group that its views make, as JSON
SHOWN = "shown"  # of the experiment: a hash of the runs that its views were made from
LOOK = 6  # raised where views of the same runs come to look otherwise, so that they are written anew
OBJECTIVES = 6  # measures that a view opens with; the rest are folded
COSTS = ("time/epoch_s", "time/images_per_s", "memory/peak_mb")
ENERGY = ("energy/processor_wh", "energy/gpu_wh")  # which few machines can tell
ABREAST = 2  # pictures that have room beside one another in a window 1,400 pixels wide; a card hides what does not fit
LONG_NAME = 50  # letters, from which on a picture, as wide as its run's name, has a row of its own
HEIGHT, HEIGHT_OF_LONG = 300, 550  # pixels of a row, of each of them
MARGIN = 0.05  # of the range that curves come to, left free above and below

State = dict[str, Any]


@dataclass(frozen=True)
class Link:
    """A saved view: its name, and its path in the UI, which begins with ``#``."""

    name: str
    path: str


def links(store: Store, dataset: str) -> list[Link]:
    """The saved views of a study's runs on a data set."""
    return [_link(store, view, dataset) for view in ("variants", "pictures")]


def group_colours(store: Store) -> dict[str, str]:
    """The colour of every group that the saved views make, by what the UI calls it: it has them from nowhere but the browser."""
    found: dict[str, str] = json.loads(store.tags().get(GROUP_COLOURS, "{}"))
    return found


@asking()
def write_views(store: Store, metrics: Sequence[Metric], chosen: Callable[[Trial], Mapping[str, Any]]) -> bool:
    """Save the views of every data set that the study has runs on, and give each run its name, note and colour.

    Nothing is written where no run has come, gone, changed its state or been measured again since; whether one has.

    Args:
        metrics: the study's, the objective first; of one without a file, none.
        chosen: a trial's settings that are not the defaults, and those that its study varies.

    Raises:
        StoreError: the store cannot be written.
    """
    records = sorted(store.records().values(), key=lambda record: record.started)
    if store.experiment_id is None or not records:
        return False
    now = [[each.run_id, each.state, {name: score.value for name, score in each.scores.items()}] for each in records]
    shown = hashlib.sha256(json.dumps([LOOK, now, [metric.name for metric in metrics]]).encode()).hexdigest()[:16]
    tags = store.tags()
    if tags.get(SHOWN) == shown:
        return False
    variants = list(dict.fromkeys(record.trial.variant for record in records))
    colours = dict(zip(variants, _colours(len(variants)), strict=True))
    written = {GROUP_COLOURS: json.dumps({_group(name): colour for name, colour in colours.items()})}
    datasets = list(dict.fromkeys(record.trial.dataset for record in records))
    for dataset in datasets:
        own = [record for record in records if record.trial.dataset == dataset]
        splits = {record.trial.held_out for record in own}
        if len(splits) > 1:  # a search's, whose bars would be means of what was proposed and what was confirmed
            own = [record for record in own if record.trial.held_out == _last_split(own)]
        finished = sorted((record for record in own if record.state == "finished"), key=lambda each: each.trial.seed)
        curves = store.curves(record.run_id for record in finished)
        # Who first drew: of runs that came in a file some have pictures, and not all.
        seeds = ((record.trial.seed, drawn) for record in finished if (drawn := store.drawn(record.run_id)))
        seed, drawn = next(seeds, (min(record.trial.seed for record in own), {}))
        states = {
            "variants": variants_view(own, metrics, curves, {name for name, _ in drawn}),
            "pictures": pictures_view(own, seed, curves, drawn),
        }
        filters = [f"tags.dataset = {_quoted(dataset)}"] if len(datasets) > 1 else []
        if len(splits) > 1:
            filters.append(f"tags.split = '{own[0].trial.held_out}'")
            _by_objective(states, metrics)
        for number, (view, state) in enumerate(states.items()):
            state["searchFilter"] = " and ".join(filter(None, (*filters, state["searchFilter"])))
            moment = records[-1].started - number  # the UI lists the newest first
            name = _link(store, view, dataset).name
            kept = {"name": name, "createdAt": moment, "updatedAt": moment, "state": _packed(state)}
            written[f"{VIEW}{_id(view, dataset)}"] = json.dumps(kept)
    complete(store.reader.runs([store.experiment_id]))
    show_borrowed(store)
    present(store, colours, chosen)
    for name, value in {**written, SHOWN: shown}.items():  # the hash last: what was stopped before is begun again
        if tags.get(name) != value:
            store.client.set_experiment_tag(store.experiment_id, name, value)
    return True


def _packed(state: State) -> str:
    """As JSON; deflated, as the UI itself reads and keeps it, where it is longer than MLflow takes."""
    text = json.dumps(state)
    if len(json.dumps(text)) < LONG:  # it stands in JSON itself
        return text
    return DEFLATED + base64.b64encode(zlib.compress(text.encode())).decode()


def _last_split(records: Iterable[Record]) -> str:
    """The split that a search confirms on, once it has; before that the one it proposes on."""
    confirmed = any(each.state == "finished" and each.trial.held_out == "test" for each in records)
    return "test" if confirmed else "validation"


def _by_objective(states: Mapping[str, State], metrics: Sequence[Metric]) -> None:
    """Have the best of a search stand first: in the order in which it began, its runs tell nothing."""
    if metrics and metrics[0].directed:
        for state in states.values():
            state["orderByKey"] = f"metrics.`{FINAL}{metrics[0].name}`"
            state["orderByAsc"] ^= metrics[0].better == "higher"


def variants_view(
    records: Sequence[Record], metrics: Sequence[Metric], curves: pd.DataFrame, pictures: Collection[str]
) -> State:
    """Bars of what the study asks for, the objective first, and curves from epoch 1 on; a group for every variant."""
    measured = dict.fromkeys(name for each in records for name, score in each.scores.items() if score.value is not None)
    asked = [metric for metric in metrics if metric.name in measured][:OBJECTIVES]
    asked = asked or [Metric(name, "neither") for name in list(measured)[:OBJECTIVES]]
    leading = "Nothing is measured yet"
    if asked:
        first = asked[0]
        better = f" ({first.arrow} {first.better} is better)" if first.directed else ""
        leading = f"{first.name}{better}{', and what else was asked' if asked[1:] else ''}"
    held_out, epochs = records[-1].trial.held_out, _epochs(records)
    names = sorted(set(curves["name"]), key=lambda name: (not name.endswith("/loss"), name))
    learned = [name for name in names if name.startswith(f"{held_out}/")]
    ranges = {name: _range(curves, name) for name in names}
    others = [name for name in measured if name not in {metric.name for metric in asked}]
    sections = {
        leading: [_bar(FINAL + metric.name) for metric in asked],
        f"How it learned, on {held_out} images, from epoch 1": [_line(n, epochs, ranges[n]) for n in learned],
        "Other measures": [_bar(FINAL + name) for name in others],
        "On training images, from epoch 1": [_line(n, epochs, ranges[n]) for n in names if n not in learned],
        "What it cost": [_line(name, epochs, None) for name in COSTS],
    }
    group = {"aggregateFunction": "average", "groupByKeys": [{"mode": "tag", "groupByData": "variant"}]}
    folded = {_group(each.trial.variant): False for each in records}
    hidden = [_image(name, 0) for name in sorted(pictures)]  # groups have no pictures
    return _state(sections, opened=2, hidden=hidden) | {"groupBy": group, "groupsExpanded": folded}


def pictures_view(
    records: Sequence[Record], seed: int, curves: pd.DataFrame, drawn: Collection[tuple[str, int]]
) -> State:
    """What each variant draws after its last epoch, from one seed, side by side.

    Args:
        drawn: what the first of them drew, by name and epoch.
    """
    names = sorted({name for name, _ in drawn}, key=lambda name: (name != "images/samples", name))
    last = max((epoch for _, epoch in drawn), default=0)
    section = f"What it draws after epoch {last}, seed {seed}"
    measured = [FINAL + name for name in dict.fromkeys(name for each in records for name in each.scores)]
    hidden = [
        *map(_bar, measured),
        *(_line(name, last, None) for name in (*dict.fromkeys(curves["name"]), *COSTS, *ENERGY)),
    ]
    state = _state({section: [_image(name, last) for name in names]}, opened=1, hidden=hidden, ascending=False)
    shown = [title(each.trial) for each in records if each.trial.seed == seed]
    long = max(map(len, shown), default=0) > LONG_NAME
    rows, height = (len(shown), HEIGHT_OF_LONG) if long else (math.ceil(len(shown) / ABREAST), HEIGHT)
    state["compareRunSections"][0] |= {"columns": 1, "cardHeight": 100 + height * min(rows, 3)}
    return state | {"searchFilter": f"params.seed = '{seed}'", "groupBy": None}


def _state(
    sections: Mapping[str, list[State]], *, opened: int, hidden: Iterable[State], ascending: bool = True
) -> State:
    """A page of charts by section.

    Args:
        opened: how many of the sections are unfolded.
        hidden: charts that the UI would make by itself and is not to.
        ascending: from the first run on, which is how bars stand below one another; pictures stand the other way round.
    """
    charts = [
        {**chart, "metricSectionId": f"section-{number}"}
        for number, own in enumerate(sections.values())
        for chart in own
    ]
    charts += [{**chart, "metricSectionId": "section-0", "deleted": True} for chart in hidden]
    return {
        "searchFilter": "",
        "orderByKey": "attributes.start_time",  # in which a study begins its trials, variant by variant
        "orderByAsc": ascending,
        "runsHiddenMode": "SHOW_ALL",
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "isAccordionReordered": True,  # or the UI sorts the sections by name
        "compareRunSections": [
            {"uuid": f"section-{number}", "name": name, "display": number < opened, "isReordered": True}
            for number, (name, own) in enumerate(sections.items())
            if own or not number
        ],
        "compareRunCharts": charts,
    }


def _chart(kind: str, name: str, **more: Any) -> State:
    return {"type": kind, "uuid": f"{kind.lower()}-{name}", "runsCountToCompare": 100, "deleted": False, **more}


def _bar(name: str) -> State:
    return _chart("BAR", name, metricKey=name)


def _line(name: str, epochs: int, values: tuple[float, float] | None) -> State:
    """A curve from epoch 1 on: before it has learned anything, a model's loss is so large that nothing else can be seen."""
    low, high = values or (None, None)
    span = {"xMin": 1, "xMax": max(epochs, 2), "yMin": low, "yMax": high}
    return _chart(
        "LINE", name, metricKey=name, selectedMetricKeys=[name], range=span, xAxisKey="step", lineSmoothness=0
    )


def _image(name: str, epoch: int) -> State:
    return _chart("IMAGE", name, imageKeys=[name], step=epoch, showRunParams=False)


def _colours(n: int) -> list[str]:
    """As many colours as there are variants: named ones while they last, then hues, every other one darker."""
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    shades = [colorsys.hls_to_rgb(number / n, 0.35 + 0.2 * (number % 2), 0.7) for number in range(n)]
    return ["#" + "".join(f"{round(255 * part):02X}" for part in shade) for shade in shades]


def _range(curves: pd.DataFrame, name: str) -> tuple[float, float] | None:
    """The lowest and the highest value of a curve from epoch 1 on, and a little more."""
    values = curves["value"][(curves["name"] == name) & (curves["step"] > 0) & (curves["value"].abs() < LARGEST)]
    if not len(values):
        return None
    free = MARGIN * (values.max() - values.min()) or 1.0
    return float(values.min() - free), float(values.max() + free)


def _epochs(records: Iterable[Record]) -> int:
    return max(int(record.trial.settings["training"]["epochs"]) for record in records)


def _group(variant: str) -> str:
    """What the UI calls the group of a variant's runs."""
    return f"tag.variant.{variant}"


def _id(view: str, dataset: str) -> str:
    return f"{view}-{dataset if is_name(dataset) else hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def _link(store: Store, view: str, dataset: str) -> Link:
    query = {"workflowType": "machine_learning", "compareRunsMode": "CHART", "viewStateShareKey": _id(view, dataset)}
    runs = f"#/experiments/{quote(str(store.experiment_id))}/runs"
    return Link(f"{view.capitalize()} on {nickname(dataset)}", f"{runs}?{urlencode(query)}")


def _quoted(text: str) -> str:
    """A text in a filter of MLflow's, which knows two kinds of quotes and no way to write either within itself."""
    return f'"{text}"' if "'" in text else f"'{text}'"
