"""A name is a file: in the package, in the folder beside a user's own studies, or in an installed plug-in.

A *guest* is a component that does not come with the package. ``visit(folder)`` says where a user's own lie: ``models/``,
``datasets/`` and the other kinds there are read like the package's folders. A plug-in is an installed package that declares a
module as an entry point of the group ``bench.models`` (``bench.datasets``, ...). Nothing is imported before it is asked for, so a
guest that cannot be imported harms nobody else.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from bench.text import BadName, line, named

KINDS = {
    "models": "model",
    "datasets": "data set",
    "features": "feature extractor",
    "metrics": "metric",
    "executors": "executor",
    "applications": "application",
}
PACKAGE = Path(__file__).parent
GUESTS = "bench_guests"  # the package under which a user's own files are imported: they import one another from it

_home: Path | None = None
_seen: dict[str, object] = {}  # of each folder of the user's, the state in which its files were when they were imported


class RegistryError(LookupError):
    """A component that cannot be had: one line."""

    def __init__(self, message: str) -> None:
        super().__init__(line(message))


class UnknownName(RegistryError):
    """No file of that name; the message lists those there are."""


class BrokenGuest(RegistryError):
    """A guest that cannot serve: its name is taken, or it cannot be imported; the message gives file, line and error."""


@dataclass(frozen=True)
class Component:
    """Where one name leads.

    Attributes:
        module: the name under which it is imported.
        origin: ``bench``, a user's file (``models/mine.py``), or an installed package and its version.
        clash: the origin of another component of this name, which makes both unusable; empty where there is none.
    """

    kind: str
    name: str
    module: str
    origin: str
    clash: str = ""

    @property
    def is_guest(self) -> bool:
        """Whether it comes from elsewhere than the package."""
        return self.origin != "bench"


def visit(folder: Path | None) -> None:
    """Take the components in ``folder`` for the user's own from now on; None for nobody's."""
    global _home
    if folder == _home:
        return
    _forget(GUESTS)
    _home = folder
    if folder is not None:
        _package(GUESTS, [])


def path(dataset: str) -> Path:
    """Where a data set that is a path lies: a relative one is seen from the folder that is visited, wherever it is read."""
    return (_home or Path()) / dataset


def seen(dataset: str) -> str:
    """A data set that was named here, as a study there would name it: a path that leads somewhere from here is told from there.

    What is known by name keeps it, and so does what is named there; what leads nowhere is left to whoever opens it.
    """
    there = _home is None or Path.cwd() == _home
    if there or dataset in names("datasets") or Path(dataset).is_absolute() or not os.path.exists(dataset):
        return dataset
    return os.path.relpath(dataset, _home)


def names(kind: str) -> list[str]:
    """The names of a kind (``models``, ``metrics``, ...), sorted; nothing is imported."""
    return sorted(_found(kind))


def find(kind: str, name: str) -> Component:
    """Where a name leads.

    Raises:
        UnknownName: nowhere.
    """
    found = _found(kind)
    if name not in found:
        raise UnknownName(unknown(KINDS[kind], name, sorted(found)))
    return found[name]


def load(kind: str, name: str) -> ModuleType:
    """The module of a component.

    Raises:
        UnknownName: there is none of that name.
        BrokenGuest: it is a guest whose name is taken or is none, or that cannot be imported.
    """
    component = _sole(kind, name)
    if not component.is_guest:
        return importlib.import_module(component.module)
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # nothing is left in a user's folders
    try:
        return importlib.import_module(component.module)
    except (Exception, SystemExit) as error:
        raise BrokenGuest(_why(component, error)) from error
    finally:
        sys.dont_write_bytecode = before


def file(kind: str, name: str) -> Path:
    """The file of a component, which need not be there: a plug-in may keep its own elsewhere.

    Raises:
        UnknownName: there is none of that name.
        BrokenGuest: it is a guest whose name is taken or is none.
    """
    component = _sole(kind, name)
    if component.module.startswith(f"{GUESTS}."):
        return Path(str(_home)) / kind / f"{name}.py"
    return PACKAGE / kind / f"{name}.py" if not component.is_guest else Path(component.module)


def digest(kind: str, name: str) -> str:
    """The SHA-256 of a guest's file, 64 hexadecimal digits; empty for what comes with the package, whose commit is tracked."""
    import hashlib

    if not find(kind, name).is_guest:
        return ""
    place = file(kind, name)  # so that nothing is imported for it
    place = place if place.is_file() else Path(str(load(kind, name).__file__))
    return hashlib.sha256(place.read_bytes()).hexdigest()


