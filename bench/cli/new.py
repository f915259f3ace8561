"""`bench new`: a component of one's own, to start from."""

from __future__ import annotations

import re
from pathlib import Path

import click

from bench.cli.common import UsageLine, one_line
from bench.cli.names import Choice, examples
from bench.cli.place import here, near, surroundings

FOLDERS = {
    "model": "models",
    "dataset": "datasets",
    "metric": "metrics",
    "study": "studies",
    "application": "applications",
}
NEXT = {
    "model": "bench run trial {name}",
    "dataset": "bench run trial vae --dataset {name}",
    "metric": "bench run trial vae",
    "study": "bench run study {name}",
    "application": "bench apply {name} RUN",
}


@click.command(epilog=examples("bench new model mine", "bench new metric sharpness"))
@click.argument("kind", type=Choice(list(FOLDERS)))
@click.argument("name")
def new(kind: str, name: str) -> None:
    """Write a component that works, beside your own studies/, for you to change: models/NAME.py, metrics/NAME.py, ..."""
    with one_line():
        paths = surroundings()
        home = paths.guests or here()
        file = home / FOLDERS[kind] / (f"{name}.toml" if kind == "study" else f"{name}.py")
        _check_free(kind, name, file)
        template = Path(__file__).parents[1] / "templates" / (f"{kind}.toml" if kind == "study" else f"{kind}.py")
        text = template.read_text(encoding="utf-8")
        if kind == "model":
            text = text.replace("class Linear(", f"class {name.title().replace('_', '')}(")
        elif kind == "metric":
            text = text.replace('"brightness"', f'"{name}"')
        if paths.guests is None:
            (home / "studies").mkdir()
            click.echo("made studies/, beside which your own components are looked for")
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
        click.echo(f"wrote {near(file)}")
        click.echo(f"try it: bench check {FOLDERS[kind]}/{name}")
        click.echo(f"use it: {NEXT[kind].format(name=name)}")


def _check_free(kind: str, name: str, file: Path) -> None:
    """Refuse a name that is none, or that is taken."""
    from bench import registry
    from bench.paths import shipped

    if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", name):
        raise UsageLine(f"{name!r}: a name is small letters, digits and underscores, a letter first, at most 100")
    if file.exists():
        raise UsageLine(f"{near(file)} exists already; choose another name")
    if kind == "study":
        origin = "bench" if (shipped() / f"{name}.toml").exists() else ""
    else:
        names = registry.names(FOLDERS[kind])
        origin = registry.find(FOLDERS[kind], name).origin if name in names else ""
    if origin:
        raise UsageLine(f"there is a {kind} {name!r} already, from {origin}; choose another name")
