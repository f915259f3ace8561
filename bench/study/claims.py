"""Claims: what a study's source says, in a form that can be judged by a study's runs; how they are written, read and checked."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from bench.registry import unknown
from bench.study.types import is_number

if TYPE_CHECKING:
    from bench.study.definition import Study

COSTS = ("parameters", "seconds_per_epoch", "images_per_second", "peak_megabytes")
"""What every run has beside its metrics."""

SPLITS = ("train", "test")
"""The curves of a loss term: averaged over an epoch's steps, and held out at its end (whatever split that is)."""

OF_CURVES = ("settling", "reaching", "slope", "rise")
"""What a curve comes to; `bench.report.curves` says how each is taken."""

KEYS = ("text", "where", "metric", "datasets", "order", "along", "margin", "epochs", "why")
RELATIONS = ("less", "greater", "no_less", "no_greater", "equal")
NEED_MARGIN = ("no_less", "no_greater", "equal")

Side = str | float
"""A variant by its name, or a number that the source gives."""

Relation = Literal["less", "greater", "no_less", "no_greater", "equal"]


@dataclass(frozen=True)
class Claim:
    """One thing that the source says.

    Attributes:
        text: in a reader's words, a clause that can follow "that".
        where: the document and its section, figure or table.
        why: why it cannot be judged; empty where it can, and then the rest says how.
        metric: a metric of the study's, one of `COSTS`, or of a loss term its last value (``train/<term>``, ``test/<term>``),
            held-out less training images, both in eval mode (``gap/<term>``), or what one of the two curves comes to
            (``settling/test/<term>``).
        datasets: those that it is about; empty for every one that the study is run on.
        relation: what holds between the two of every pair, by that metric.
        pairs: what is compared. An order is every step along it, the later value first.
        margin: ``less`` and ``greater``: by more than this; ``equal``, ``no_less``, ``no_greater``: up to this.
        relative: whether the margin is a share of the pair's second value.
        ordered: whether it was written as an order.
        epochs: of which the source says it: trials of fewer leave it open.
    """

    text: str
    where: str
    why: str = ""
    metric: str = ""
    datasets: tuple[str, ...] = ()
    relation: Relation = "less"
    pairs: tuple[tuple[Side, Side], ...] = ()
    margin: float = 0.0
    relative: bool = False
    ordered: bool = False
    epochs: int = 0

    @property
    def sides(self) -> list[Side]:
        """What is compared, each once: an order from its first to its last."""
        pairs = [reversed(pair) if self.ordered else pair for pair in self.pairs]
        return list(dict.fromkeys(itertools.chain.from_iterable(pairs)))

    @property
    def term(self) -> str:
        """The loss term whose curve it is about; empty where it is about none."""
        curve = curve_of(self.metric)
        return curve[2] if curve else ""

    @property
    def variants(self) -> list[str]:
        """The variants among them."""
        return [side for side in self.sides if isinstance(side, str)]


@dataclass(frozen=True)
class Surroundings:
    """What a claim may speak of: the study as its file has it, without what was given for this invocation.

    Attributes:
        labels: the variants by name, each with the data sets that it is meant for.
        ladder: the names along the varied setting, where one alone is varied; empty elsewhere.
        metrics: those that the study measures.
        known_metrics: all that there are.
    """

    labels: Mapping[str, Sequence[str]]
    ladder: Sequence[str]
    datasets: Sequence[str]
    metrics: Sequence[str]
    known_metrics: Sequence[str]

    @classmethod
    def of(cls, study: Study, known_metrics: Sequence[str]) -> Surroundings:
        """Those of the claims of ``study``."""
        names = {dataset: study.labels(dataset) for dataset in study.meant_for}
        return cls(
            labels={label: [each for each in names if label in names[each]] for label in study.labels()},
            ladder=study.labels() if len(study.vary) == len(study.variants) == 1 else (),
            datasets=study.meant_for,
            metrics=[metric.name for metric in study.metrics],
            known_metrics=known_metrics,
        )