def guests(**names: str) -> dict[str, str]:
    """The guests among components, ``kind=name`` each: the SHA-256 of each one's file by where it comes from."""
    found = {kind: name for kind, name in names.items() if name in _found(kind) and find(kind, name).is_guest}
    return {find(kind, name).origin: digest(kind, name) for kind, name in found.items()}


def first_line(doc: str | None) -> str:
    """What a docstring says its module is, in a line."""
    return next(iter((doc or "").strip().splitlines()), "")


def unknown(kind: str, name: str, known: Sequence[str]) -> str:
    """The one line for a name that does not exist: the wrong one, the nearest, and all the right ones."""
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"no {kind} {name!r}{hint}; there are: {', '.join(known)}"


def place(error: BaseException) -> str:
    """The innermost line of the user's own that an error came through (``models/mine.py:41``); empty where there is none."""
    import traceback

    if _home is None:
        return ""
    places = [(frame.f_code.co_filename, number) for frame, number in traceback.walk_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno or 0))
    folders = [_home / kind for kind in KINDS]
    for name, number in reversed(places):
        if any((file := Path(name)).is_relative_to(folder) for folder in folders):
            return f"{file.relative_to(_home).as_posix()}:{number}"
    return ""


def _sole(kind: str, name: str) -> Component:
    """The component of a name, which no other has."""
    component = find(kind, name)
    try:
        named(KINDS[kind], name)
    except BadName as error:
        raise BrokenGuest(f"{component.origin}: {error}") from None
    if component.clash:
        raise BrokenGuest(
            f"{component.origin}: the {KINDS[kind]} {name!r} comes from {component.clash} too; give yours another name"
        )
    return component


def _found(kind: str) -> dict[str, Component]:
    """Every component of a kind, by name: a guest takes the place of whatever has its name, and says so."""
    found = dict(_shipped(kind))
    guests = list(_plugins()[kind])
    if _home is not None and (folder := _home / kind).is_dir():
        package = f"{GUESTS}.{kind}"
        state = sorted((file.name, file.stat().st_mtime_ns, file.stat().st_size) for file in folder.glob("*.py"))
        if _seen.get(package) != state:  # written, or changed, since: a session that goes on reads them again
            _forget(package)
            _seen[package] = state
        _package(package, [str(folder)])
        guests += [Component(kind, name, f"{package}.{name}", f"{kind}/{name}.py") for name in _modules([str(folder)])]
    for guest in guests:
        clash = found[guest.name].origin if guest.name in found else ""
        found[guest.name] = Component(kind, guest.name, guest.module, guest.origin, clash)
    return found


@cache
def _plugins() -> dict[str, list[Component]]:
    """What installed packages declare, by kind; read once, since it takes a look at every package there is."""
    if not _declared():
        return {kind: [] for kind in KINDS}
    import importlib.metadata

    entries = importlib.metadata.entry_points()
    return {
        kind: [
            Component(
                kind, entry.name, entry.module, f"{entry.dist.name} {entry.dist.version}" if entry.dist else "a plug-in"
            )
            for entry in entries.select(group=f"bench.{kind}")
        ]
        for kind in KINDS
    }


def _declared() -> bool:
    """Whether an installed package may declare a component: `importlib.metadata`, which knows, takes a third of `bench list`."""
    for place in sys.path:
        if Path(place).is_file():  # an archive
            return True
        for file in Path(place).glob("*-info/entry_points.txt"):
            with suppress(OSError):  # which `importlib.metadata` passes over too
                if b"[bench." in file.read_bytes():
                    return True
    return False


@cache
def _shipped(kind: str) -> dict[str, Component]:
    """The package's own, which do not change while it runs."""
    found = _modules([str(PACKAGE / kind)])
    return {name: Component(kind, name, f"bench.{kind}.{name}", "bench") for name in found}


def _modules(folders: Sequence[str]) -> list[str]:
    """The names of the files in ``folders``; one that begins with an underscore is what others share."""
    return [entry.name for entry in pkgutil.iter_modules(folders) if not entry.name.startswith("_")]


def _package(name: str, folders: list[str]) -> None:
    """Make a package without a file of its own, whose modules lie in ``folders``."""
    if name not in sys.modules:
        sys.modules[name] = ModuleType(name, "Components of a user's own.")
        sys.modules[name].__path__ = folders


def _forget(package: str) -> None:
    """Drop a package and all that was imported from it."""
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    _seen.pop(package, None)
    importlib.invalidate_caches()


def _why(component: Component, error: BaseException) -> str:
    """File, line and error of a guest that cannot be imported."""
    what = " ".join((error.msg if isinstance(error, SyntaxError) else str(error)).split())
    where = place(error) or component.origin
    return f"{where}: cannot be imported: {type(error).__name__}" + (f": {what}" if what else "")
