"""What reads one kind of input, and what must hold of it whatever it reads."""

from __future__ import annotations

import pickle
import random
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import matplotlib.pyplot  # noqa: F401  which is imported somewhere, and makes a folder of its own in the user's home then

from bench.contract import DataError, Unsupported
from bench.registry import RegistryError
from bench.study.catalogue import catalogue
from bench.study.definition import StudyError, Trial
from bench.study.file import build
from bench.text import LONGEST_LINE, BadName, line
from bench.tracking.archive import ArchiveError
from bench.tracking.errors import StoreError
from tests.fuzz.guard import out_of_memory

# What `bench.cli.common.one_line` tells in a line, but for OSError: here the files are there and can be read.
FORESEEN = (DataError, RegistryError, StudyError, ArchiveError, StoreError, BadName, Unsupported)
BYTES = "bytes flipped, lost, doubled, zeroed"
PLACES = "in its place a folder, a pipe, a device, an endless link, nothing, or 2 TiB of zeros"
SMALL_PLACES = PLACES.rpartition(",")[0]  # to look through 2 TiB takes hours, and is all that it takes
PICKLES = "a pickle that would write a file"
STUDY: dict[str, Any] = {
    "question": "Does it run?",
    "source": "none",
    "model": "vae",
    "datasets": ["digits", "mnist"],
    "seeds": 2,
    "metrics": ["test_loss", "fid"],
    "params": {"hidden_dims": [3]},
    "training": {"epochs": 2, "learning_rate": 1e-3, "vae": {"betas": [0.9, 0.99]}},
    "data": {"train_images": 100, "classes": ["0", "1"]},
    "evaluation": {"samples": 50},
    "vary": {"latent_dim": [2, 3]},
    "on": {"mnist": {"training": {"epochs": 3}}},
    "smoke": {"seeds": 1, "training": {"epochs": 1}},
    "variants": [{"name": "a"}, {"name": "b", "params": {"activation": "tanh"}, "datasets": ["digits"]}],
    "claims": [
        {"text": "it falls", "where": "here", "metric": "test_loss", "less": ["a latent_dim=3", "a latent_dim=2"]}
    ],
}
SEARCH = {name: value for name, value in STUDY.items() if name not in ("claims", "variants")} | {
    "vary": {"learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}, "latent_dim": [2, 3]},
    "trials": 5,
    "confirm": {"top": 2, "seeds": 2},
}


class Broken(Exception):
    """Input that was neither read nor refused as it should be."""


class Payload:
    """Pickled, it is code that writes a file once it is read back."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.file)!r}, 'w').close()",)


class Target(ABC):
    """One kind of input. ``folder`` is its own; everything that reads it may write below ``folder`` alone.

    Attributes:
        MUTATIONS: what is done to it, in words, by name.
        NAMED: what a refusal must name: the place of the fault. Empty where each refusal is a command's.
    """

    MUTATIONS: ClassVar[Mapping[str, str]]
    NAMED: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.known = catalogue()
        self.trial: Trial = next(build({**STUDY, "data": {}}, Path("x.toml"), self.known).grid(self.known, {}))
        self.payload = pickle.dumps(Payload(folder.parent / "executed"))

    @abstractmethod
    def make(self, mutation: str, draw: random.Random) -> None:
        """Lay a mutated input into the folder."""

    @abstractmethod
    def read(self) -> None:
        """Read it."""

    def outcome(self) -> str:
        """``read`` or ``refused``.

        Raises:
            Exception: neither.
        """
        try:
            self.read()
        except FORESEEN as error:
            said = line(str(error))
            if not said.isprintable() or len(said) > LONGEST_LINE + 200 or self.NAMED not in said or len(said) < 15:
                raise Broken(f"no line that names {self.NAMED}: {said!r}") from error
            if out_of_memory(error):
                raise Broken(f"memory was taken before it was counted: {said!r}") from error
            return "refused"
        return "read"
