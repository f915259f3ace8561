"""The cards of docs/models.md, one for every model, with the sizes that its networks have and the studies that train it; and
those of docs/measures.md, one for every metric, with the direction and the unit that its file says.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import torch

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
OF_ALL = "leaderboard"


def test_every_model_has_a_card() -> None:
    assert sorted(CARDS) == registry.names("models")


@pytest.mark.parametrize("name", sorted(CARDS))
def test_a_card_says_what_its_model_is(name: str) -> None:
    facts = dict(re.findall(r"^\* (\w+): (.*?)$", CARDS[name], re.MULTILINE))
    assert list(facts) == ["minimises", "size", "source", "known", "studies"]
    with torch.device("meta"):
        players = model_class(name)(MNIST).players()
    said = {player: int(size.replace(",", "")) for player, size in re.findall(r"(\w+) ([\d,]+\d)", facts["size"])}
    assert said == {player: parameter_count(network) for player, network in players.items()}  # type: ignore[arg-type]
    assert set(re.findall(r"`(\w+)`", facts["studies"])) == trained_in(name)


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
