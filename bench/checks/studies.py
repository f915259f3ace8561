"""What every study promises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench.checks import NotPromised, expect
from bench.paths import Paths
from bench.run.plan import Planner
from bench.study.catalogue import Catalogue, catalogue
from bench.study.definition import Study, StudyError
from bench.study.file import load

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
    """The file reads, its question ends in a question mark, and its source says where the question comes from."""
    read = study.read()
    expect(read.question.rstrip().endswith("?"), f"question = {read.question!r}: must end in a question mark")
    expect(
        len(read.source) > 20, f"source = {read.source!r}: must say where the question comes from and what was reported"
    )


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


def check_its_smoke_is_small(study: Subject) -> None:
    """``--smoke`` trains a tiny subset for an epoch or two."""
    smoke = study.read(smoke=True)
    images = smoke.overrides.get("data", {}).get("train_images")
    few = images is not None and images <= MOST_SMOKE_IMAGES
    expect(few, f"[smoke] data.train_images = {images}: must be {MOST_SMOKE_IMAGES} at most")
    epochs = smoke.vary.get("epochs", (smoke.overrides.get("training", {}).get("epochs"),))
    short = isinstance(epochs, tuple) and all(isinstance(n, int) and n <= MOST_SMOKE_EPOCHS for n in epochs)
    expect(short, f"[smoke] training.epochs = {epochs}: must be {MOST_SMOKE_EPOCHS} at most")
