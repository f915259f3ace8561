"""Study files: TOML read, checked against what the code takes, and turned into a `Study`; nothing runs that was not checked."""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.registry import unknown
from bench.score import Metric
from bench.source import Option
from bench.study.catalogue import Catalogue
from bench.study.claims import Claim, read_claims
from bench.study.definition import SECTIONS, Confirm, Range, Study, StudyError, Variant, plain
from bench.study.text import read
from bench.study.types import convert, describe, fits, is_number

TOP = ("question", "source", "model", "datasets", "seeds", "metrics", "pictures", "trials", "prune")
TABLES = (*SECTIONS, "vary", "on", "smoke", "confirm", "variants", "claims")
SMOKE: dict[str, Any] = {  # of a study that nobody wrote a [smoke] for
    "seeds": 1,
    "training": {"epochs": 1, "batch_size": 16},
    "data": {"train_images": 100, "test_images": 50},
    "evaluation": {"samples": 50},
}
VARIANT = ("name", "model", "datasets", *SECTIONS)


def load(
    path: Path,
    catalogue: Catalogue,
    *,
    smoke: bool = False,
    given: Mapping[str, Any] | None = None,
    datasets: Sequence[str] = (),
    seeds: int | None = None,
) -> Study:
    """The study in ``path``, checked.

    Args:
        smoke: lay ``[smoke]`` over it: a tiny subset, one epoch.
        given: settings for this invocation, by name; one that the study varies is fixed to the value.
        datasets: data sets to run on; the study's first where empty.
        seeds: how many seeds, where not the study's number.

    Raises:
        StudyError: anything in the file or in the arguments that cannot run as written.
    """
    return build(read(path), path, catalogue, smoke=smoke, given=given, datasets=datasets, seeds=seeds)


def build(
    tables: Mapping[str, Any],
    path: Path,
    catalogue: Catalogue,
    *,
    smoke: bool = False,
    given: Mapping[str, Any] | None = None,
    datasets: Sequence[str] = (),
    seeds: int | None = None,
) -> Study:
    """`load` for tables that are already read; ``path`` names the study and stands in its messages."""
    reader = _Reader(path, catalogue)
    for key in tables:
        reader.known(key, (*TOP, *TABLES), "key")
    overlay = reader.table(tables, "smoke")
    for key in overlay:
        reader.known(key, ("datasets", "seeds", "metrics", "trials", "vary", *SECTIONS), "key in [smoke]")
    overlay = overlay if smoke else {}
    written = tables
    tables = {**tables, **{key: value for key, value in overlay.items() if key not in SECTIONS}}
    question = reader.text(tables, "question")
    meant_for = tuple(reader.texts(tables, "datasets"))
    variants = reader.variants(tables)
    models = {variant.model for variant in variants}
    overrides: dict[str, dict[str, Any]] = {
        section: dict(values) for section, values in reader.sections(overlay, "[smoke]", models).items()
    }
    if smoke:
        overrides.setdefault("data", {})["allow_fewer"] = True  # one's own images may be fewer than [smoke] takes
    vary = reader.vary(reader.table(tables, "vary"), models)
    for name, value in (given or {}).items():
        section, checked = reader.setting(name, value, models, "--set")
        overrides.setdefault(section, {})[name] = checked
        vary.pop(name, None)
    metrics = tuple(reader.metric(name) for name in reader.texts(tables, "metrics"))
    on = {}
    for dataset, settings in reader.table(tables, "on").items():
        if not isinstance(settings, Mapping):
            reader.fail(f"[on] {dataset}", settings, "a table of settings, as in [on.mnist.training]")
        on[dataset] = reader.sections(settings, f"[on.{dataset}]", models, strict=True)
    search = any(isinstance(values, Range) for values in vary.values())
    if search and not metrics[0].directed:
        reader.fail("metrics", metrics[0].name, "a search's objective, which is the first, with a better direction")
    trials = reader.count(tables, "trials", 0)
    if search and not trials:
        reader.fail("trials", tables.get("trials"), "the number of configurations to try, since [vary] holds a range")
    if trials and not search:
        reader.fail("trials", trials, "left out: [vary] holds no range, so its grid says how many there are")
    for key in ("prune", "confirm"):
        if key in tables and not search:
            reader.fail(key, tables[key], "left out: it is for searches, and [vary] holds no range")
    prune = tables.get("prune", True)
    if not isinstance(prune, bool):
        reader.fail("prune", prune, "true or false")
    study = Study(
        name=path.stem + ("_smoke" if smoke else ""),
        question=question,
        source=reader.text(tables, "source"),
        meant_for=meant_for,
        datasets=tuple(datasets) or meant_for[:1],
        seeds=seeds or reader.count(tables, "seeds", 1),
        metrics=metrics,
        variants=variants,
        settings=reader.sections({key: tables.get(key, {}) for key in SECTIONS}, "", models),
        on=on,
        vary=vary,
        overrides=overrides,
        trials=trials,
        prune=prune,
        confirm=reader.confirm(tables) if not smoke else None,
        pictures=reader.epochs(tables, "pictures"),
    )
    # What is given for this invocation may vary and measure something else; the source speaks of the study as it is written.
    claims = build(written, path, catalogue).claims if smoke or given else reader.claims(tables, study)
    return replace(study, claims=claims)


