"""The cards of docs/models.md, one for every model, with the sizes that its networks have and the studies that train it; and
those of docs/measures.md, one for every metric, with the direction and the unit that its file says.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from bench import registry
from bench.contract import ImageSpec
from bench.models import model_class
from bench.run.worker import parameter_count

ROOT = Path(__file__).parent.parent
CARDS = dict(
    re.findall(r"^### (\w+)\n(.*?)(?=^##|\Z)", (ROOT / "docs" / "models.md").read_text(), re.MULTILINE | re.DOTALL)
)
METRICS = {
    name: card
    for names, card in re.findall(
        r"^### ([\w, ]+)\n(.*?)(?=^##|\Z)", (ROOT / "docs" / "measures.md").read_text(), re.MULTILINE | re.DOTALL
    )
    for name in names.split(", ")
}
FACTS = ["range", "compares", "source", "protocol"]
BETTER = {"higher": "higher is better", "lower": "lower is better", "neither": "neither way is better"}
IN = {
    "share": "a share",
    "nats": "in nats",
    "dB": "in dB",
    "units": "in units",
    "times held-out": "in times held-out",
    "": "",
}
MNIST = ImageSpec(1, 28, 28, tuple("0123456789"))
REPORTS = ROOT / "reports"
OF_ALL = "leaderboard"
NARROW = 16  # a layer of fewer is a channel of the image, a logit of a class, or the two numbers of a code


def test_every_model_has_a_card() -> None:
    assert sorted(CARDS) == registry.names("models")


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_card_says_what_its_model_is(name: str) -> None:
    facts = facts_of(name)
    assert list(facts) == ["minimises", "size", "network", "source", "known", "ours", "studies"]
    with torch.device("meta"):
        players = model_class(name)(MNIST).players()
    told = facts["network"] + "".join(facts_of(other)["network"] for other in named_in(facts["network"], CARDS))
    widths = {width for network in players.values() for width in widths_of(network) if width >= NARROW}
    assert widths <= set(map(int, re.findall(r"\d+", told)))
    said = {player: int(size.replace(",", "")) for player, size in re.findall(r"(\w+) ([\d,]+\d)", facts["size"])}
    assert said == {player: parameter_count(network) for player, network in players.items()}  # type: ignore[arg-type]
    assert set(re.findall(r"`(\w+)`", facts["studies"])) == trained_in(name)


@pytest.mark.parametrize("name", sorted(CARDS))
def test_our_numbers_on_a_card_are_those_of_the_published_reports(name: str) -> None:
    told = " ".join(facts_of(name)["ours"].split())
    if told == "no report yet":
        assert not any((pd.read_csv(file)["model"] == name).any() for file in REPORTS.glob("*/summary.csv"))
        return
    for entry in told.split("; "):
        found = re.fullmatch(r"(\w+) ([\d.e-]+)( %)? on (\w+) \(`(\w+)`(, small)?, (.+), (\d+) seeds?\)", entry)
        assert found, entry
        metric, number, percent, dataset, study, small, variant, seeds = found.groups()
        assert bool(small) == (
            f"{dataset} (small)" in json.loads((REPORTS / study / "report.json").read_text())["data"]
        )
        # The runs' own values: a metric that was taken under two protocols has a column for each.
        runs = pd.read_csv(REPORTS / study / "runs.csv")
        runs = runs[(runs["variant"] == variant) & (runs["dataset"] == dataset) & (runs["split"] == "test")]
        assert set(runs["model"]) == {name}
        values = (100 if percent else 1) * runs[f"metric.{metric}"].dropna()
        assert (f"{values.mean():.4g}", len(values)) == (number, int(seeds))
        assert bool(percent) == (metric == "test_error")  # as its sources have it


def facts_of(name: str) -> dict[str, str]:
    """What a card says in its list."""
    return dict(re.findall(r"^\* (\w+): (.*?)(?=\n\*|\n\n|\Z)", CARDS[name], re.MULTILINE | re.DOTALL))


def named_in(text: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if f"`{name}`" in text]


def widths_of(network: nn.Module) -> set[int]:
    """Into how many numbers or channels its layers go."""
    kinds = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
    return {
        int(each.weight.shape[isinstance(each, nn.ConvTranspose2d)])
        for each in network.modules()
        if isinstance(each, kinds)
    }


def values() -> dict[str, tuple[str, str]]:
    """The better direction and the unit of every metric, as its file says."""
    files = {name: registry.load("metrics", name) for name in registry.names("metrics")}
    return {
        name: (better, getattr(file, "UNITS", {}).get(name, ""))
        for file in files.values()
        for name, better in file.VALUES.items()
    }


def test_every_metric_of_every_file_has_a_card() -> None:
    assert sorted(METRICS) == sorted(values())


@pytest.mark.parametrize("name", sorted(METRICS))
def test_a_card_says_what_its_metric_is_and_when_it_compares(name: str) -> None:
    text, *bullets = METRICS[name].strip().split("\n* ")
    facts = dict(re.sub(r"\s+", " ", bullet).split(": ", 1) for bullet in bullets)
    assert text.strip()
    assert list(facts) == FACTS
    better, unit = values()[name]
    assert facts["range"].startswith(BETTER[better])
    assert IN[unit] in facts["range"]
    assert "Not: " in facts["compares"]


def trained_in(model: str) -> set[str]:
    """The studies that train a model, beside the one that trains all."""
    found = set()
    for file in (ROOT / "studies").glob("*.toml"):
        tables = tomllib.loads(file.read_text())
        if model in {tables.get("model"), *(variant.get("model") for variant in tables.get("variants", []))}:
            found.add(file.stem)
    return found - {OF_ALL}
