"""The last lines of a run: what to do next, each a command to paste."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from bench.cli.layout import terminal, wrapped
from bench.text import line
from bench.tracking.names import SHORT

if TYPE_CHECKING:
    from bench.study.catalogue import Catalogue
    from bench.study.definition import Study
    from bench.tracking.store import Store

USES = (("Generates", "generate"), ("Autoencodes", "interpolate"), ("Classifies", "classify"))


def tell_next(study: Study, known: Catalogue, store: Store) -> None:
    """Say which variant is best, where that was tested, and how to look at the runs and to use one."""
    from bench.comparison import best, finished

    found = best(study, known, store)
    for each in found:
        if each.rest:
            tied = f", tied with {', '.join(each.tied)}" if each.tied else ""
            text = (
                f"best on {each.dataset}: {each.variant}, {each.metric} {each.mean:.4g} over {each.seeds} seeds{tied}"
            )
            for part in wrapped(line(text), terminal(), "  "):
                click.echo(part)
            click.echo(f"  bench compare {each.run[:SHORT]} {each.rest[:SHORT]}")
    click.echo(f"look: bench ui {study.name}")
    own = {variant.model for variant in study.variants}
    chosen = [(each.model, each.run) for each in found] or [each for each in finished(store) if each[0] in own]
    for model, run in chosen[:1]:
        if application := _use(model):
            click.echo(f"use: bench apply {application} {run[:SHORT]}")


def given(known: Collection[str]) -> list[str]:
    """The words of the options on this command's line, as they were typed or would be, but for those that are ``known``."""
    context = click.get_current_context()
    words: list[str] = []
    for option in context.command.params:
        typed = context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
        if isinstance(option, click.Option) and option.name not in known and typed:
            value = context.params[option.name or ""]
            for each in value if option.multiple else [value]:
                words += [option.opts[0]] if option.is_flag else [option.opts[0], str(each)]
    return words


def _use(model: str) -> str:
    """The application that shows most of what a model can do; empty where there is none."""
    from bench import registry
    from bench.source import Unread, source

    try:
        text = source(registry.file("models", model))
        kinds = text.ancestors(text.model())
    except Unread:
        from bench.models import model_class  # which reads torch

        kinds = {each.__name__ for each in model_class(model).__mro__}
    return next((use for name, use in USES if name in kinds), "")
