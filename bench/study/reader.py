"""One study file's tables, checked key by key against what the code takes."""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping, Sequence, Set
from itertools import pairwise
from pathlib import Path
from typing import Any

from bench.registry import unknown
from bench.score import Metric
from bench.source import Option
from bench.study.catalogue import Catalogue
from bench.study.claims import Claim, read_claims
from bench.study.definition import FULL, SECTIONS, Confirm, Range, Settings, Size, Study, StudyError, Variant
from bench.study.types import convert, fits, is_number, plain, wanted
from bench.text import is_name, is_plain

VARIANT = ("name", "model", "datasets", *SECTIONS)
LONGEST_NAME = 100  # characters of a variant's
LONGEST_LABEL = 250  # of one with the values that it varies
MOST_TRIALS = 10_000


class Reader:
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

    def different(self, tables: Mapping[str, Any], key: str) -> list[str]:
        names = self.texts(tables, key)
        if len(set(names)) < len(names):
            twice = next(name for index, name in enumerate(names) if name in names[:index])
            self.fail(key, names, f"a list that names each once; {twice!r} stands there twice")
        return names

    def datasets(self, tables: Mapping[str, Any], key: str) -> list[str]:
        names = self.different(tables, key)
        for name in names:
            if not is_plain(name):
                self.fail(key, name, "a name or a path in UTF-8, without line breaks")
        return names

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

    def applications(self, tables: Mapping[str, Any], key: str) -> dict[str, str]:
        names = self.different(tables, key) if key in tables else []
        for name in names:
            self.known(name, list(self.catalogue.applications), "application")
        return {name: self.catalogue.applications[name] for name in names}

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

    def bounded(self, study: Study) -> None:
        """Refuse a study that nobody can mean: with more trials than there is time for, or names that nobody can read."""
        if study.count > MOST_TRIALS:
            raise StudyError(
                f"{self.path}: its data sets, variants, [vary] and seeds make {study.count:,} trials: at most {MOST_TRIALS:,}"
            )
        for name in study.labels():
            if len(name) > LONGEST_LABEL:
                raise StudyError(
                    f"{self.path}: the variant {name!r} has a name of {len(name):,} characters: at most {LONGEST_LABEL}; "
                    "give it one in [[variants]]"
                )

    def variants(self, tables: Mapping[str, Any], datasets: Set[str]) -> tuple[Variant, ...]:
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
            if len(name) > LONGEST_NAME or not is_plain(name):
                self.fail("name in [[variants]]", name, f"one line of at most {LONGEST_NAME} characters")
            own = tuple(self.datasets(row, "datasets")) if "datasets" in row else ()
            for dataset in own:
                self.known(dataset, list(datasets), f"data set of variant {name!r}")
            variants.append(Variant(name, model, own, self.sections(row, f"variant {name!r}", {model})))
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

    def on(
        self, table: Mapping[str, Any], where: str, datasets: Sequence[str], models: set[str]
    ) -> dict[str, Settings]:
        """Settings that hold on one data set each."""
        checked: dict[str, Settings] = {}
        for dataset, settings in table.items():
            self.known(dataset, datasets, f"data set of [{where}]")
            if not isinstance(settings, Mapping):
                self.fail(f"[{where}] {dataset}", settings, f"a table of settings, as in [{where}.mnist.training]")
            checked[dataset] = self.sections(settings, f"[{where}.{dataset}]", models, strict=True)
        return checked

    def sizes(
        self,
        table: Mapping[str, Any],
        datasets: Sequence[str],
        models: set[str],
        varied: Sequence[str],
    ) -> dict[str, Size]:
        """Every ``[sizes.NAME]``."""
        sizes = {}
        for name in table:
            where = f"sizes.{name}"
            if name == FULL or not is_name(name):
                self.fail(
                    "sizes", name, f"a name of letters, digits, '.', '_' and '-', and not {FULL!r}, the study as it is"
                )
            own = self.table(table, name)
            for key in own:
                self.known(key, ("reason", "seeds", "on", "vary"), f"key in [{where}]")
            vary = self.vary(self.table(own, "vary"), models)
            given = dict(self.by_player(self.table(own, "vary"), models))
            for setting, values in vary.items():
                self.known(setting, varied, f"varied setting in [{where}.vary]")
                if isinstance(values, Range):
                    self.fail(f"[{where}.vary] {setting}", given[setting], "a list: a range is a search's")
            seeds = self.count(own, "seeds", 0) or None
            on = self.on(self.table(own, "on"), f"{where}.on", datasets, models)
            if not (seeds or on or vary):
                self.fail("sizes", name, "a size that changes something: seeds, on or vary")
            sizes[name] = Size(self.text(own, "reason"), seeds, on, vary)
        return sizes

    def setting(self, name: str, value: Any, models: set[str], place: str) -> tuple[str, Any]:
        """The section of a setting, and its value as the code takes it, for every model it is meant for."""
        if isinstance(value, Mapping) and not any(self.catalogue.section(model, name) for model in models):
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
            self.fail(where, value, wanted(value, option.type))
        return convert(value, option.type)

    def by_player(self, table: Mapping[str, Any], models: set[str]) -> Iterator[tuple[str, Any]]:
        """What ``[vary]`` names; ``critic.learning_rate``, a table in a table where TOML has it without quotes, as one."""
        for name, values in table.items():
            own = not ("." in name or any(self.catalogue.section(model, name) for model in models))
            if own and isinstance(values, Mapping):
                for option, each in values.items():
                    if f"{name}.{option}" in table:
                        self.fail(f"[vary] {name}.{option}", each, "given once, with quotes or without")
                    yield f"{name}.{option}", each
            else:
                yield name, values

    def varied(self, name: str, value: Any, models: set[str]) -> Any:
        """One value of a setting that is varied, of all that are trained or of one player."""
        player, dot, own = name.partition(".")
        if dot:
            return self.player(player, own, value, models, "[vary]")
        if isinstance(value, Mapping):
            self.fail(
                f"[vary] {name}", dict(value), f"an option of it alone, as in {name}.learning_rate = [1e-4, 1e-3]"
            )
        return self.setting(name, value, models, "[vary]")[1]

    def vary(self, table: Mapping[str, Any], models: set[str]) -> dict[str, tuple[Any, ...] | Range]:
        axes: dict[str, tuple[Any, ...] | Range] = {}
        for name, values in self.by_player(table, models):
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
                    self.varied(name, end, models)
                axes[name] = Range(low, high, log)
            elif isinstance(values, list) and values:
                choices = tuple(plain(self.varied(name, value, models)) for value in values)
                axes[name] = choices
                if len({str(value) for value in choices}) < len(values):
                    self.fail(where, values, "values that differ from one another")
            else:
                self.fail(where, values, "a list of values, or a range {low = 1e-5, high = 1e-2, log = true}")
        return axes
