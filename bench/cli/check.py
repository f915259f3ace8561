"""`bench check`: the promises that every component makes, tried on one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from bench.cli.common import UsageLine, one_line
from bench.cli.names import completing, examples
from bench.cli.place import surroundings

if TYPE_CHECKING:
    from bench.checks import Check
    from bench.paths import Paths

KINDS = ("models", "datasets", "metrics", "features", "applications", "executors", "studies")
SINGULAR = {"studies": "study"}  # of the others it is without the s


@click.command(epilog=examples("bench check", "bench check mine", "bench check models/vae"))
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing(*KINDS))
def check(names: tuple[str, ...]) -> None:
    """Try what every component promises on those named, or on all of your own; exit status 1 where a promise is broken.

    NAME is a model, data set, metric, feature extractor, application, executor or study, yours or the suite's; where
    several kinds have one of that name, all are tried, and `metrics/NAME` means one kind.
    """
    from bench import checks
    from bench.registry import RegistryError
    from bench.study.definition import StudyError

    with one_line():
        paths = surroundings()
        if len(names) > 1 and (kind := _kind(names[0])):
            raise UsageLine(f"{names[0]}: a kind stands before its name, as in: bench check {kind}/{names[1]}")
        chosen = [each for name in names for each in _named(name, paths)] if names else _own(paths)
        if not chosen:
            raise UsageLine("no components of your own beside studies/; name one, as in: bench check vae")
        broken = 0
        for kind, name in chosen:
            click.echo(f"{kind}/{name}")
            make, promises = checks.of(kind)
            try:
                subject = make(name)
            except checks.NotPromised as error:
                click.echo(f"  -       {error}")
                continue
            except (RegistryError, StudyError) as error:
                broken += 1
                click.echo(f"  BROKEN  {error}")
                continue
            for word, promise in promises.items():
                state, why = _tried(promise, subject)
                broken += state == "BROKEN"
                words = word.removeprefix("check_").replace("_", " ")
                click.echo(f"  {state:<7} {words}" + (f": {why}" if why else ""))
        click.echo(f"{broken} broken" if broken else "all kept")
    if broken:
        raise SystemExit(1)


def _tried(promise: Check, subject: object) -> tuple[str, str]:
    """How a promise was found: its state, and why where that wants saying."""
    from bench import registry
    from bench.checks import Broken, NotPromised
    from bench.errors import BrokenModel

    try:
        promise(subject)
    except NotPromised as error:
        return "-", str(error)
    except Broken as error:
        return "BROKEN", str(error)
    except BrokenModel as error:
        own = registry.place(error)
        return "BROKEN", f"{error} ({own})" if own else str(error)
    except Exception as error:
        return "BROKEN", f"{type(error).__name__}: {' '.join(str(error).split())}{_place(error)}"
    return "ok", ""


def _place(error: Exception) -> str:
    """Where an error came from: the innermost line of the user's own, else the innermost of all."""
    import traceback

    from bench import registry

    if own := registry.place(error):
        return f" ({own})"
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""


def _own(paths: Paths) -> list[tuple[str, str]]:
    """The user's own components, by kind and name."""
    from bench import registry
    from bench.paths import shipped

    own = [(kind, name) for kind in KINDS[:-1] for name in registry.names(kind) if registry.find(kind, name).is_guest]
    return own + [("studies", name) for name, file in paths.study_files().items() if file.parent != shipped()]


def _kind(word: str) -> str:
    """The kind that a word is, in the singular or not; empty where it is none, or a component's name too."""
    return next((kind for kind in KINDS if word in (kind, SINGULAR.get(kind, kind[:-1]))), "")


def _named(name: str, paths: Paths) -> list[tuple[str, str]]:
    """The components that answer to a name, or to ``kind/name``."""
    from bench import registry

    kind, _, rest = name.rpartition("/")
    known = {each: registry.names(each) for each in KINDS[:-1]} | {"studies": list(paths.study_files())}
    found = [(each, rest) for each in KINDS if rest in known[each] and kind in ("", each)]
    if not found:
        if kind in known:
            raise UsageLine(registry.unknown(registry.KINDS.get(kind, "study"), rest, known[kind]))
        told = registry.unknown("component", name, sorted({each for names in known.values() for each in names}))
        raise UsageLine(f"{told.partition('; ')[0]}; bench list shows those there are")  # some eighty
    return found
