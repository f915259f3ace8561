"""TOML values against the annotations of the arguments they are meant for."""

from __future__ import annotations

import types
import typing
from collections.abc import Sequence
from typing import Any


def is_number(value: Any) -> typing.TypeGuard[float]:
    """Whether a TOML value is a number; true and false are none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def fits(value: Any, annotation: Any) -> bool:
    """Whether a TOML value is what an annotated argument takes: a whole number is a float too, a list any sequence."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return True
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments and not (isinstance(value, bool) ^ isinstance(arguments[0], bool))
    if isinstance(origin, type) and issubclass(origin, Sequence):
        if not isinstance(value, Sequence) or isinstance(value, str):
            return False
        items = [argument for argument in arguments if argument is not Ellipsis]
        if origin is tuple and Ellipsis not in arguments:
            return len(value) == len(items) and all(fits(*pair) for pair in zip(value, items, strict=True))
        return all(fits(item, items[0]) for item in value)
    if annotation is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if annotation is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if annotation is type(None):
        return value is None
    return isinstance(annotation, type) and isinstance(value, annotation)


def convert(value: Any, annotation: Any) -> Any:
    """``value``, which fits, as the annotation's own type, so that ``1`` and ``1.0`` make one key."""
    if isinstance(value, int) and not isinstance(value, bool):
        arguments = typing.get_args(annotation) or (annotation,)
        return float(value) if float in arguments and int not in arguments else value
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = [argument for argument in typing.get_args(annotation) if argument is not Ellipsis]
        return [convert(item, items[min(index, len(items) - 1)]) if items else item for index, item in enumerate(value)]
    return value


def describe(annotation: Any) -> str:
    """An annotation in words, for a message."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
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
