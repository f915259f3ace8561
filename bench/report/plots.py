"""The plots of a report: all of one width and one font size, so that they are legible at half of it, and in grey too."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from bench.images import COLOURS, FONT, WIDTH, Picture
from bench.report.significance import interval

DPI = 100
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
STYLES: tuple[Style, ...] = ("-", "--", "-.", ":")
LEGEND = 90  # letters of a name that a legend has room for ...
BESIDE = 48  # ... and those beside a panel
DECADES = 100  # an axis is logarithmic where its largest value is so many times its smallest ...
APART = 5  # ... and where data sets are compared, whose levels lie apart, already here
LOGARITHMIC = "logarithmic"
ACROSS = 3  # panels in a row
MARKED = 8  # marks along a curve
SAID: dict[str, Any] = {"color": "black", "markersize": 16, "markeredgewidth": 2, "linestyle": "", "zorder": 3}

Style = Literal[":", "--", "-", "-."]
Curve = Mapping[int, Sequence[float]]  # epoch -> the value of each seed
Panels = Mapping[str, Mapping[str, Mapping[str, Curve]]]  # loss term -> variant -> split -> curve


@dataclass(frozen=True)
class Effect:
    """One measure of every variant on every data set.

    Attributes:
        title: its name, with what is better.
        unit: of its values; may be empty.
        values: of the seeds, by data set and by place: all numbers of a varied setting, or all names.
        real: what it is of real images, by data set, where that is known.
        said: the numbers that a source has for it, by data set and by place.
    """

    title: str
    unit: str
    values: Mapping[str, Mapping[str | float, Sequence[float]]]
    real: Mapping[str, float] = field(default_factory=dict)
    said: Mapping[str, Mapping[str | float, Sequence[float]]] = field(default_factory=dict)


def curves(panels: Panels, xlabel: str = "epoch") -> Picture:
    """Loss curves, a panel for each term, a colour and a mark for each variant.

    Lines are means over seeds, bands the range from the lowest seed to the highest. Training images are dashed as they compare
    with held-out ones (``train_eval``), and dotted as the steps took them (``train``). An axis is logarithmic only where its
    values are positive and span two decades, and says so.
    """
    variants = list(dict.fromkeys(variant for panel in panels.values() for variant in panel))
    look = dict(zip(variants, zip(_colours(len(variants)), _marks(len(variants)), strict=True), strict=True))
    names = [Line2D([], [], color=colour, marker=mark, label=_label(name)) for name, (colour, mark) in look.items()]
    splits = dict.fromkeys(split for panel in panels.values() for curve in panel.values() for split in curve)
    names += [Line2D([], [], color="dimgrey", linestyle=_style(split), label=split) for split in splits]
    with drawn(len(panels), names) as (figure, every):
        for axes, (term, panel) in zip(every, panels.items(), strict=True):
            for number, (variant, each) in enumerate(panel.items()):
                for split, curve in each.items():
                    _draw(axes, curve, *look[variant], _style(split), number)
            values = [
                v for each in panel.values() for curve in each.values() for seeds in curve.values() for v in seeds
            ]
            axes.set_title(term, parse_math=False)
            axes.set_xlabel(xlabel)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, steps=[1, 2, 5, 10]))
            scale(axes, values, "")
    return finished(figure)


def effects(measures: Sequence[Effect], setting: str, places: Sequence[str | float]) -> Picture:
    """Every measure against the varied ``setting``, or by variant where that is empty; all data sets in one frame.

    Seeds are dots, a mark is their mean, and its bar the 95 % interval by Student's t; a dotted line is what real images have,
    a black dash the number that a source has. A row of panels lists the variants that it has something of, in the order of
    ``places``.
    """
    datasets = list(dict.fromkeys(dataset for each in measures for dataset in each.values))
    look = dict(zip(datasets, zip(_colours(len(datasets)), _marks(len(datasets)), strict=True), strict=True))
    names = [
        Line2D(
            [], [], color=colour, marker=mark, linestyle=STYLES[n % len(STYLES)] if setting else "", label=_label(name)
        )
        for n, (name, (colour, mark)) in enumerate(look.items())
    ]
    wide = APART if len(datasets) > 1 else DECADES
    across = ACROSS if setting or max(len(_label(str(place))) for place in places) < 24 else 2
    listed = [_places(measures[start : start + across], places) for start in range(0, len(measures), across)]
    heights = [3.6 if setting else 1.2 + 0.34 * max(4, len(row)) for row in listed]
    with drawn(len(measures), names, heights, across) as (figure, every):
        for index, (axes, each) in enumerate(zip(every, measures, strict=True)):
            here = listed[index // across]
            for number, dataset in enumerate(datasets):
                shift = 0.0 if setting else 0.5 * (number - (len(datasets) - 1) / 2) / len(datasets)
                own = each.values.get(dataset, {})
                at = [p if isinstance(p, float) else here.index(p) + shift for p in own]
                _spread(axes, at, list(own.values()), *look[dataset], STYLES[number % len(STYLES)], across=not setting)
                if dataset in each.real:
                    (axes.axhline if setting else axes.axvline)(
                        each.real[dataset], color=look[dataset][0], linestyle=":"
                    )
                for place, numbers in each.said.get(dataset, {}).items():
                    at = [place if isinstance(place, float) else here.index(place) + shift] * len(numbers)
                    axes.plot(*((at, numbers) if setting else (numbers, at)), "_" if setting else "|", **SAID)
            values = [v for own in each.values.values() for seeds in own.values() for v in seeds]
            values += [*each.real.values(), *(v for own in each.said.values() for found in own.values() for v in found)]
            axes.set_title(each.title, parse_math=False)
            if setting:
                axes.set_xlabel(setting if index + ACROSS >= len(measures) else "", parse_math=False)
                axes.set_xticks([p for p in places if isinstance(p, float)])
                _numbers(axes, [p for p in places if isinstance(p, float)])
                scale(axes, values, each.unit, wide)
            else:
                names_here = [_label(str(p), BESIDE) if index % across == 0 else "" for p in here]
                axes.set_yticks(range(len(here)), names_here, parse_math=False)
                axes.set_ylim(len(here) - 0.5, -0.5)
                axes.xaxis.set_major_locator(MaxNLocator(4))
                scale(axes, values, each.unit, wide, along="x")
    return finished(figure)


def _places(measures: Sequence[Effect], places: Sequence[str | float]) -> list[str | float]:
    """Those of ``places`` that any of the measures has a value of."""
    return [place for place in places if any(place in own for each in measures for own in each.values.values())]


@contextmanager
def drawn(
    panels: int, legend: Sequence[Line2D], height: float | Sequence[float] = 3.9, across: int = ACROSS
) -> Iterator[tuple[Figure, list[Axes]]]:
    """A figure with so many panels, to be drawn in, its rows ``height`` inches high, or each as it says; its legend is below."""
    across = min(across, panels)
    heights = [height] * math.ceil(panels / across) if isinstance(height, float) else height
    width = WIDTH / DPI
    entry = 0.9 + 0.15 * max((len(str(each.get_label())) for each in legend), default=0)  # inches that a name needs
    columns = max(1, min(8, int(width / entry)))
    columns = math.ceil(len(legend) / math.ceil(len(legend) / columns)) if legend else 1  # rows of one length
    with matplotlib.rc_context(
        {"font.size": font_points(), "axes.titlesize": font_points(), "legend.fontsize": font_points()}
    ):
        size = (width, sum(heights) + 0.32 * math.ceil(len(legend) / columns))
        figure = Figure(figsize=size, layout="constrained", dpi=DPI)
        grid = figure.add_gridspec(len(heights), across, height_ratios=heights)
        every = [figure.add_subplot(grid[divmod(number, across)]) for number in range(panels)]
        yield figure, every
        for axes in every:
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        if legend:
            place = figure.legend(handles=list(legend), loc="outside lower center", ncols=columns, frameon=False)
            for text in place.get_texts():
                text.set_parse_math(False)  # a name with two dollars is no formula


def finished(figure: Figure) -> Picture:
    """A figure that was drawn, as a picture."""
    canvas = FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # a sign that the font lacks is a box
        canvas.draw()  # type: ignore[no-untyped-call]  # `Figure.savefig` would draw it twice
    return np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]


def _draw(axes: Axes, curve: Curve, colour: str, mark: str, style: Style, number: int) -> None:
    """One curve; its marks stand where those of no other variant do, as far as there is room."""
    epochs = sorted(curve)
    means = [float(np.mean(curve[epoch])) for epoch in epochs]
    step = max(1, len(epochs) // MARKED)
    marks = (number % step, step) if style == "-" or len(epochs) == 1 else []
    axes.plot(epochs, means, style, marker=mark, markevery=marks, color=colour, linewidth=1.8, markersize=7)
    lows, highs = [min(curve[epoch]) for epoch in epochs], [max(curve[epoch]) for epoch in epochs]
    axes.fill_between(epochs, lows, highs, color=colour, alpha=0.15, linewidth=0)


def _spread(
    axes: Axes, at: list[float], seeds: list[Sequence[float]], colour: str, mark: str, style: Style, across: bool
) -> None:
    """Seeds as dots, their means as marks with an interval; means are joined but where variants lie ``across``."""
    means = [float(np.mean(each)) for each in seeds]
    bars = np.nan_to_num([interval(list(each)) for each in seeds])
    dots = [(place, value) for place, each in zip(at, seeds, strict=True) for value in each]
    if across:
        axes.plot([v for _, v in dots], [p for p, _ in dots], "o", color=colour, alpha=0.4, markersize=5)
        axes.errorbar(means, at, xerr=bars, fmt=mark, color=colour, capsize=4, markersize=8)
    else:
        axes.plot(*zip(*dots, strict=True) if dots else ([], []), "o", color=colour, alpha=0.4, markersize=5)
        axes.errorbar(
            at, means, yerr=bars, fmt=mark, linestyle=style, color=colour, capsize=4, markersize=8, linewidth=1.8
        )


def scale(
    axes: Axes, values: Sequence[float], unit: str, wide: float = DECADES, along: Literal["x", "y"] = "y"
) -> None:
    """Name an axis by its unit; make it logarithmic, and say so, where its values are positive and span ``wide`` times."""
    words = [unit] if unit else []
    if values and 0 < wide * min(values) < max(values):
        (axes.set_yscale if along == "y" else axes.set_xscale)("log")
        axis = axes.yaxis if along == "y" else axes.xaxis
        axis.set_major_locator(
            LogLocator(subs=(1, 2, 5) if max(values) < 10 * DECADES * min(values) else (1,), numticks=6)
        )
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
        words.append(LOGARITHMIC)
    if along == "y":
        axes.set_ylabel("\n".join(words), parse_math=False)  # of which one line might be longer than the axis
    else:
        axes.set_xlabel(", ".join(words), parse_math=False)


def _numbers(axes: Axes, places: list[float]) -> None:
    """Show the values of the varied setting as they are written; evenly where they are far apart, which is said."""
    if 0 < DECADES * min(places) <= max(places):
        axes.set_xscale("log")
        axes.set_xlabel(f"{axes.get_xlabel()}, {LOGARITHMIC}", parse_math=False)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xticks(places)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def font_points() -> float:
    """The font size in points."""
    return FONT * 72 / DPI


def _label(name: str, most: int = LEGEND) -> str:
    """A name as a legend shows it: one that began with an underscore would be left out of it.

    A longer one lacks its middle: names are alike at one end or at the other.
    """
    name = f" {name}" if name.startswith("_") else name
    kept = most - len("...")
    return name if len(name) <= most else f"{name[: kept - kept // 2]}...{name[-(kept // 2) :]}"


def _style(split: str) -> Style:
    styles: dict[str, Style] = {"train": ":", "train_eval": "--"}
    return styles.get(split, "-")


def _colours(n: int) -> list[str]:
    return [COLOURS[number % len(COLOURS)] for number in range(n)]


def _marks(n: int) -> list[str]:
    """One after another, one further each time that the colours begin again: 49 pairs."""
    return [MARKERS[(number + number // len(COLOURS)) % len(MARKERS)] for number in range(n)]
