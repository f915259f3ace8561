"""The plots of a search: its history, what mattered, and where the good values lie."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from bench.images import COLOURS, Picture
from bench.report.plots import ACROSS, LOGARITHMIC, drawn, finished, font_points, scale


def history(tried: Sequence[float | None], title: str, unit: str, lower: bool) -> Picture:
    """The objective of every proposal in its order, None for one that was given up or failed, and the best so far."""
    with drawn(1, [], 4.2, 1) as (figure, (axes,)):
        found = {number: value for number, value in enumerate(tried, start=1) if value is not None}
        best = (np.minimum if lower else np.maximum).accumulate(list(found.values()))
        axes.plot(list(found), list(found.values()), "o", color=COLOURS[0], label="finished")
        axes.step(list(found), best, "-", color=COLOURS[1], where="post", label="best so far")
        if lost := [number for number, value in enumerate(tried, start=1) if value is None]:
            level = max(found.values()) if lower else min(found.values())
            axes.plot(lost, [level] * len(lost), "x", color="dimgrey", label="given up or failed: no value")
        axes.set_title(title, parse_math=False)
        axes.set_xlabel("proposal")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        scale(axes, list(found.values()), unit)
        axes.legend(frameon=False, fontsize=font_points())
    return finished(figure)


def slices(
    settings: Mapping[str, Sequence[str | float]],
    values: Sequence[float],
    title: str,
    unit: str,
    *,
    lower: bool,
    logarithmic: Collection[str],
) -> Picture:
    """The objective of every finished proposal against each setting that the search varied; a star is the best one."""
    best = int((np.argmin if lower else np.argmax)(values))
    with drawn(len(settings), [], 3.6, ACROSS) as (figure, every):
        for axes, (setting, own) in zip(every, settings.items(), strict=True):
            numbers = [place for place in own if isinstance(place, float)]
            names = sorted({str(place) for place in own})
            at = numbers if len(numbers) == len(own) else [float(names.index(str(place))) for place in own]
            axes.plot(at, values, "o", color=COLOURS[0], alpha=0.7)
            axes.plot([at[best]], [values[best]], "*", color=COLOURS[1], markersize=16)
            axes.set_title(title, parse_math=False)
            scale(axes, list(values), unit)
            axes.set_xlabel(setting, parse_math=False)
            if at is not numbers:
                axes.set_xticks(range(len(names)), names, parse_math=False, rotation=20)
                axes.margins(x=0.15)
            elif setting in logarithmic:
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axes.xaxis.set_minor_formatter(NullFormatter())
                axes.set_xlabel(f"{setting}, {LOGARITHMIC}", parse_math=False)
            else:
                axes.xaxis.set_major_locator(MaxNLocator(5))
    return finished(figure)


def shares(of: Mapping[str, float], title: str) -> Picture:
    """Shares of a whole as bars, the largest on top."""
    names = sorted(of, key=lambda name: -of[name])
    with drawn(1, [], 1.2 + 0.45 * len(names), 1) as (figure, (axes,)):
        bars = axes.barh(range(len(names)), [100 * of[name] for name in names], color=COLOURS[0])
        axes.bar_label(bars, fmt="%.0f %%", padding=4)
        axes.set_yticks(range(len(names)), names, parse_math=False)
        axes.invert_yaxis()
        axes.set_title(title, parse_math=False)
        axes.set_xlabel("%")
        axes.margins(x=0.1)
    return finished(figure)
