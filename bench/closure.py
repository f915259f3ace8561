"""One digest of the code that a trial's model is made of: its own file, and what that names of the suite's or of its neighbours'.

It is read from the text, so that nothing is imported for it. What changes no result is no part of it: comments, docstrings, how
lines are broken, and all in those files that is not come to by a name. What trains a model and measures it is the suite's own,
whose version and commit every run remembers.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from bench import registry

DIGITS = 16  # of a digest, as of a trial's key


def code_of(model: str, dataset: str) -> str:
    """The digest of a model's code, and the data set's where that is a guest; those of the suite are known by their images.

    Empty where it cannot be told: a file cannot be read, or an installed package came without its text.
    """
    parts = [registry.find("models", model)]
    if dataset in registry.names("datasets") and registry.find("datasets", dataset).is_guest:
        parts.append(registry.find("datasets", dataset))
    try:
        texts = [text for part in parts for text in _Closure(part).texts()]
    except (OSError, ImportError, SyntaxError, ValueError, RecursionError):
        return ""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:DIGITS]


class _Closure:
    """All that is come to from a component's file."""

    def __init__(self, component: registry.Component) -> None:
        top, *rest = component.module.split(".")
        if top in (registry.GUESTS, registry.PACKAGE.name):
            file = registry.file(component.kind, component.name)
        else:  # which imports the package that it lies in
            spec = find_spec(component.module)
            file = Path(spec.origin if spec and spec.origin else component.module)
        home = file.parents[len(rest) - (file.name != "__init__.py")]
        self.homes = {registry.PACKAGE.name: registry.PACKAGE, top: home}
        self.files: dict[Path, _File] = {}
        self.found: dict[tuple[str, str], str] = {}  # text by file and name
        self.take(file)

    def texts(self) -> Iterator[str]:
        """Every definition with where it stands, in one order."""
        return (f"{file} {name}\n{text}" for (file, name), text in sorted(self.found.items()))

    def take(self, file: Path, name: str = "") -> None:
        """Take in what a file calls ``name``, or else all of it, and whatever that names."""
        home = next((name for name, home in self.homes.items() if file.is_relative_to(home)), "")
        place = str(file.relative_to(self.homes[home])) if home else file.name, name
        if place in self.found or not file.is_file():
            return
        here = self.files[file] = self.files.get(file) or _File(file)
        statements = here.defined.get(name, []) if name else here.statements
        self.found[place] = "\n".join(map(ast.unparse, statements))
        for each in sorted({name, *here.stars, *(used for statement in statements for used in _names(statement))}):
            if name and each in here.defined:
                self.take(file, each)
            elif each in here.imported:
                self.follow(file, *here.imported[each])

    def follow(self, importer: Path, level: int, module: str, name: str) -> None:
        """Take in what is imported, where it is the suite's or a neighbour's; ``name`` is ``*`` for all of a module."""
        parts = module.split(".") if module else []
        folder = importer.parents[level - 1] if level else self.homes.get(parts.pop(0))
        if folder is None:
            return
        folder = folder.joinpath(*parts)
        if name != "*" and _file(folder / name).is_file():
            self.take(_file(folder / name))
        else:
            self.take(_file(folder), name.strip("*"))


class _File:
    """A file's statements without their docstrings, those that define each name, and what each imported name is."""

    def __init__(self, file: Path) -> None:
        tree = ast.parse(file.read_bytes())
        for node in ast.walk(tree):
            if isinstance(body := getattr(node, "body", None), list):
                body[:] = [each for each in body if not _is_text(each)] or [ast.Pass()]
        self.statements = [each for each in tree.body if not isinstance(each, ast.Import | ast.ImportFrom)]
        self.defined: dict[str, list[ast.stmt]] = {}
        for statement in self.statements:
            for name in _bound(statement):
                self.defined.setdefault(name, []).append(statement)
        self.imported: dict[str, tuple[int, str, str]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for each in node.names:
                    bound = f"*{node.module}" if each.name == "*" else each.asname or each.name
                    self.imported[bound] = node.level, node.module or "", each.name
            elif isinstance(node, ast.Import):
                for each in node.names:
                    self.imported[each.asname or each.name.partition(".")[0]] = 0, each.name, "*"
        self.stars = {name for name in self.imported if name.startswith("*")}


def _file(place: Path) -> Path:
    return place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning to."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    inside = list(ast.walk(statement))
    defined = {node.name for node in inside if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    return defined | {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _names(node: ast.AST) -> Iterator[str]:
    """Every name in it, but for those of types that are annotated: they do nothing."""
    if isinstance(node, ast.Name):
        yield node.id
    for field, value in ast.iter_fields(node):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST) and field not in ("annotation", "returns"):
                yield from _names(each)
