"""One digest of the code that a trial's model is made of: its own file, and what that names of the suite's or of its neighbours'.

It is read from the text, so that nothing is imported for it. What changes no result is no part of it: comments, docstrings, how
lines are broken, and all in those files that is not come to by a name. What trains a model and measures it is the suite's own,
whose version and commit every run remembers.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Collection, Iterator
from importlib.util import find_spec
from pathlib import Path

from bench import registry

DIGITS = 16  # of a digest, as of a trial's key
EFFECTS = "()"  # what a file does when it is read and gives no name to, which whatever is taken of it may hang on
PROMISED = {"SPEC", "load", "TRAINING"}  # names that the suite reads of a component's file, which may only pass them on


def code_of(model: str, dataset: str) -> str:
    """The digest of a model's code, and the data set's where that is a guest; of the suite's a run remembers the images' own.

    The same under every version of Python. Empty where it cannot be told: it is not there any more, a file cannot be read, or an
    installed package came without its text.
    """
    found: list[str] = []
    try:
        parts = [registry.find("models", model)]
        if dataset in registry.names("datasets") and registry.find("datasets", dataset).is_guest:
            parts.append(registry.find("datasets", dataset))
        for part in parts:
            texts = list(_Closure(part).texts())
            if not texts:
                return ""
            found += texts
    except (Exception, SystemExit):  # a plug-in's package is imported to find its file, and may do anything
        return ""
    return hashlib.sha256("\0".join(found).encode()).hexdigest()[:DIGITS]


class _Closure:
    """All that is come to from a component's file."""

    def __init__(self, component: registry.Component) -> None:
        top, *rest = component.module.split(".")
        if top in (registry.GUESTS, registry.PACKAGE.name):
            file = registry.file(component.kind, component.name)
            file = file if file.is_file() else _file(file.with_suffix(""))  # a package
        else:  # which imports the package that it lies in
            spec = find_spec(component.module)
            file = Path(spec.origin if spec and spec.origin else component.module)
        home = file.parents[max(0, len(rest) - (file.name != "__init__.py"))]
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
        place = f"{home}/{file.relative_to(self.homes[home])}" if home else file.name, name
        if place in self.found or not file.is_file():
            return
        here = self.files[file] = self.files.get(file) or _File(file)
        statements = here.defined.get(name, []) if name else here.statements
        self.found[place] = "\n".join(map(_told, statements))
        used = {each for statement in statements for each in _names(statement)}
        for each in sorted({name, "*", *used, *(({EFFECTS} if name else PROMISED) - {name})}):
            if name and each in here.defined:
                self.take(file, each)
            else:
                for imported in here.imported.get(each, ()):
                    self.follow(file, *imported)

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
        here = set(self.defined)
        if effects := [each for each in self.statements if _acts(each, here)]:
            self.defined[EFFECTS] = effects
        self.imported: dict[str, list[tuple[int, str, str]]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                for each in node.names:
                    found = node.level, node.module or "", each.name
                    self.imported.setdefault(each.asname or each.name, []).append(found)
            elif isinstance(node, ast.Import):
                for each in node.names:
                    self.imported.setdefault(each.asname or each.name.partition(".")[0], []).append((0, each.name, "*"))


def _file(place: Path) -> Path:
    return place / "__init__.py" if place.is_dir() else place.with_name(f"{place.name}.py")


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _told(node: object) -> str:
    """A part of a syntax tree as a text; `ast.unparse` quotes, and `ast.dump` fills in, otherwise under another Python."""
    if isinstance(node, ast.JoinedStr):
        node = ast.JoinedStr(_merged(node.values))
    if isinstance(node, ast.AST):
        fields = {name: value for name, value in ast.iter_fields(node) if name not in ("kind", "type_comment", "ctx")}
        told = [f"{name}={_told(value)}" for name, value in fields.items() if value is not None and value != []]
        return f"{type(node).__name__}({', '.join(told)})"
    return f"[{', '.join(map(_told, node))}]" if isinstance(node, list) else repr(node)


def _merged(parts: list[ast.expr]) -> list[ast.expr]:
    """The parts of an f-string, in which one Python cuts plain text at other places than another."""
    found: list[ast.expr] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, ast.Constant) and isinstance(last, ast.Constant):
            found[-1] = ast.Constant(f"{last.value!s}{part.value!s}")
        elif not (isinstance(part, ast.Constant) and part.value == ""):
            found.append(part)
    return found


def _bound(statement: ast.stmt) -> set[str]:
    """The names that a statement gives a meaning to."""
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    inside = list(ast.walk(statement))
    defined = {node.name for node in inside if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    return defined | {node.id for node in inside if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}


def _acts(statement: ast.stmt, here: Collection[str]) -> bool:
    """Whether it changes what another statement made, or hands it on: ``TABLE[1] = 2``, ``TABLE.append(2)``, ``@registered``.

    A decorator counts where it is one of the file's own, ``here``; others' do what is known of them.
    """
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return any(name in here for decorator in statement.decorator_list for name in _names(decorator))
    inside = list(ast.walk(statement))
    stored = any(isinstance(n, ast.Attribute | ast.Subscript) and not isinstance(n.ctx, ast.Load) for n in inside)
    return stored or (not _bound(statement) and any(isinstance(node, ast.Call) for node in inside))


def _names(node: ast.AST) -> Iterator[str]:
    """Every name in it, but for those of types that are annotated: they do nothing."""
    if isinstance(node, ast.Name):
        yield node.id
    for field, value in ast.iter_fields(node):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, ast.AST) and field not in ("annotation", "returns"):
                yield from _names(each)
