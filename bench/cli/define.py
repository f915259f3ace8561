"""`bench define`: a study file from words."""

from __future__ import annotations

import click

from bench.cli.common import UsageLine, one_line, read_settings
from bench.cli.names import completing, examples
from bench.cli.place import here, surroundings
from bench.text import named, read_toml, reason


@click.command(
    epilog=examples(
        "bench define width --model vae --vary 'hidden_dims=[128],[512]'",
        "bench define both --model vae --model gan --dataset mnist --metric fid",
    ),
)
@click.argument("name")
@click.option(
    "--model",
    "models",
    multiple=True,
    required=True,
    metavar="NAME",
    shell_complete=completing("models"),
    help="A model; several make variants to compare.",
)
@click.option("--vary", multiple=True, metavar="KEY=V1,V2", help="A setting to vary, its values in TOML; repeatable.")
@click.option(
    "--dataset",
    "datasets",
    multiple=True,
    default=("digits",),
    show_default=True,
    metavar="NAME",
    shell_complete=completing("datasets"),
    help="A data set or a path; repeatable. The first runs by default.",
)
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    default=("test_loss",),
    show_default=True,
    metavar="NAME",
    shell_complete=completing("metrics"),
    help="A metric; repeatable. The first is the objective.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting held fixed; repeatable.")
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="How many seeds, from 0.")
@click.option("--epochs", type=click.IntRange(min=1), help="The same as --set epochs=N.")
@click.option("--question", help="What the study asks. Default: made from what it varies.")
def define(
    name: str,
    models: tuple[str, ...],
    vary: tuple[str, ...],
    datasets: tuple[str, ...],
    metrics: tuple[str, ...],
    settings: tuple[str, ...],
    seeds: int,
    epochs: int | None,
    question: str | None,
) -> None:
    """Write studies/NAME.toml, checked, ready for: bench run study NAME."""
    from dataclasses import replace

    import tomli_w

    from bench import registry
    from bench.registry import UnknownName, unknown
    from bench.run.plan import Planner
    from bench.study.catalogue import catalogue
    from bench.study.definition import StudyError
    from bench.study.file import SMOKE, build

    with one_line():
        paths = surroundings()
        known = catalogue()
        for model in models:
            if model not in known.params:
                raise UnknownName(unknown("model", model, sorted(known.params)))
        axes = dict(_axis(text) for text in vary)
        tables: dict[str, object] = {
            "question": question or f"What does {' and '.join(axes) or 'the model'} change?",
            "source": "none",
            "datasets": list(map(registry.seen, datasets)),
            "seeds": seeds,
            "metrics": list(metrics),
        }
        if len(models) == 1:
            tables["model"] = models[0]
        given = read_settings(settings) | ({"epochs": epochs} if epochs else {})
        for key, value in given.items():
            section = "training" if isinstance(value, dict) else known.section(models[0], key)
            if section is None:
                raise StudyError(f"--set {unknown(f'setting of {models[0]}', key, known.settings(models[0]))}")
            table = tables.setdefault(section, {})
            assert isinstance(table, dict)
            table[key] = value
        if axes:
            tables["vary"] = axes
        tables["smoke"] = SMOKE
        if len(models) > 1:
            tables["variants"] = [{"name": model, "model": model} for model in models]
        path = (paths.guests or here()) / "studies" / f"{named('study', name)}.toml"
        if path.exists():
            raise UsageLine(f"{path} exists already; choose another name or edit it")
        study = build(tables, path, known)
        Planner(replace(study, datasets=study.meant_for), known, paths.data).check_models()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(tomli_w.dumps(tables), encoding="utf-8")
        click.echo(f"wrote {path}; run it with: bench run study {name}")


def _axis(text: str) -> tuple[str, object]:
    """``hidden_dims=[128],[512]`` or ``learning_rate={low = 1e-4, high = 1e-2, log = true}``."""
    import tomllib

    from bench.study.definition import StudyError

    name, equals, values = text.partition("=")
    if not equals or not values:
        raise StudyError(f"--vary {text}: must be key=value,value as in --vary latent_dim=2,5,10")
    for source in (f"value = {values}", f"value = [{values}]"):
        try:
            value = read_toml(source)["value"]
        except tomllib.TOMLDecodeError:
            continue
        except ValueError as error:
            raise StudyError(f"--vary {name}: {reason(error)}; it must be plain values") from None
        if isinstance(value, dict) or source.startswith("value = ["):
            # `[128]` alone is one value of a list setting, not a list of values.
            return name, value if isinstance(value, dict) or f"value = [{values}]" == source else [value]
    return name, values.split(",")
