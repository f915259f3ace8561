"""`bench apply`: an application on a finished run."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.common import UsageLine, nearest_told, one_line, read_settings
from bench.cli.names import completing, examples
from bench.cli.place import here, near, surroundings
from bench.text import reason

if TYPE_CHECKING:
    from types import ModuleType

    from bench.applications import Applied


@click.command(
    epilog=examples(
        "bench apply generate 3f2a91bc",
        "bench apply interpolate 3f2a91bc --set 'first=[0]' --set 'second=[7]'",
        "bench apply classify 3f2a91bc a.png b.png",
    ),
)
@click.argument("application", shell_complete=completing("applications"))
@click.argument("run", shell_complete=completing("runs"))
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="[IMAGE]...")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="An option of the application; repeatable.")
@click.option("--out", type=click.Path(path_type=Path), help="Where to. Default: applied/APPLICATION-KEY.")
def apply(application: str, run: str, files: tuple[Path, ...], settings: tuple[str, ...], out: Path | None) -> None:
    """Put the trained model of RUN to use: images, a grid, and a CSV of what went into them.

    RUN is a run's ID or its trial's key (eight characters are enough), or a folder with trial.toml and model.safetensors.
    `bench list runs` shows the runs, `bench list applications` the applications, `bench show application NAME` its options.
    """
    from bench import registry
    from bench.applications import put_to
    from bench.errors import BrokenModel, Diverged, Unsupported
    from bench.results import find_run
    from bench.run.saved import load_trained, read_trial
    from bench.run.worker import load_data

    with one_line():
        paths = surroundings()
        module = registry.load("applications", application)
        options = _options(module, application, read_settings(settings), files)
        with nearest_told(run, paths):
            folder = find_run(run, paths)
        trial = read_trial(folder)
        model = load_trained(folder)
        data = load_data(trial, paths.data)
        try:
            applied = put_to(module, model, data, **options)
        except Unsupported:
            raise
        except (BrokenModel, Diverged) as error:
            raise UsageLine(
                f"{registry.place(error) or registry.find('models', trial.model).origin}: {error}"
            ) from error
        except Exception as error:
            own = registry.find("applications", application)
            place = registry.place(error) or (own.origin if own.is_guest else "")
            if not place:
                raise
            raise UsageLine(f"{place}: {type(error).__name__}: {reason(error)}") from error
        target = out or here() / "applied" / f"{application}-{trial.key[:8]}"
        _write(applied, application, target)
    click.echo(f"{len(applied.rows)} rows: {near(target / f'{application}.csv')}")
    click.echo(f"grid: {near(target / 'grid.png')}")


def _options(module: ModuleType, application: str, given: dict[str, Any], files: tuple[Path, ...]) -> dict[str, Any]:
    """The options given, checked against the signature of the application."""
    from bench.registry import unknown
    from bench.study.catalogue import keywords
    from bench.study.types import convert, fits, wanted

    known = keywords(module.apply)
    takes_files = known.pop("files", None) is not None
    if files and not takes_files:
        raise UsageLine(f"{application} takes no image files")
    checked: dict[str, Any] = {"files": files} if files else {}
    for name, value in given.items():
        if name not in known:
            raise UsageLine(unknown(f"option of {application}", name, sorted(known)))
        if not fits(value, known[name].type):
            raise UsageLine(f"--set {name} = {value!r}: must be {wanted(value, known[name].type)}")
        checked[name] = convert(value, known[name].type)
    return checked


def _write(applied: Applied, application: str, target: Path) -> None:
    for name in applied.files:
        if not (target / name).resolve().is_relative_to(target.resolve()):
            raise UsageLine(f"{application} would write {name!r}, outside {target}")
    for name, content in {**applied.files, "grid.png": applied.grid}.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_bytes(content)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(applied.rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(applied.rows)
    (target / f"{application}.csv").write_text(text.getvalue(), encoding="utf-8")
