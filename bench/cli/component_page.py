"""A metric, a data set or an application as `bench show` prints it, from what its file says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench import registry
from bench.cli.common import UsageLine
from bench.cli.layout import described, reflowed, wrapped
from bench.registry import PACKAGE, unknown
from bench.source import Option, Unread, doc, source
from bench.study.types import describe
from bench.text import line, printable

if TYPE_CHECKING:
    from bench.paths import Paths

ARROWS = {"lower": "lower is better", "higher": "higher is better", "neither": "neither direction is better"}


def metric(name: str, paths: Paths, width: int | None) -> list[str]:
    """The lines of ``bench show metric``."""
    from bench.measure.measurements import describe as told
    from bench.measure.measurements import measurements

    measured = measurements()
    if name in measured.unread:
        raise UsageLine(measured.unread[name])
    if name not in measured.metrics:
        raise UsageLine(unknown("metric", name, sorted(measured.metrics)))
    file = measured.files[name]
    together = [other for other, place in measured.files.items() if place == file and other != name]
    needs = _read("metrics", file, "NEEDS")
    first = source(PACKAGE / "contract.py").described(needs).partition("\n")[0]
    extractor = _read("metrics", file, "EXTRACTOR")
    text = _text("metrics", file, width) if len(doc("metrics", file).splitlines()) > 1 else []
    rows = [("better", ARROWS[measured.metrics[name].better])]
    rows.append(("needs", "any model" if needs == "Model" else f"{needs}: {first}"))
    if extractor:
        rows.append(("features", f"{extractor}: {registry.first_line(doc('features', extractor))}"))
    rows += [("with it", ", ".join(together))] if together else []
    rows += [("file", _place("metrics", file)), ("studies", _studies(paths, "metrics", name))]
    rows += [("compare", "when two of its numbers do: docs/measures.md")]
    return [*wrapped(line(f"{name}: {told(name, file)}"), width, "  "), *described(rows, width), *text]


def dataset(name: str, paths: Paths, width: int | None) -> list[str]:
    """The lines of ``bench show dataset``."""
    registry.find("datasets", name)  # before torch is read for it
    from bench.datasets import LAYOUT, located, spec_of

    spec = spec_of(name)
    classes = ", ".join(spec.classes) or "no labels"
    rows = [
        ("images", f"{spec.channels}x{spec.height}x{spec.width}"),
        ("classes", f"{len(spec.classes)}: {classes}" if spec.classes else classes),
        ("place", f"{paths.data}: {located(name, paths.data)}"),
        ("npz", f"{name}.npz is used before anything else; it holds {LAYOUT}"),
        ("file", _place("datasets", name)),
        ("studies", _studies(paths, "datasets", name)),
    ]
    return [name, *described([(word, line(text)) for word, text in rows], width), *_text("datasets", name, width)]


def application(name: str, paths: Paths, width: int | None) -> list[str]:
    """The lines of ``bench show application``."""
    file = registry.file("applications", name)
    try:
        options = source(file).keywords("apply")
    except Unread:
        from bench.study.catalogue import keywords

        options = keywords(registry.load("applications", name).apply)
    files = " [IMAGE]..." if options.pop("files", None) is not None else ""
    lines = [f"{name}: bench apply {name} RUN{files}" + (" [--set KEY=VALUE]..." if options else "")]
    rows = [(each, _default(option), describe(option.type)) for each, option in options.items()]
    lines += described(rows, width)
    return [
        *lines,
        *wrapped(f"  file: {_place('applications', name)}", width, "    "),
        *_text("applications", name, width),
    ]


def _default(option: Option) -> str:
    return f"= {printable(repr(list(option.default) if isinstance(option.default, tuple) else option.default))}"


def _read(kind: str, name: str, constant: str) -> str:
    """The name that a component gives to a constant, or the text in it; empty where it has none."""
    try:
        text = source(registry.file(kind, name)).reference(constant)
        return "" if text == "None" else text.strip("'\"")
    except Unread:
        found: Any = getattr(registry.load(kind, name), constant, "")
        return str(getattr(found, "__name__", found or ""))


def _place(kind: str, name: str) -> str:
    origin = registry.find(kind, name).origin
    return f"bench/{kind}/{name}.py" if origin == "bench" else origin


def _studies(paths: Paths, key: str, name: str) -> str:
    """The studies that name it."""
    from bench.study.definition import StudyError
    from bench.study.text import read

    found = []
    for study, file in paths.study_files().items():
        try:
            value = read(file).get(key)
        except StudyError:
            continue
        if isinstance(value, list) and name in value:
            found.append(line(study))
    return ", ".join(found) or "none"


def _text(kind: str, name: str, width: int | None) -> list[str]:
    """What its docstring says, behind a blank line."""
    return ["", *reflowed(doc(kind, name), width)]
