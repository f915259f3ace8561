"""What every study promises."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch

from bench import registry
from bench.checks import NotPromised, expect
from bench.contract import Batch
from bench.datasets import spec_of
from bench.paths import Paths
from bench.run.plan import Planner
from bench.run.worker import build
from bench.study.catalogue import Catalogue, catalogue
from bench.study.definition import Study, StudyError, Trial, label
from bench.study.file import load
from bench.training import mean_terms

MOST_SMOKE_IMAGES = 200
MOST_SMOKE_EPOCHS = 2


@dataclass(frozen=True)
class Subject:
    """A study by its file, and what there is to choose from."""

    file: Path
    known: Catalogue
    data: Path

    def read(self, *, smoke: bool = False) -> Study:
        """The study, checked."""
        return load(self.file, self.known, smoke=smoke)


def subject(name: str) -> Subject:
    """The study ``name``, seen from the working directory."""
    paths = Paths.find(Path.cwd())
    return Subject(paths.study(name), catalogue(), paths.data)


def check_it_reads_and_asks_a_question(study: Subject) -> None:
    """The file reads, its question ends in a question mark, and its source says where it comes from, or that it is one's own."""
    read = study.read()
    expect(read.question.rstrip().endswith("?"), f"question = {read.question!r}: must end in a question mark")
    told = read.source == "none" or len(read.source) > 20
    expect(told, f"source = {read.source!r}: must say where the question comes from and what was reported, or 'none'")


def check_no_two_trials_are_the_same(study: Subject) -> None:
    """Every cell of the grid is another configuration."""
    read = study.read()
    if read.is_search:
        raise NotPromised("a search finds its configurations")
    trials = list(read.grid(study.known, {}))
    twice = len(trials) - len({trial.key for trial in trials})
    expect(not twice, f"{twice} of {len(trials)} trials stand for a configuration that another one is")


def check_every_trial_can_be_built(study: Subject) -> None:
    """Its models can be built for its first data set, full size and smoke."""
    for smoke in (False, True):
        read = study.read(smoke=smoke)
        try:
            Planner(read, study.known, study.data).plan({})
        except StudyError as error:
            if "cannot download" in str(error):
                raise NotPromised(f"its first data set cannot be had here: {error}") from None
            raise


def check_its_claims_name_loss_terms_that_there_are(study: Subject) -> None:
    """A claim about a curve names a loss term that the models of its variants have."""
    read = study.read()
    about = [(number, claim) for number, claim in enumerate(read.claims, start=1) if claim.term]
    if not about:
        raise NotPromised("it claims nothing about a curve")
    terms: dict[str, list[str]] = {}  # of a variant, on the first data set that a claim names it for
    for number, claim in about:
        dataset = (claim.datasets or read.meant_for)[0]
        for variant, cell in itertools.product(read.variants_on(dataset), read.cells()):
            name = label(variant, cell)
            if name in claim.variants:
                terms[name] = terms.get(name) or _terms(read.trial(study.known, variant, dataset, 0, cell))
                wrong = f"claim {number}: no loss term {claim.term!r} of {name}; there are: {', '.join(terms[name])}"
                expect(claim.term in terms[name], wrong)


def check_its_pictures_come_before_its_end(study: Subject) -> None:
    """Every epoch that it names for its pictures is one that a trial of it comes to."""
    read = study.read()
    if not read.pictures or read.is_search:
        raise NotPromised(
            "a search finds its configurations" if read.pictures else "it names no epochs for its pictures"
        )
    longest = max(
        read.trial(study.known, variant, dataset, 0, cell).settings["training"]["epochs"]
        for dataset in read.meant_for
        for variant, cell in itertools.product(read.variants_on(dataset), read.cells())
    )
    beyond = [epoch for epoch in read.pictures if epoch > longest]
    expect(not beyond, f"pictures: epoch {beyond} is never reached; the longest of its trials has {longest}")


def check_its_smoke_is_small(study: Subject) -> None:
    """``--smoke`` trains a tiny subset for an epoch or two."""
    smoke = study.read(smoke=True)
    images = smoke.overrides.get("data", {}).get("train_images")
    few = images is not None and images <= MOST_SMOKE_IMAGES
    expect(few, f"[smoke] data.train_images = {images}: must be {MOST_SMOKE_IMAGES} at most")
    epochs = smoke.vary.get("epochs", (smoke.overrides.get("training", {}).get("epochs"),))
    short = isinstance(epochs, tuple) and all(isinstance(n, int) and n <= MOST_SMOKE_EPOCHS for n in epochs)
    expect(short, f"[smoke] training.epochs = {epochs}: must be {MOST_SMOKE_EPOCHS} at most")


def _terms(trial: Trial) -> list[str]:
    """The loss terms of a trial's model, by one step on noise that learns nothing."""
    if trial.dataset not in registry.names("datasets"):
        raise NotPromised(f"{trial.dataset} is no data set that is known by name")
    spec = spec_of(trial.dataset)
    batch = Batch(torch.rand(4, *spec.shape), torch.zeros(4, dtype=torch.int64))
    return sorted(mean_terms(build(trial, spec), [batch]))
