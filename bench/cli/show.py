"""`bench show`: a study, a model with its layers, a metric, a data set, an application."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bench.cli.common import UsageLine, one_line, read_settings
from bench.cli.layout import reflowed, terminal
from bench.cli.names import Group, completing, examples
from bench.cli.place import surroundings

if TYPE_CHECKING:
    from bench.contract import Batch, ImageSpec
    from bench.networks.layers import Layer
    from bench.paths import Paths
    from bench.study.definition import Trial

IMAGES = 32  # in the batch that the layers are shown at work on
COLUMNS = ("layer", "output", "calls", "parameters", "as Keras")


@click.group(
    cls=Group,
    epilog=examples("bench show study latent_dim", "bench show model vae", "bench show metric fid"),
)
def show() -> None:
    """Show a study, a model with its layers, a metric, a data set or an application."""


@show.command(
    "study",
    short_help="A study, its claims, variants and settings.",
    epilog=examples("bench show study latent_dim", "bench show study tune_vae"),
)
@click.argument("name", shell_complete=completing("studies"))
def show_study(name: str) -> None:
    """Show the question, the claims, the variants and the settings of the study NAME.

    What all variants have in common is said once, the defaults written out; of each there is what it has of its own.
    """
    from bench.cli.study_page import described
    from bench.study.catalogue import catalogue
    from bench.study.file import load

    with one_line():
        paths, known = surroundings(), catalogue()
        study = load(paths.study(name), known)
        click.echo("\n".join(described(study, known, terminal())))


@show.command(
    "metric",
    short_help="A metric, and what it needs of a model.",
    epilog=examples("bench show metric fid", "bench show metric precision"),
)
@click.argument("name", shell_complete=completing("metrics"))
def show_metric(name: str) -> None:
    """Show what the metric NAME is, which way it is better, what it needs of a model, and which studies take it."""
    from bench.cli.component_page import metric

    with one_line():
        click.echo("\n".join(metric(name, surroundings(), terminal())))


@show.command(
    "dataset", short_help="A data set, and where it is or how to get it.", epilog=examples("bench show dataset mnist")
)
@click.argument("name", shell_complete=completing("datasets"))
def show_dataset(name: str) -> None:
    """Show what the data set NAME is, its images and classes, where it is or how to get it, and which studies run on it."""
    from bench.cli.component_page import dataset

    with one_line():
        click.echo("\n".join(dataset(name, surroundings(), terminal())))


@show.command(
    "application", short_help="An application, and its options.", epilog=examples("bench show application interpolate")
)
@click.argument("name", shell_complete=completing("applications"))
def show_application(name: str) -> None:
    """Show what the application NAME does with a trained model, and its options."""
    from bench.cli.component_page import application

    with one_line():
        click.echo("\n".join(application(name, surroundings(), terminal())))


@show.command(
    "model",
    short_help="A model, its hyperparameters and the layers of its networks.",
    epilog=examples(
        "bench show model vae",
        "bench show model dcgan --dataset cifar10 --set depth=deep",
    ),
)
@click.argument("name", shell_complete=completing("models"))
@click.option(
    "--dataset",
    default="digits",
    show_default=True,
    metavar="NAME",
    shell_complete=completing("datasets"),
    help="Whose images: a data set or a path.",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting, for the layers; repeatable.")
def show_model(name: str, dataset: str, settings: tuple[str, ...]) -> None:
    """Show what the model NAME is, its hyperparameters, and a table of the layers of each of its networks.

    A table has a layer's output for one image, how often one training step calls it, and its parameters: those that are
    learnt, as torch counts them, and all that Keras counts, the moving statistics of batch normalisation among them.
    """
    from bench.source import doc
    from bench.study.catalogue import hyperparameters, training_defaults

    with one_line():
        paths = surroundings()
        lines = [*reflowed(doc("models", name), terminal()), "", "hyperparameters:"]
        lines += [f"  {option} = {value.default!r}" for option, value in hyperparameters(name).items()]
        lines += ["training, where it differs from the defaults:"]
        lines += [f"  {option} = {default!r}" for option, default in training_defaults(name).items()]
        click.echo("\n".join([*lines, "", *_layers(_trial(name, dataset, settings), paths, settings)]))


def _trial(model: str, dataset: str, settings: tuple[str, ...]) -> Trial:
    """The trial whose model is shown: that of `bench run trial` with these settings."""
    from bench import registry
    from bench.study.catalogue import catalogue
    from bench.study.file import build

    known = catalogue()
    tables = {
        "question": "?",
        "source": "none",
        "model": model,
        "datasets": [registry.seen(dataset)],
        "metrics": ["test_loss"],
    }
    study = build(tables, Path(f"bench show model {model}"), known, given=read_settings(settings))
    return next(study.grid(known, {}))


def _layers(trial: Trial, paths: Paths, settings: Sequence[str]) -> list[str]:
    """The tables of a trial's untrained model, line by line."""
    from bench.contract import DataError, Unsupported
    from bench.networks.layers import layer_tables
    from bench.run.worker import build

    try:
        spec = _spec(trial, paths)
        tables = layer_tables(build(trial, spec), _batch(spec))
    except (DataError, Unsupported) as error:
        raise UsageLine(f"{trial.model} on {trial.dataset}: {error}") from None
    size = f"{spec.channels}x{spec.height}x{spec.width}"
    titles: dict[int, str] = {}  # of the rows that begin a table
    rows: list[tuple[str, ...]] = []
    for player, networks in tables.items():
        for network, layers in networks.items():
            titles[len(rows)] = network if network == player else f"{player}: {network}"
            rows += [COLUMNS, *map(_row, layers), ("total", "", "", *_counts(layers))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [", ".join((f"layers on {trial.dataset} ({size})", *settings))]
    for number, (layer, output, *numbers) in enumerate(rows):
        if number in titles:
            lines += ["", titles[number]]
        cells = [layer.ljust(widths[0]), output.ljust(widths[1])]
        lines.append("  ".join(["", *cells, *(each.rjust(n) for each, n in zip(numbers, widths[2:], strict=True))]))
    lines.append("")
    for player, networks in tables.items():
        layers = [layer for each in networks.values() for layer in each]
        fixed = sum(layer.fixed for layer in layers)
        trainable, total = _counts(layers)
        lines.append(f"{player}: {trainable} trainable, {fixed:,} not, {total} as Keras counts")
    return lines


def _row(layer: Layer) -> tuple[str, ...]:
    output = "-" if layer.shape is None else "x".join(map(str, layer.shape)) or "1"
    return f"{layer.name} {layer.kind}".strip(), output, str(layer.calls), *_counts([layer])


def _counts(layers: Sequence[Layer]) -> tuple[str, str]:
    """What torch counts of these layers, and what Keras does."""
    trainable = sum(layer.trainable for layer in layers)
    return f"{trainable:,}", f"{trainable + sum(layer.fixed for layer in layers):,}"


def _spec(trial: Trial, paths: Paths) -> ImageSpec:
    """The images of a trial; a known data set is not read where nothing asks for other images than it has."""
    from bench import registry
    from bench.datasets import spec_of
    from bench.run.worker import data_options, load_data

    options = data_options(trial)
    if trial.dataset in registry.names("datasets") and not options.classes and options.image_size is None:
        return spec_of(trial.dataset)
    return load_data(trial, paths.data).spec


def _batch(spec: ImageSpec) -> Batch:
    """Images of noise, each class in turn."""
    import torch

    from bench.contract import HIDDEN, Batch

    labels = torch.arange(IMAGES) % len(spec.classes) if spec.classes else torch.full((IMAGES,), HIDDEN)
    return Batch(torch.rand(IMAGES, *spec.shape), labels)
