"""`bench list` and `bench show`: what there is."""

from __future__ import annotations

import inspect

import click

from bench.cli.common import here, one_line

KINDS = ("studies", "models", "datasets", "metrics", "applications")


@click.command("list")
@click.argument("kind", type=click.Choice(KINDS), required=False)
def list_names(kind: str | None) -> None:
    """List studies, models, data sets, metrics or applications, each with its first line."""
    from bench import registry
    from bench.paths import Paths
    from bench.study.file import read

    with one_line():
        for each in [kind] if kind else KINDS:
            if kind is None:
                click.echo(f"{each}:")
            if each == "studies":
                files = sorted(Paths.find(here()).studies.glob("*.toml"))
                rows = [(file.stem, str(read(file).get("question", ""))) for file in files]
            else:
                rows = [(name, _first_line(each, name)) for name in registry.names(each)]
            width = max((len(name) for name, _ in rows), default=0)
            for name, text in rows:
                click.echo(f"  {name:<{width}}  {text}")


@click.command()
@click.argument("kind", type=click.Choice(["study", "model"]))
@click.argument("name")
def show(kind: str, name: str) -> None:
    """Show a study's question, variants and settings, or a model's hyperparameters."""
    from bench import registry
    from bench.models import only_class
    from bench.paths import Paths
    from bench.study.catalogue import catalogue, hyperparameters
    from bench.study.file import load

    with one_line():
        if kind == "model":
            module = registry.load("models", name)
            click.echo(inspect.cleandoc(module.__doc__ or ""))
            click.echo("\nhyperparameters:")
            for option, value in hyperparameters(only_class(module)).items():
                click.echo(f"  {option} = {value.default!r}")
            click.echo("training, where it differs from the defaults:")
            for option, default in module.TRAINING.items():
                click.echo(f"  {option} = {default!r}")
            return
        paths = Paths.find(here())
        known = catalogue()
        study = load(paths.study(name), known)
        click.echo(f"{study.name}: {study.question}\nsource: {study.source}\nmetrics: {', '.join(study.metrics)}")
        for dataset in study.datasets:
            for variant in study.variants_on(dataset):
                if study.is_search:
                    click.echo(f"  {variant.name or variant.model} on {dataset}: {study.trials} configurations of")
                    for axis, choices in study.vary.items():
                        click.echo(f"    {axis}: {choices}")
                    continue
                for cell in study.cells():
                    trial = study.trial(known, variant, dataset, 0, cell)
                    click.echo(f"  {trial.variant} on {dataset}, {study.seeds} seed(s)")
                    for section, values in trial.settings.items():
                        words = ", ".join(f"{key}={value}" for key, value in values.items() if value is not None)
                        click.echo(f"    {section}: {words}")


def _first_line(kind: str, name: str) -> str:
    from bench import registry

    return (registry.load(kind, name).__doc__ or "").strip().splitlines()[0]
