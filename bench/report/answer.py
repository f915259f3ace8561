"""Verdicts in words: the answer that a report opens with, the table of what the source said, and both in plain text."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from bench.report.blocks import Block, Cell, Fold, Table
from bench.report.claims import Judgement
from bench.report.plain import WIDTH, plain_table
from bench.study.claims import Claim, Side
from bench.study.naming import nicknames
from bench.text import listed

COLUMNS = ("source said", "data set", "measure", "here", "verdict")
MOST = 2  # claims of a verdict that a sentence tells in full
NAMING = ("nats", "dB", "s", "%")  # units by which a reader knows what was measured
CHANGES = {"rise": "a rise of", "gap": "a gap of"}  # which a claim would not tell from levels
OF_A_CURVE = {
    "settling": "Settling is the epoch from which a curve stays within a tenth of its greatest distance from its own end.",
    "reaching": "Reaching is the first epoch at which a curve is as low as every curve compared, of the same seed, once is.",
    "slope": "A slope is taken over the last fifth of the epochs.",
    "rise": "A rise is the greatest above the least value so far.",
}
SMALLEST = 0.0001  # p-value that is told as a number
LEGEND = (
    "± is half the width of an effect's 95 % interval over the seeds. A claim holds where the interval lies wholly where the "
    "claim says, and does not hold where it lies wholly elsewhere, if p is at most 0.05 too: the test's, after Holm's correction "
    "over the claims tested on the data set. Else nothing can be told. Of several comparisons, the one that decides is shown."
)


def answer(judgements: Sequence[Judgement]) -> str:
    """A sentence of what the verdicts support; empty where nothing is claimed."""
    if not judgements:
        return ""
    names = nicknames(each.dataset for each in judgements)
    run = sorted({names[each.dataset] for each in judgements if each.verdict not in ("open", "not judged")})
    where = f" on {run[0]}" if len(run) == 1 else ""
    told = {"holds": f"it holds{where}", "does not hold": f"it does not hold{where}"}
    parts = [f"{words} {that}" for verdict, words in told.items() if (that := _that(judgements, verdict, len(run) > 1))]
    rest = _untold(judgements, len(run) > 1)
    if all(each.verdict == "not judged" for each in judgements):
        return "No number judges what the source says."
    if not parts:
        return f"There is no verdict on what the source says: {rest}."
    text = "; ".join(filter(None, (*parts, rest)))
    return f"{text[0].upper()}{text[1:]}."


def tables(judgements: Sequence[Judgement]) -> tuple[Block, ...]:
    """What the source said and what was found here; what is open, or cannot be judged, folded where anything else is not."""
    told = [each for each in judgements if each.test]
    rest = [each for each in judgements if not each.test]
    if not (told and rest):
        return (table(judgements),) if judgements else ()
    counts = Counter(each.verdict for each in rest)
    title = f"What else the source says: {listed([f'{count} {verdict}' for verdict, count in counts.items()])}"
    return table(told), Fold(title, (replace(table(rest), name="claims-open"),))


def table(judgements: Sequence[Judgement]) -> Table:
    """What the source said and what was found here, with its legend; without columns that hold nothing."""
    rows = []
    for each, place, first in _rows(judgements):
        claim = f"{each.claim.text} ({each.claim.where})" if first else ""
        told = each.verdict in ("holds", "does not hold")
        measure = _measure(each.claim) if each.means else ""
        verdict = Cell(_word(each), strong=told, after=_because(each))
        rows.append((Cell(claim), Cell(place), Cell(measure), Cell(_here(each)), verdict))
    kinds = {each.claim.metric.partition("/")[0] for each in judgements if each.means}
    legend = " ".join(
        [LEGEND] * any(each.test for each in judgements) + [text for kind, text in OF_A_CURVE.items() if kind in kinds]
    )
    return Table("claims", COLUMNS, tuple(rows), legend).filled()


def plain(found: str, judgements: Sequence[Judgement], width: int = WIDTH) -> str:
    """What was ``found`` and a line for every verdict, as a terminal of ``width`` columns shows them; empty without claims."""
    if not judgements:
        return ""
    rows = [
        (each.claim.text if first else "", place, _effect(each), _word(each))
        for each, place, first in _rows(judgements)
    ]
    columns = tuple(name for name in COLUMNS if name != "measure")
    shown = Table("claims", columns, tuple(tuple(map(Cell, row)) for row in rows))
    return "\n".join((*textwrap.wrap(found, width), "", plain_table(shown, width)))


def _rows(judgements: Sequence[Judgement]) -> list[tuple[Judgement, str, bool]]:
    """The lines of a table, each with its data sets, and whether it is its claim's first, which is said there alone.

    Data sets where a claim is open for one reason share a line.
    """
    rows: list[tuple[Judgement, str, bool]] = []
    names = nicknames(each.dataset for each in judgements)
    for each in judgements:
        last = rows[-1][0] if rows else None
        if (
            last
            and each.verdict == "open"
            and (last.claim, last.verdict, last.reason) == (each.claim, "open", each.reason)
        ):
            rows[-1] = (last, f"{rows[-1][1]}, {names[each.dataset]}", rows[-1][2])
        else:
            rows.append((each, names[each.dataset], not last or last.claim != each.claim))
    return rows


def frame(judgements: Sequence[Judgement]) -> pd.DataFrame:
    """The verdicts for a machine, one a row."""
    return pd.DataFrame(
        [
            {
                "claim": each.claim.text,
                "where": each.claim.where,
                "metric": each.claim.metric,
                "dataset": each.dataset,
                "verdict": each.verdict,
                "compared": " - ".join(map(_name, each.pair)) if any(each.pair) else "",
                "effect": each.effect,
                "low": each.effect - each.half,
                "high": each.effect + each.half,
                "relation": each.claim.relation,
                "margin": each.claim.margin,
                "relative": each.claim.relative,
                "n": each.n,
                "p_holm": each.p,
                "test": each.test,
                "reason": each.reason,
            }
            for each in judgements
        ]
    )


def _that(judgements: Sequence[Judgement], verdict: str, several: bool) -> str:
    """The claims with a verdict and what was measured, on each data set that has it, named where ``several`` were run."""
    places: dict[str, list[str]] = {}
    names = nicknames(each.dataset for each in judgements)
    for each in judgements:
        if each.verdict == verdict:
            words = f"{names[each.dataset]}: {_measured(each)}" if several else _measured(each)
            places.setdefault(each.claim.text.rstrip("."), []).append(words)
    told = [f"{text} ({'; '.join(where)})" for text, where in places.items()]
    more = [f"{len(told) - MOST} more"] if len(told) > MOST else []
    return listed([*(f"that {each}" for each in told[:MOST]), *more])


def _untold(judgements: Sequence[Judgement], several: bool) -> str:
    """How many claims have no verdict, and why; of what one seed came to, the first few."""
    parts = []
    own = [each for each in judgements if each.verdict == "cannot tell"]
    decided = [each for each in own if any(each.pair) or (each.claim.ordered and not each.claim.relative)]
    alone = [each for each in decided if each.n == 1 and each.means]
    if own:
        seeds = "" if any(each.reason for each in own) else f" from {_seeds(sorted({each.n for each in own}))}"
        among = (
            f"{', among them' if len(own) > 1 else ':'} {_that(alone[:MOST], 'cannot tell', several)}" if alone else ""
        )
        parts.append(f"{len(own)} claim{'s' if len(own) > 1 else ''} cannot be told{seeds}{among}")
    counts = Counter(each.verdict for each in judgements if each.verdict in ("open", "not judged"))
    kinds = sorted(counts, reverse=True)
    if count := counts.total():
        parts.append(f"{count} {'is' if count == 1 else 'are'} {' or '.join(kinds)}")
    return "; ".join(parts) if alone else listed(parts)


def _measured(each: Judgement) -> str:
    """What decides, in short: the means along an order, else the two that are compared, or by how much two variants differ.

    A metric is named where its unit does not tell what it is; of a curve the claim says it.
    """
    if each.claim.relative and isinstance(each.pair[1], str):
        these, those = map(_name, each.pair)
        what = "" if "/" in each.claim.metric else f"{each.claim.metric} of "
        return f"{what}{these} against {those} {_signed(100 * each.effect, 100 * each.half)} %{_asked(each)}"
    means = {name: each.factor * mean for name, mean in each.means}
    if each.claim.ordered:
        told = " → ".join(map(_number, means.values()))
    else:
        first, second = (means[side] if isinstance(side, str) else each.factor * side for side in each.pair)
        told = _number(first) + (f" against {_number(second)}" if second != 0 else "")
    told = told if each.unit == "share" else _in_unit(told, each)
    told = f"{CHANGES.get(each.claim.metric.partition('/')[0], '')} {told}".lstrip()
    told += _asked(each)
    return told if each.unit in NAMING or "/" in each.claim.metric else f"{each.claim.metric} {told}"


def _measure(claim: Claim) -> str:
    """A metric, or what of which curve: ``slope of train/loss``."""
    kind, _, rest = claim.metric.partition("/")
    return claim.metric if kind in ("train", "train_eval", "test", "validation") or not rest else f"{kind} of {rest}"


def _number(value: float) -> str:
    """Four digits; of a large number all that stand before the point."""
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e12 else f"{value:.4g}"


def _in_unit(text: str, each: Judgement) -> str:
    return f"{text} {each.unit}" if each.unit else text


def _here(each: Judgement) -> str:
    """What was measured: the means, and the comparison that decides."""
    if not each.means:
        return ""
    first, second = (side if isinstance(side, str) else f"{each.factor * side:g}" for side in each.pair)
    if (
        len(each.means) == 1
        and isinstance(each.pair[1], float | int)
        and not (each.claim.relative or math.isnan(each.half))
    ):
        ((name, mean),) = each.means  # less a number, so its interval is the effect's
        told = _in_unit(_rounded(each.factor * mean, each.factor * each.half), each)
        return f"{name}: {told}, against {second}{_asked(each)} (n = {each.n})"
    means = ", ".join(f"{name}: {_number(each.factor * mean)}" for name, mean in each.means)
    compared = f"; {first} against {second}: {_effect(each)}" if _effect(each) else f" (n = {each.n})"
    return _in_unit(means, each) + compared


def _effect(each: Judgement) -> str:
    """The effect with its interval, where several seeds have one, and their number."""
    if math.isnan(each.effect):
        return ""
    scale, unit = _scale(each)
    effect = " ".join(filter(None, (_signed(scale * each.effect, scale * each.half), unit)))
    return f"{effect}{_asked(each)} (n = {each.n})"


def _asked(each: Judgement) -> str:
    """Where the effect is to lie, where that is not by its sign alone."""
    if not each.claim.margin:
        return ""
    scale, unit = _scale(each)
    margin = " ".join(filter(None, (f"{scale * each.claim.margin:g}", unit)))
    words = {
        "less": "below -",
        "greater": "above +",
        "no_less": "above -",
        "no_greater": "below +",
        "equal": "within ±",
    }
    return f", asked {words[each.claim.relation]}{margin}"


def _scale(each: Judgement) -> tuple[float, str]:
    """What an effect is multiplied by to be told, and in what unit."""
    return (100, "%") if each.claim.relative else (each.factor, each.unit)


def _signed(effect: float, half: float) -> str:
    return _rounded(effect, half, "+")


def _rounded(value: float, half: float, sign: str = "") -> str:
    """A number to the place of the second digit of its interval; to three digits where it has none, or one of no width."""
    if math.isnan(half) or half == 0:
        return f"{value:{sign}.3g}"
    digits = max(0, 1 - math.floor(math.log10(half)))
    style = f".{digits}f" if max(abs(value), half) < 1e6 else ".3e"
    return f"{value:{sign}{style}} ± {half:{style}}"


def _because(each: Judgement) -> str:
    """The test that a verdict rests on, or why there is none."""
    if each.test:
        p = f", p = {each.p:.2g}" if each.p >= SMALLEST else f", p < {SMALLEST}"
        return f": {each.test}{'' if math.isnan(each.p) else p}"
    return f": {each.reason}" if each.reason else ""


def _word(each: Judgement) -> str:
    few = each.verdict == "cannot tell" and not each.reason
    return f"cannot tell at {_seeds([each.n])}" if few else each.verdict


def _seeds(counts: Sequence[int]) -> str:
    """In words; ``counts`` rise."""
    words = " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
    return f"{words} seed" if words == "1" else f"{words} seeds"


def _name(side: Side) -> str:
    return side if isinstance(side, str) else f"{side:g}"
