"""TOML values against the annotations of the arguments they are meant for."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from bench.ranges import LARGEST, MOST_ITEMS, Within, is_sound


def is_number(value: Any) -> typing.TypeGuard[float]:
    """Whether a TOML value is a number to compute with; true and false are none, nor are nan and the infinities."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and is_sound(value)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a TOML value is what an annotated argument takes: a whole number is a float too, a list any sequence."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return True
    if origin is Annotated:
        return fits(value, arguments[0]) and all(
            mark.holds(value) for mark in arguments[1:] if isinstance(mark, Within)
        )
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments and not (isinstance(value, bool) ^ isinstance(arguments[0], bool))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MOST_ITEMS:
            return False
        items = [argument for argument in arguments if argument is not Ellipsis]
        if origin is tuple and Ellipsis not in arguments:
            return len(value) == len(items) and all(fits(*pair) for pair in zip(value, items, strict=True))
        return all(fits(item, items[0]) for item in value)
    if annotation is float:
        return is_number(value)
    if annotation is int:
        return is_number(value) and isinstance(value, int)
    if annotation is type(None):
        return value is None
    return isinstance(annotation, type) and isinstance(value, annotation)


def convert(value: Any, annotation: Any) -> Any:
    """``value``, which fits, as the annotation's own type, so that ``1`` and ``1.0`` make one key."""
    annotation = _bare(annotation)
    arguments = [_bare(argument) for argument in typing.get_args(annotation)]
    if isinstance(value, int) and not isinstance(value, bool):
        arguments = arguments or [annotation]
        return float(value) if float in arguments and int not in arguments else value
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [argument for argument in arguments if argument is not Ellipsis]
        return [convert(item, items[min(index, len(items) - 1)]) if items else item for index, item in enumerate(value)]
    return value


def describe(annotation: Any) -> str:
    """An annotation in words, for a message."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    if origin is Annotated:
        return " ".join((describe(arguments[0]), *(str(mark) for mark in arguments[1:] if isinstance(mark, Within))))
    if origin is typing.Literal:
        return "one of " + ", ".join(repr(argument) for argument in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(describe(argument) for argument in arguments if argument is not type(None))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        items = [argument for argument in arguments if argument is not Ellipsis]
        if origin is tuple and Ellipsis not in arguments:
            return f"a list of {len(items)} values, each {describe(items[0])}"
        return f"a list, each item {describe(items[0])}"
    return words.get(annotation, str(annotation))


def wanted(value: Any, annotation: Any) -> str:
    """What a value that does not fit must be, in words: less endless where it is that, or else as it is annotated."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        if len(value) > MOST_ITEMS:
            return f"a list of at most {MOST_ITEMS} values"
        if endless := [item for item in value if isinstance(item, (int, float)) and not is_sound(item)]:
            return wanted(endless[0], annotation)
    if isinstance(value, float) and not is_sound(value):
        return f"finite, {describe(annotation)}"
    if isinstance(value, int) and not is_sound(value):
        return f"no larger than {LARGEST:,}, {describe(annotation)}"
    return describe(annotation)


def _bare(annotation: Any) -> Any:
    """An annotation without its range."""
    return typing.get_args(annotation)[0] if typing.get_origin(annotation) is Annotated else annotation


def plain(value: Any) -> Any:
    """The value in JSON's types, so that what is hashed, stored and read back is one and the same."""
    if isinstance(value, Mapping):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Later layers win; tables (a player's own options) are merged key by key."""
    found: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            table = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
            found[name] = merged(found[name], value) if table else value
    return found


def flat(settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Settings of all sections by name; those that one player has to itself as ``critic.learning_rate``."""
    found: dict[str, Any] = {}
    for section in settings.values():
        for name, value in section.items():
            found |= (
                {f"{name}.{own}": each for own, each in value.items()} if isinstance(value, Mapping) else {name: value}
            )
    return found
