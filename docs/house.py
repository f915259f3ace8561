"""The picture of the house: its rooms, what each imports of the others, and whether any import goes round in a circle.

    python docs/house.py            the working tree
    python docs/house.py REVISION   what git holds, to compare with

A room is a folder of ``bench/`` or a file on its ground floor. Imports are read with `ast`, wherever they stand in it; nothing
is run. What the registry loads by name is no import. One for the type checker alone makes no circle: no program runs it.
"""

from __future__ import annotations

import ast
import io
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
Graph = Mapping[str, set[str]]  # a module or a room, and what it imports


@dataclass(frozen=True)
class House:
    """Every module of the package by its dotted name, with its lines and what it imports of the others.

    Attributes:
        imports: whatever is imported anywhere.
        typed: of those, what is imported for the type checker alone.
    """

    lines: Mapping[str, int]
    imports: Graph
    typed: Graph

    @classmethod
    def of(cls, sources: Mapping[str, str]) -> House:
        """The house whose files, by path from the repository's root, hold ``sources``."""
        texts = {module(path): text for path, text in sources.items()}
        trees = {name: ast.parse(text) for name, text in texts.items()}
        run, typed = {}, {}
        for name, tree in trees.items():
            at_run_time = set(imported(tree, texts, typed=False)) - {name}
            run[name] = at_run_time
            typed[name] = set(imported(tree, texts, typed=True)) - at_run_time - {name}
        return cls(
            lines={name: len(text.splitlines()) for name, text in texts.items()},
            imports={name: run[name] | typed[name] for name in texts},
            typed=typed,
        )

    def rooms(self) -> dict[str, list[str]]:
        """The modules of every room."""
        rooms: dict[str, list[str]] = {}
        for name in sorted(self.lines):
            rooms.setdefault(room(name), []).append(name)
        return rooms

    def at_run_time(self) -> Graph:
        """What every module imports when it runs."""
        return {name: found - self.typed[name] for name, found in self.imports.items()}


def module(path: str) -> str:
    """``bench/run/__init__.py`` is ``bench.run``."""
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def room(name: str) -> str:
    """The room of a module; the package's own front door is the room ``__init__``."""
    return (*name.split("."), "__init__")[1]


def imported(tree: ast.Module, known: Iterable[str], *, typed: bool) -> Iterator[str]:
    """The modules of ours that are imported in ``if TYPE_CHECKING``, if ``typed``, or else everywhere but there."""
    known = set(known)
    guarded = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If) and ast.unparse(branch.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in branch.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if (id(node) in guarded) != typed:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module in known:
            # `from bench import registry` names a module, `from bench import __version__` what is in the front door.
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            yield from names & known
            if names - known:
                yield str(node.module)


def between_rooms(imports: Graph) -> dict[str, set[str]]:
    """The imports of modules as imports of rooms, each by its others."""
    rooms: dict[str, set[str]] = {}
    for name, found in imports.items():
        rooms.setdefault(room(name), set()).update(room(other) for other in found)
    return {name: found - {name} for name, found in rooms.items()}


def circles(graph: Graph) -> list[list[str]]:
    """Groups whose members all lead to one another."""
    reached = {name: set(found) for name, found in graph.items()}
    for middle in graph:  # Warshall, Journal of the ACM 9, 1962
        for found in reached.values():
            if middle in found:
                found |= reached[middle]
    groups = {frozenset(o for o in found if name in reached[o]) for name, found in reached.items() if name in found}
    return sorted(sorted(group) for group in groups)


def files(revision: str | None) -> dict[str, str]:
    """The text of every file of the package, in the working tree or in a git revision."""
    if revision is None:
        found = sorted((ROOT / "bench").rglob("*.py"))
        return {file.relative_to(ROOT).as_posix(): file.read_text(encoding="utf-8") for file in found}
    command = ["git", "-C", str(ROOT), "archive", revision, "bench"]
    archive = subprocess.run(command, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        members = {entry.name: opened.extractfile(entry) for entry in opened if entry.name.endswith(".py")}
        return {name: content.read().decode() for name, content in members.items() if content is not None}


def picture(house: House) -> str:
    """A line for every room, then what it all comes to."""
    rooms, edges = house.rooms(), between_rooms(house.imports)
    at_run_time = house.at_run_time()
    run_edges = between_rooms(at_run_time)
    lines = [f"{'room':<13}{'files':>5}{'lines':>7}  imports (in brackets: for the type checker alone)"]
    for name in sorted(rooms):
        others = [other if other in run_edges[name] else f"({other})" for other in sorted(edges[name])]
        count = sum(house.lines[each] for each in rooms[name])
        lines.append(f"{name:<13}{len(rooms[name]):>5}{count:>7}  {' '.join(others)}".rstrip())
    total = sum(house.lines.values())
    lines += [
        "",
        f"{len(house.lines)} modules in {len(rooms)} rooms, {total:,} lines",
        f"{sum(map(len, house.imports.values()))} imports between modules, {sum(map(len, edges.values()))} between rooms",
    ]
    for what, graph in (("rooms", run_edges), ("modules", at_run_time)):
        found = circles(graph)
        lines.append(f"circles between {what}: {'; '.join(' '.join(each) for each in found) or 'none'}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Print the picture of the working tree, or of a revision."""
    if len(arguments) > 1 or any(each.startswith("-") for each in arguments):
        sys.exit(f"usage: python docs/house.py [REVISION], not {' '.join(arguments)}")
    try:
        sources = files(arguments[0] if arguments else None)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", b"").decode().strip() or error
        sys.exit(f"git cannot give {arguments[0]}: {reason}")
    print(picture(House.of(sources)))


if __name__ == "__main__":
    main(sys.argv[1:])
