"""What a component's file says that it takes, read from its text: importing it would read torch, which takes seconds.

Read are the plain ways to write such things: a docstring, constants, keyword arguments and the fields of a dataclass whose types
and defaults are literals, or names of such in this file or another of the suite's. Whatever is written otherwise raises `Unread`,
and is to be had by importing the file.
"""

from __future__ import annotations

import ast
import builtins
import collections.abc
import inspect
import tokenize
import typing
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from bench import registry
from bench.ranges import Within
from bench.registry import PACKAGE


class Unread(Exception):
    """It is not written plainly enough to be known without running it."""


class Absent(Unread):
    """A name that stands nowhere in a text, so that reading the file by importing it would not find it either."""


@dataclass(frozen=True)
class Option:
    """One setting: its type as annotated where it is defined, and its default there."""

    type: Any
    default: Any


class Source:
    """A Python file, parsed.

    Raises:
        Unread: it is not there, or is no Python.
    """

    def __init__(self, file: Path) -> None:
        try:
            self._tree = ast.parse(file.read_bytes())
        except (OSError, SyntaxError, ValueError, RecursionError) as error:
            raise Unread(str(file)) from error

    def constant(self, name: str) -> Any:
        """The value that it gives to a name."""
        for node in self._tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            given = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
            if given is not None and any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return self._value(given)
        return self._elsewhere(name).constant(name)

    def reference(self, name: str) -> str:
        """What a name stands for as it is written, where that is no value: the class in ``NEEDS = Generates``."""
        for node in self._tree.body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return ast.unparse(node.value)
        raise Unread(name)

    def described(self, name: str) -> str:
        """The docstring of one of its classes."""
        return ast.get_docstring(self._class(name)) or ""

    def model(self) -> str:
        """The name of its one class that is a ``Model``."""
        found = [node.name for node in self._classes() if "Model" in map(ast.unparse, node.bases)]
        if len(found) != 1:
            raise Unread(f"{len(found)} models")
        return found[0]

    def ancestors(self, name: str) -> set[str]:
        """The names of all classes that one of its classes comes from, as far as the suite's own files tell."""
        found = set()
        for base in map(ast.unparse, self._class(name).bases):
            found.add(base)
            with suppress(Unread):
                here = any(node.name == base for node in self._classes())
                found |= (self if here else self._elsewhere(base)).ancestors(base)
        return found

    def keywords(self, function: str, of: str = "") -> dict[str, Option]:
        """The keyword-only arguments of a function, or of the method of the class ``of``."""
        body = self._class(of).body if of else self._tree.body
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name == function:
                found = {}
                for argument, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
                    if argument.annotation is None or default is None:
                        raise Unread(argument.arg)
                    found[argument.arg] = Option(self._type(argument.annotation), self._value(default))
                return found
        raise Unread(function)

    def fields(self, name: str) -> dict[str, Option]:
        """The fields of a dataclass, those of the classes of this file that it comes from first."""
        node = self._class(name)
        found: dict[str, Option] = {}
        for base in node.bases:
            found |= self.fields(ast.unparse(base))
        for each in node.body:
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
                if each.value is None:
                    raise Unread(each.target.id)
                found[each.target.id] = Option(self._type(each.annotation), self._value(each.value))
        return found

    def _classes(self) -> Iterator[ast.ClassDef]:
        return (node for node in self._tree.body if isinstance(node, ast.ClassDef))

    def _class(self, name: str) -> ast.ClassDef:
        found = next((node for node in self._classes() if node.name == name), None)
        if found is None:
            raise Unread(name)
        return found

    def _elsewhere(self, name: str) -> Source:
        """The file of the suite's that a name is imported from."""
        for node in self._tree.body:
            if isinstance(node, ast.ImportFrom) and any((each.asname or each.name) == name for each in node.names):
                if any(each.asname for each in node.names if each.asname == name):
                    break
                first, *rest = (node.module or "").split(".")
                if first == PACKAGE.name:
                    file = PACKAGE.joinpath(*rest)
                    return source(file / "__init__.py" if file.is_dir() else file.with_suffix(".py"))
        raise Absent(name)

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self.constant(node.id)
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
            raise Unread(ast.unparse(node)) from error

    def _type(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=None):
                return type(None)
            case ast.Constant(value=str(text)):
                return self._type(ast.parse(text, mode="eval").body)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return self._type(left) | self._type(right)
            case ast.Subscript(value=ast.Name(id="Literal"), slice=choices):
                found = self._value(choices)
                return typing.Literal[found if isinstance(found, tuple) else (found,)]
            case ast.Subscript(
                value=ast.Name(id="Annotated"),
                slice=ast.Tuple(elts=[base, ast.Call(func=ast.Name(id="Within"), args=[], keywords=ends)]),
            ):
                return Annotated[self._type(base), Within(**{str(each.arg): self._value(each.value) for each in ends})]
            case ast.Subscript(value=base, slice=ast.Tuple(elts=items)):
                return self._type(base)[tuple(... if self._is_ellipsis(item) else self._type(item) for item in items)]
            case ast.Subscript(value=base, slice=item):
                return self._type(base)[self._type(item)]
            case ast.Name(id=name):
                return self._named(name)
        raise Unread(ast.unparse(node))

    def _named(self, name: str) -> Any:
        """A type by its name: Python's own, or an alias."""
        for module in (builtins, collections.abc, typing):
            if isinstance(found := getattr(module, name, None), type) or (module is typing and found is not None):
                return found
        for node in self._tree.body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == name for t in node.targets):
                return self._type(node.value)
        return self._elsewhere(name)._named(name)

    @staticmethod
    def _is_ellipsis(node: ast.expr) -> bool:
        return isinstance(node, ast.Constant) and node.value is ...


@cache
def _parsed(file: Path, modified: int) -> Source:
    return Source(file)


def source(file: Path) -> Source:
    """A Python file, parsed once in each of its states.

    Raises:
        Unread: it is not there, or is no Python.
    """
    try:
        return _parsed(file, file.stat().st_mtime_ns)
    except OSError as error:
        raise Unread(str(file)) from error


def doc(kind: str, name: str) -> str:
    """The docstring of a component. A guest is imported for it, so that one which cannot be is told of where it is listed.

    Raises:
        RegistryError: there is no such component, or it cannot be imported.
    """
    if registry.find(kind, name).is_guest:
        return registry.load(kind, name).__doc__ or ""
    with tokenize.open(registry.file(kind, name)) as text:  # no further than it goes, where a folder is listed
        for token in tokenize.generate_tokens(text.readline):
            if token.type == tokenize.STRING:
                return inspect.cleandoc(ast.literal_eval(token.string))
            if token.type not in (tokenize.COMMENT, tokenize.NL):
                break
    return ""