def curve_of(metric: str) -> tuple[str, str, str] | None:
    """``metric`` as ``(what, split, term)``, ``what`` being ``"last"`` for a plain curve; None where it is of no curve."""
    match metric.split("/"):
        case [split, term] if split in SPLITS and term:
            return "last", split, term
        case ["gap", term] if term:
            return "gap", "test", term
        case [what, split, term] if what in OF_CURVES and split in SPLITS and term:
            return what, split, term
    return None


def read_claims(rows: Any, study: Study, known_metrics: Sequence[str]) -> tuple[Claim, ...]:
    """The ``[[claims]]`` tables of ``study``, checked.

    Raises:
        ValueError: one cannot be judged as written: which one, the key, the wrong value and the right ones.
    """
    if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
        raise ValueError(f"claims = {rows!r}: must be tables, each [[claims]]")
    if rows and study.is_search:
        raise ValueError("claims: must be left out: a search finds its variants, so none can be named")
    claims = []
    for number, row in enumerate(rows, start=1):
        try:
            claims.append(_claim(row, Surroundings.of(study, known_metrics)))
        except ValueError as error:
            raise ValueError(f"claim {number}: {error}") from None
    return tuple(claims)


def _claim(row: Mapping[str, Any], around: Surroundings) -> Claim:
    for key in row:
        if key not in (*KEYS, *RELATIONS):
            raise ValueError(unknown("key in [[claims]]", key, (*KEYS, *RELATIONS)))
    text, where = _text(row, "text"), _text(row, "where")
    given = [key for key in ("order", *RELATIONS, "why") if key in row]
    if len(given) != 1:
        found = f"{' and '.join(given)} are" if given else "none is"
        raise ValueError(
            f"{found} given: it must hold one of order, {', '.join(RELATIONS)}, or why it cannot be judged"
        )
    form = given[0]
    if form == "why":
        if extra := [key for key in ("metric", "along", "margin", "epochs") if key in row]:
            raise ValueError(
                f"{extra[0]} = {row[extra[0]]!r}: must be left out where why says that it cannot be judged"
            )
        return Claim(text, where, why=_text(row, "why"), datasets=_datasets(row, around))
    if "along" in row and form != "order":
        raise ValueError(f"along = {row['along']!r}: must be left out, it is for order")
    relation, pairs = _order(row, around) if form == "order" else _pairs(form, row[form])
    margin, relative = _margin(row, form)
    claim = Claim(
        text=text,
        where=where,
        metric=_metric(row, around),
        relation=relation,
        pairs=pairs,
        margin=margin,
        relative=relative,
        ordered=form == "order",
        epochs=_epochs(row),
    )
    if relative and any(second == 0 for _, second in pairs):
        raise ValueError(f"margin = {row['margin']!r}: must be a number, since there is no share of 0")
    for name in claim.variants:
        if name not in around.labels:
            raise ValueError(f"{form}: {unknown('variant', name, list(around.labels))}")
    together = [each for each in around.datasets if all(each in around.labels[name] for name in claim.variants)]
    asked = _datasets(row, around)
    for dataset in asked:
        if dataset not in together:
            strange = next(name for name in claim.variants if dataset not in around.labels[name])
            raise ValueError(f"datasets: variant {strange!r} is not for {dataset}")
    if not together:
        raise ValueError(f"{form}: no data set has all of {', '.join(claim.variants)}")
    everywhere = len(together) == len(around.datasets)
    return replace(claim, datasets=asked or (() if everywhere else tuple(together)))


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} = {value!r}: must be a text")
    return value


def _names(key: str, value: Any, least: int) -> list[str]:
    if not isinstance(value, list) or len(value) < least or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} = {value!r}: must be a list of at least {least} name{'s' if least > 1 else ''}")
    return value


