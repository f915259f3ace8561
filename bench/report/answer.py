"""Verdicts in words: the answer that a report opens with, the table of what the source said, and both in plain text."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import pandas as pd

from bench.report.claims import Judgement
from bench.report.tables import WIDTH, plain_table
from bench.study.claims import Claim, Side
from bench.text import escaped

COLUMNS = ["source said", "data set", "here", "verdict"]
MOST = 3  # claims that a sentence tells in full
SMALLEST = 0.0001  # p-value that is told as a number
LEGEND = (
    "± is half the width of an effect's 95 % interval over the seeds. A claim holds where the interval lies wholly where the "
    "claim says, and does not hold where it lies wholly elsewhere, if p is at most 0.05 too: the test's, after Holm's correction "
    "over the claims tested on the data set. Else nothing can be told. Of several comparisons, the one that decides is shown."
)


def answer(judgements: Sequence[Judgement]) -> str:
    """One or two sentences of what the verdicts support; empty where nothing is claimed."""
    if not judgements:
        return ""
    run = sorted({_place(each.dataset) for each in judgements if each.verdict not in ("open", "not judged")})
    told = {"holds": "it holds that", "does not hold": "it does not hold that"}
    parts = [f"{words} {that}" for verdict, words in told.items() if (that := _that(judgements, verdict, len(run) > 1))]
    rest = []
    for verdict, words in (("cannot tell", "cannot be told"), ("not judged", "not judged"), ("open", "open")):
        if own := [each for each in judgements if each.verdict == verdict]:
            be = "" if verdict == "cannot tell" else "is " if len(own) == 1 else "are "
            rest.append(f"{len(own)} {be}{words}{_remark(own)}")
    if parts:
        where = f"on {run[0]} " if len(run) == 1 else ""
        sentences = [where + "; ".join(parts), f"Of what else the source says, {_listed(rest)}" if rest else ""]
    else:
        sentences = [f"Nothing that the source says can be told yet: {_listed(rest)}"]
    return " ".join(f"{text[0].upper()}{text[1:]}." for text in sentences if text)


def markdown(judgements: Sequence[Judgement]) -> str:
    """The table of what the source said and what was found here, with its legend."""
    rows = []
    said: Claim | None = None
    for each, place in _rows(judgements):
        claim = "" if each.claim == said else f"{each.claim.text} ({each.claim.where})"
        said = each.claim
        rows.append([escaped(claim), escaped(place), escaped(_here(each)), _verdict(each)])
    text = str(pd.DataFrame(rows, columns=COLUMNS).to_markdown(index=False, disable_numparse=True))
    return f"{text}\n\n{LEGEND}" if any(each.test for each in judgements) else text


def plain(judgements: Sequence[Judgement], width: int = WIDTH) -> str:
    """The answer and a line for every verdict, as a terminal of ``width`` columns shows them; empty where nothing is claimed."""
    if not judgements:
        return ""
    rows = [(each.claim.text, place, _effect(each), _word(each)) for each, place in _rows(judgements)]
    table = plain_table(pd.DataFrame(rows, columns=COLUMNS), width)
    return "\n".join((*textwrap.wrap(answer(judgements), width), "", table))


def _rows(judgements: Sequence[Judgement]) -> list[tuple[Judgement, str]]:
    """The lines of a table, each with its data sets: those where a claim is open for one reason share a line."""
    rows: list[tuple[Judgement, str]] = []
    for each in judgements:
        last = rows[-1][0] if rows else None
        if (
            last
            and each.verdict == "open"
            and (last.claim, last.verdict, last.reason) == (each.claim, "open", each.reason)
        ):
            rows[-1] = (last, f"{rows[-1][1]}, {_place(each.dataset)}")
        else:
            rows.append((each, _place(each.dataset)))
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
                "compared": " - ".join(map(_name, each.pair)) if each.test else "",
                "effect": each.effect,
                "low": each.effect - each.half,
                "high": each.effect + each.half,
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
    """The claims with a verdict, each with the data sets where it has it, where ``several`` were run."""
    places: dict[str, list[str]] = {}
    for each in judgements:
        if each.verdict == verdict:
            places.setdefault(each.claim.text.rstrip("."), []).append(_place(each.dataset))
    told = [f"{text} ({', '.join(where)})" if several else text for text, where in places.items()]
    if len(told) > MOST:
        return f"{', that '.join(told[:MOST])}, and likewise {len(told) - MOST} more"
    return " and that ".join(filter(None, (", that ".join(told[:-1]), *told[-1:])))


def _remark(alike: Sequence[Judgement]) -> str:
    """What is to be said of all that are open, or that cannot be told for want of seeds."""
    if alike[0].verdict == "open":
        return f" on {_listed(list(dict.fromkeys(_place(each.dataset) for each in alike)))}"
    if alike[0].verdict == "cannot tell" and not any(each.reason for each in alike):
        return f" from {_seeds(sorted({each.n for each in alike}))}"
    return ""


def _here(each: Judgement) -> str:
    """What was measured: the means, and the comparison that decides."""
    if not each.test:
        return ""
    first, second = map(_name, each.pair)
    means = ", ".join(f"{name} {mean:.4g}" for name, mean in each.means)
    return f"{means}; {first} against {second}: {_effect(each)}"


def _effect(each: Judgement) -> str:
    """The effect with its interval and the number of seeds."""
    if not each.test:
        return ""
    scale, unit = (100, " %") if each.claim.relative else (1, "")
    return f"{_signed(scale * each.effect, scale * each.half)}{unit} (n = {each.n})"


def _signed(effect: float, half: float) -> str:
    """An effect to the place of the second digit of its interval."""
    digits = max(0, 1 - math.floor(math.log10(half))) if half else 3
    style = f".{digits}f" if max(abs(effect), half) < 1e6 else ".3e"
    return f"{effect:+{style}} ± {half:{style}}"


def _verdict(each: Judgement) -> str:
    """The word, and the test that it rests on or why there is none, as Markdown."""
    word = f"**{_word(each)}**" if each.verdict in ("holds", "does not hold") else _word(each)
    if each.test:
        return f"{word}: " + escaped(f"{each.test}, p {f'= {each.p:.2g}' if each.p >= SMALLEST else f'< {SMALLEST}'}")
    return f"{word}: {escaped(each.reason)}" if each.reason else word


def _word(each: Judgement) -> str:
    few = each.verdict == "cannot tell" and not each.reason
    return f"cannot tell at {_seeds([each.n])}" if few else each.verdict


def _seeds(counts: Sequence[int]) -> str:
    words = " or ".join(map(str, counts))
    return f"{words} seed" if words == "1" else f"{words} seeds"


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:])))


def _name(side: Side) -> str:
    return side if isinstance(side, str) else f"{side:g}"


def _place(dataset: str) -> str:
    return dataset.rstrip("/").rpartition("/")[2]