class _Reader:
    """Checks one file's tables; every message names the file, the key, the wrong value and the right ones."""

    def __init__(self, path: Path, catalogue: Catalogue) -> None:
        self.path = path
        self.catalogue = catalogue

    def fail(self, key: str, value: Any, right: str) -> typing.NoReturn:
        raise StudyError(f"{self.path}: {key} = {value!r}: must be {right}")

    def known(self, name: str, names: Sequence[str], kind: str) -> None:
        if name not in names:
            raise StudyError(f"{self.path}: {unknown(kind, name, sorted(names))}")

    def table(self, tables: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = tables.get(key, {})
        if not isinstance(value, Mapping):
            self.fail(key, value, f"a table, [{key}]")
        return value

    def text(self, tables: Mapping[str, Any], key: str) -> str:
        value = tables.get(key)
        if not isinstance(value, str) or not value.strip():
            self.fail(key, value, "a text")
        return value

    def texts(self, tables: Mapping[str, Any], key: str) -> list[str]:
        value = tables.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
            self.fail(key, value, "a list of at least one name")
        return value

    def count(self, tables: Mapping[str, Any], key: str, default: int) -> int:
        value = tables.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or (key in tables and value < 1):
            self.fail(key, value, "a whole number of at least 1")
        return value

    def epochs(self, tables: Mapping[str, Any], key: str) -> tuple[int, ...]:
        value = tables.get(key, [])
        if not fits(value, tuple[int, ...]) or any(one >= next_one for one, next_one in pairwise((0, *value))):
            self.fail(key, value, "epochs from 1 on, rising, as in [1, 20, 50]")
        return tuple(value)

    def metric(self, name: str) -> Metric:
        if name not in self.catalogue.metrics:
            why = "".join(f"; {line}" for line in self.catalogue.unread.values())
            raise StudyError(f"{self.path}: {unknown('metric', name, sorted(self.catalogue.metrics))}{why}")
        return self.catalogue.metrics[name]

    def confirm(self, tables: Mapping[str, Any]) -> Confirm | None:
        table = self.table(tables, "confirm")
        for key in table:
            self.known(key, ("top", "seeds"), "key in [confirm]")
        return Confirm(self.count(table, "top", 3), self.count(table, "seeds", 5)) if table else None

    def claims(self, tables: Mapping[str, Any], study: Study) -> tuple[Claim, ...]:
        try:
            return read_claims(tables.get("claims", []), study, list(self.catalogue.metrics))
        except ValueError as error:
            raise StudyError(f"{self.path}: {error}") from None

    def variants(self, tables: Mapping[str, Any]) -> tuple[Variant, ...]:
        rows = tables.get("variants", [])
        if not isinstance(rows, list) or not all(isinstance(row, Mapping) for row in rows):
            self.fail("variants", rows, "tables, each [[variants]]")
        variants: list[Variant] = []
        for row in rows or [{}]:
            for key in row:
                self.known(key, VARIANT, "key in [[variants]]")
            model = row.get("model", tables.get("model"))
            where = f"model of variant {row.get('name')!r}" if rows else "model"
            if not isinstance(model, str):
                self.fail(where, model, f"one of {', '.join(self.catalogue.params)}")
            self.known(model, list(self.catalogue.params), "model")
            name = self.text(row, "name") if rows else ""
            if name in {variant.name for variant in variants}:
                self.fail("name in [[variants]]", name, "a name that no other variant has")
            datasets = tuple(self.texts(row, "datasets")) if "datasets" in row else ()
            variants.append(Variant(name, model, datasets, self.sections(row, f"variant {name!r}", {model})))
        return tuple(variants)

    def sections(
        self, tables: Mapping[str, Any], where: str, models: set[str], *, strict: bool = False
    ) -> dict[str, dict[str, Any]]:
        """The tables of settings in ``tables``, each setting checked in its section."""
        checked: dict[str, dict[str, Any]] = {}
        for section in tables if strict else SECTIONS:
            self.known(section, SECTIONS, f"table in {where}")
            for name, value in self.table(tables, section).items():
                place = f"{where} [{section}]".strip()
                found, value = self.setting(name, value, models, place)
                if found != section:
                    raise StudyError(f"{self.path}: {place} {name}: belongs in [{found}]")
                checked.setdefault(section, {})[name] = value
        return checked

    def setting(self, name: str, value: Any, models: set[str], place: str) -> tuple[str, Any]:
        """The section of a setting, and its value as the code takes it, for every model it is meant for."""
        if isinstance(value, Mapping):
            return "training", {key: self.player(name, key, item, models, place) for key, item in value.items()}
        found = set()
        for model in sorted(models):
            section = self.catalogue.section(model, name)
            if section is None:
                raise StudyError(
                    f"{self.path}: {place} {unknown(f'setting of {model}', name, self.catalogue.settings(model))}"
                )
            found.add(section)
            value = self.fitting(value, self.catalogue.option(model, name), f"{place} {name}")
        return found.pop(), value

    def player(self, player: str, name: str, value: Any, models: set[str], place: str) -> Any:
        """One option of ``[training.<player>]``; whether the model has that player is known once it is built."""
        where = f"{place} {player}.{name}"
        if name not in self.catalogue.player_options:
            raise StudyError(
                f"{self.path}: {where}: " + unknown("option of one player", name, sorted(self.catalogue.player_options))
            )
        return self.fitting(value, self.catalogue.options["training"][name], where)

    def fitting(self, value: Any, option: Option, where: str) -> Any:
        if not fits(value, option.type):
            self.fail(where, value, describe(option.type))
        return convert(value, option.type)

    def vary(self, table: Mapping[str, Any], models: set[str]) -> dict[str, tuple[Any, ...] | Range]:
        axes: dict[str, tuple[Any, ...] | Range] = {}
        for name, values in table.items():
            where = f"[vary] {name}"
            if isinstance(values, Mapping):
                for key in values:
                    self.known(key, ("low", "high", "log"), f"key in {where}")
                low, high, log = values.get("low"), values.get("high"), values.get("log", False)
                if not (
                    is_number(low) and is_number(high) and low < high and isinstance(log, bool) and (low > 0 or not log)
                ):
                    self.fail(where, dict(values), "{low, high, log} with low < high, and 0 < low where log is true")
                for end in (low, high):
                    self.setting(name, end, models, "[vary]")
                axes[name] = Range(low, high, log)
            elif isinstance(values, list) and values:
                choices = tuple(plain(self.setting(name, value, models, "[vary]")[1]) for value in values)
                axes[name] = choices
                if len({str(value) for value in choices}) < len(values):
                    self.fail(where, values, "values that differ from one another")
            else:
                self.fail(where, values, "a list of values, or a range {low = 1e-5, high = 1e-2, log = true}")
        return axes