def _datasets(row: Mapping[str, Any], around: Surroundings) -> tuple[str, ...]:
    if "datasets" not in row:
        return ()
    for name in _names("datasets", row["datasets"], 1):
        if name not in around.datasets:
            raise ValueError(f"datasets: {unknown('data set of the study', name, list(around.datasets))}")
    if len({*row["datasets"]}) < len(row["datasets"]):
        raise ValueError(f"datasets = {row['datasets']!r}: must name each once")
    return tuple(row["datasets"])


def _metric(row: Mapping[str, Any], around: Surroundings) -> str:
    name = _text(row, "metric")
    if name in around.metrics or name in COSTS or curve_of(name):
        return name
    if name in around.known_metrics:
        raise ValueError(f"metric = {name!r}: must be one that the study measures; add it to metrics")
    curves = "a curve of a loss term (train/<term>, test/<term>, gap/<term>, "
    curves += ", ".join(f"{what}/test/<term>" for what in OF_CURVES) + ")"
    if "/" in name:
        raise ValueError(f"metric = {name!r}: must be {curves}")
    raise ValueError(f"{unknown('metric', name, [*around.metrics, *COSTS])}; or {curves}")


def _order(row: Mapping[str, Any], around: Surroundings) -> tuple[Relation, tuple[tuple[Side, Side], ...]]:
    """Every step along the order, the later value first, so that what falls is less."""
    if row["order"] not in ("falls", "rises"):
        raise ValueError(f"order = {row['order']!r}: must be 'falls' or 'rises'")
    if "along" not in row and len(around.ladder) < 2:
        raise ValueError("along: must list the variants in order, since the study does not vary one setting alone")
    ladder = _names("along", row["along"], 2) if "along" in row else around.ladder
    if len(set(ladder)) < len(ladder):
        raise ValueError(f"along = {list(ladder)!r}: must name each once")
    return "less" if row["order"] == "falls" else "greater", tuple((b, a) for a, b in itertools.pairwise(ladder))


def _pairs(form: str, value: Any) -> tuple[Relation, tuple[tuple[Side, Side], ...]]:
    """Every one of the left against every one of the right; or for ``equal`` every one against every later one."""
    relation = typing.cast(Relation, form)
    if form == "equal":
        if not isinstance(value, list) or len(value) < 2 or not all(map(_is_side, value)):
            raise ValueError(f"{form} = {value!r}: must be a list of two or more, each a variant or a number")
        pairs = tuple(itertools.combinations(value, 2))
    else:
        sides = [side if isinstance(side, list) else [side] for side in value] if isinstance(value, list) else []
        if len(sides) != 2 or not all(sides) or not all(map(_is_side, itertools.chain(*sides))):
            raise ValueError(f"{form} = {value!r}: must be two, each a variant, a number or a list of those")
        pairs = tuple(itertools.product(*sides))
    for pair in pairs:
        if pair[0] == pair[1] or not any(isinstance(side, str) for side in pair):
            raise ValueError(f"{form} = {value!r}: must compare two variants, or a variant with a number")
    if len({frozenset(pair) for pair in pairs}) < len(pairs):
        raise ValueError(f"{form} = {value!r}: must compare each two once")
    return relation, pairs


def _epochs(row: Mapping[str, Any]) -> int:
    value = row.get("epochs", 0)
    if type(value) is not int or value < ("epochs" in row):
        raise ValueError(f"epochs = {value!r}: must be a whole number above 0")
    return value


def _is_side(value: Any) -> bool:
    return isinstance(value, str) or is_number(value)


def _margin(row: Mapping[str, Any], form: str) -> tuple[float, bool]:
    """The margin, and whether it is a share."""
    value = row.get("margin")
    if value is None and form not in NEED_MARGIN:
        return 0.0, False
    number, relative = value, False
    if isinstance(value, str) and value.endswith("%"):
        with suppress(ValueError):
            number, relative = float(value.removesuffix("%")) / 100, True
    if not is_number(number) or not 0 < number < float("inf"):
        right = "must be a number above 0, or a share of the value compared with, as in '10 %'"
        raise ValueError(f"margin = {value!r}: {right}")
    return float(number), relative
