"""What can be known before anything runs: every trial, that it can be built, what is done already, how long the rest may take."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from bench import registry
from bench.errors import DataError, Unsupported
from bench.run.earlier import Code, tried
from bench.run.events import Asked
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import LONGEST_TRIAL, Cell, Range, Study, StudyError, Trial
from bench.text import reason
from bench.tracking.rows import Record

if TYPE_CHECKING:
    from bench.contract import ImageSpec
    from bench.data import Data
    from bench.datasets import Source, Track


@dataclass
class Plan:
    """What a study comes to before it runs.

    Attributes:
        trials: the grid's trials, or those that a search has confirmed so far.
        done: the keys among them that are finished.
        again: of those, what the study asks of the saved model and has not had, by key.
        parameters: trainable parameters by key.
        proposals: configurations that a search tries in all.
        tried: of those, what earlier invocations tried; known once the search has begun.
        confirmations: trials that a search is yet to name, to confirm the best of its proposals.
        seconds: how long a trial took in earlier runs, by key, where one like it has run.
        borrowed: runs of other studies that have finished a trial, by key; `done` holds those too.
        outdated: the keys among `done` whose runs were trained with other code of the model than stands there now.
        begun: the keys of those to be trained that such code began, and that go on from there.
    """

    trials: list[Trial]
    done: set[str]
    again: dict[str, Asked]
    parameters: dict[str, int]
    proposals: int
    seconds: dict[str, float]
    borrowed: Mapping[str, Record] = field(default_factory=dict)
    outdated: set[str] = field(default_factory=set)
    begun: set[str] = field(default_factory=set)
    tried: int = 0
    confirmations: int = 0

    def confirm(self, trials: Iterable[Trial], records: Mapping[str, Record]) -> None:
        """Add what a search has found, less what is finished of it."""
        self.confirmations = 0
        for trial in trials:
            self.trials.append(trial)
            if trial.key in records and records[trial.key].state == "finished":
                self.done.add(trial.key)

    @property
    def todo(self) -> list[Trial]:
        """The trials that are to be trained."""
        return [trial for trial in self.trials if trial.key not in self.done]

    @property
    def work(self) -> int:
        """How many trials are to be trained, measured again or proposed."""
        return len(self.todo) + len(self.again) + self.proposals


class Planner:
    """Expands a study and checks every trial of it, opening each data set once.

    Raises:
        StudyError: a trial that cannot run, with the reason.
    """

    def __init__(self, study: Study, catalogue: Catalogue, data_dir: Path, track: Track | None = None) -> None:
        """``track`` shows how far the reading of many files is."""
        self.study = study
        self.catalogue = catalogue
        self.data_dir = data_dir
        self.track = track
        self._code = Code()
        self._anew = self.changed_anew = False
        self._fingerprints: dict[str, str] = {}
        self._sources: dict[tuple[str, int | None], Source] = {}
        self._checked: dict[str, int] = {}
        self._roomy: set[str] = set()

    def plan(
        self,
        records: Mapping[str, Record],
        elsewhere: Callable[[list[str]], Mapping[str, Record]] = lambda keys: {},
        *,
        rerun: bool = False,
        rerun_changed: bool = False,
        remeasure: bool = False,
    ) -> Plan:
        """The plan, given what is remembered of earlier trials by key: of those that are done with, nothing is built.

        Args:
            elsewhere: what other studies have finished of these trials, by key.
            rerun: train again what is finished.
            rerun_changed: train again what was trained with other code of its model, all of it or the beginning.
            remeasure: measure the models that are trained again, and draw what the study puts them to.
        """
        trials = [] if self.study.is_search else self._grid()
        proposals = confirmations = 0
        if self.study.is_search:
            searches = sum(len(self.study.variants_on(dataset)) for dataset in self.study.datasets)
            confirm = self.study.confirm
            proposals = searches * self.study.trials
            confirmations = searches * confirm.top * confirm.seeds if confirm else 0
            for corner in self.corners():
                self.check(corner, room=True)
                self.check_objective(corner)
        self._anew, self.changed_anew = rerun, rerun_changed and not self.study.is_search
        finished = {key: each for key, each in records.items() if each.state == "finished" and self.counts(each)}
        others = elsewhere([trial.key for trial in trials if trial.key not in finished])
        borrowed = {key: each for key, each in others.items() if self.counts(each)}
        finished.update(borrowed)
        ours = trials
        if self.study.is_search:
            ours = [record.trial for record in tried(self.study, self.catalogue, records, self.fingerprint)]
        outdated = {each.key for each in ours if each.key in finished and self._code.is_outdated(finished[each.key])}
        done = {trial.key for trial in trials if trial.key in finished}
        stopped = {each.key: records[each.key] for each in trials if each.key in records.keys() - done}
        begun = {key for key, each in stopped.items() if not self.changed_anew and self._code.is_outdated(each)}
        again = {}
        for key in done:
            if missing := self.missing(None if remeasure else finished[key]):
                again[key] = missing
        parameters = {}
        for trial in trials:
            known = 0 if trial.key in again or trial.key not in done else finished[trial.key].parameters
            parameters[trial.key] = known or self.check(trial, room=trial.key not in done)
        seconds = _seconds(trials, records)
        return Plan(
            trials, done, again, parameters, proposals, seconds, borrowed, outdated, begun, confirmations=confirmations
        )

    def counts(self, record: Record) -> bool:
        """Whether a finished run stands for its trial, under what `plan` was asked to train again."""
        return not (self._anew or (self.changed_anew and self._code.is_outdated(record)))

    def missing(self, record: Record | None) -> Asked:
        """What the study asks and a run has not had, or had of an own metric's file as it is no more; all where there is none."""
        scores, applied = (record.scores, record.applied) if record else ({}, {})
        metrics = (metric.name for metric in self.study.metrics)
        return Asked(
            tuple(name for name in metrics if name not in scores or self._code.has_changed(name, scores[name])),
            tuple(name for name in self.study.applications if name not in applied),
        )

    def undrawn(
        self, plan: Plan, records: Mapping[str, Record], drawn: Callable[[str], Mapping[tuple[str, int], str]]
    ) -> list[str]:
        """A line on the trials that were finished before the study named epochs for its pictures, and were not looked at then.

        They are not trained again for it: what they came to is what it would come to again.

        Args:
            drawn: the pictures of a run, by name and epoch.
        """
        if not self.study.pictures:
            return []
        from bench.previews import picture_epochs

        lacking, epochs = 0, set[int]()
        for trial in plan.trials:
            if trial.key in plan.done and (pictures := drawn(records[trial.key].run_id)):
                due = picture_epochs(trial.settings["training"]["epochs"], self.study.pictures)
                missing = due.intersection(self.study.pictures) - {epoch for _, epoch in pictures}
                lacking += bool(missing)
                epochs |= missing
        if not lacking:
            return []
        listed = ", ".join(map(str, sorted(epochs)))
        return [f"no pictures of epoch {listed} in {lacking} finished trials; to train them again for it: --rerun"]

    def fingerprint(self, dataset: str) -> str:
        """The data set's fingerprint, read once; empty for one that is known by name."""
        if dataset in self.catalogue.datasets:
            return ""  # its name is enough
        from bench.datasets import fingerprint, untracked

        if dataset not in self._fingerprints:
            try:
                self._fingerprints[dataset] = fingerprint(dataset, self.data_dir, self.track or untracked)
            except DataError as error:
                raise StudyError(str(error)) from None
        return self._fingerprints[dataset]

    def objectives(self, records: Mapping[str, Record]) -> dict[str, float | None]:
        """The objective's value of every finished trial, by key."""
        finished = {key: record.scores for key, record in records.items() if record.state == "finished"}
        return {key: scores.get(self.study.objective.name, Score(None)).value for key, scores in finished.items()}

    def fetch(self, on_gpu: bool) -> list[str]:
        """Download what the metrics' extractors need, once: trials never ask the network. A line on each that cannot be had."""
        from bench.measure.evaluation import fetch

        tables = (self.study.settings, self.study.overrides, *self.study.on.values(), *self.study.resized.values())
        asked = any(table.get("evaluation", {}).get("inception_on_cpu", False) for table in tables)
        return fetch([metric.name for metric in self.study.metrics], self.data_dir, costly=on_gpu or asked)

    def check(self, trial: Trial, *, room: bool) -> int:
        """Load the trial's data, build its model without memory for weights, and count its parameters.

        Args:
            room: whether the memory that it takes to train must be there.
        """

        seedless = trial.configuration
        if seedless not in self._checked or (room and seedless not in self._roomy):
            try:
                spec = self.data(trial).spec
            except DataError as error:
                raise StudyError(str(error)) from None
            except registry.RegistryError:
                raise
            except (Exception, SystemExit) as error:  # memory that is not there, and a user's own data set anything
                if isinstance(error, OSError) and not registry.place(error):
                    raise
                raise StudyError(f"{self._where(trial)}: {trial.dataset} cannot be read: {_why(error)}") from error
            self._checked[seedless] = self.check_model(trial, spec, room=room)
        return self._checked[seedless]

    def data(self, trial: Trial) -> Data:
        """What a trial is trained on; the data set that was opened last stays open.

        Raises:
            DataError: it cannot be had, or the trial's settings do not fit it.
        """
        from bench.datasets import open_dataset, untracked
        from bench.run.worker import data_options, prepared

        opened = trial.dataset, data_options(trial).image_size
        if opened not in self._sources:
            track = self.track or untracked
            self._sources = {opened: open_dataset(trial.dataset, self.data_dir, opened[1], track)}
        return prepared(trial, self._sources[opened])

    def check_objective(self, proposal: Trial) -> None:
        """Refuse a search for the best of what its model can never have."""
        from bench.measure.measurements import measurements
        from bench.models import model_class

        name = self.study.objective.name
        needs = getattr(registry.load("metrics", measurements().files[name]), "NEEDS", object)
        if not issubclass(model_class(proposal.model), needs):
            raise StudyError(
                f"{self._where(proposal)}: {name} is what the search looks for, and {proposal.model} is not something that "
                f"{needs.__name__.lower()}; put a metric first that it has"
            )

    def corners(self) -> Iterator[Trial]:
        """Proposals at the far corners of a search's space, for every data set and variant."""
        for dataset in self.study.datasets:
            for variant, corner in itertools.product(self.study.variants_on(dataset), _cells(self.study)):
                yield self.study.trial(self.catalogue, variant, dataset, 0, corner, proposal=True)

    def check_models(self) -> None:
        """Build the model of every trial, or of a search's corners, without downloading a data set that is not at hand."""
        from bench.datasets import at_hand, spec_of
        from bench.run.worker import data_options

        for dataset in self.study.datasets:
            for variant, cell in itertools.product(self.study.variants_on(dataset), _cells(self.study)):
                trial = self.study.trial(self.catalogue, variant, dataset, 0, cell)
                if dataset not in self.catalogue.datasets or at_hand(dataset, self.data_dir):
                    self.check(trial, room=True)
                    continue
                options, spec = data_options(trial), spec_of(dataset)
                size = options.image_size
                if size is not None:
                    spec = replace(spec, height=size, width=size)
                if options.classes:
                    spec = replace(spec, classes=options.classes)
                self.check_model(trial, spec)

    def check_model(self, trial: Trial, spec: ImageSpec, *, room: bool = True) -> int:
        """Build a trial's model for such images, without memory for weights, and count its parameters."""
        import torch

        from bench.run.room import check_room
        from bench.run.worker import build, parameter_count

        if (size := len(json.dumps(trial.as_dict()))) > LONGEST_TRIAL:
            raise StudyError(
                f"{self._where(trial)}: its settings take {size:,} characters, and {LONGEST_TRIAL:,} are remembered: "
                "shorten its lists"
            )
        try:
            with torch.device("meta"):
                model = build(trial, spec)
            if room:
                check_room(trial, model, spec)
                self._roomy.add(trial.configuration)
            return parameter_count(model)
        except Unsupported as error:
            raise StudyError(f"{self._where(trial)}: {error}") from None
        except registry.RegistryError:
            raise
        except (
            Exception,
            SystemExit,
        ) as error:  # whatever torch raises over sizes, and a user's own model over anything
            raise StudyError(f"{self._where(trial)}: {trial.model} cannot be built: {_why(error)}") from error

    def _where(self, trial: Trial) -> str:
        return f"study {self.study.name}: {trial.variant} on {trial.dataset}"

    def _grid(self) -> list[Trial]:
        fingerprints = {dataset: self.fingerprint(dataset) for dataset in self.study.datasets}
        return list({trial.key: trial for trial in self.study.grid(self.catalogue, fingerprints)}.values())


def _why(error: BaseException) -> str:
    """What somebody else's code raised, and where."""
    place = registry.place(error)
    what = f"{type(error).__name__}: {reason(error)}" if str(error) else type(error).__name__
    return f"{place}: {what}" if place else what


def _cells(study: Study) -> list[Cell]:
    """The points of a grid, or the two far corners of a search's space: what can be built at both can be built between them."""
    if not study.is_search:
        return study.cells()
    ends = {name: (v.low, v.high) if isinstance(v, Range) else v for name, v in study.vary.items()}
    return [{name: values[end] for name, values in ends.items()} for end in (0, -1)]


def _seconds(trials: list[Trial], records: Mapping[str, Record]) -> dict[str, float]:
    """From each trial's replicates where some have finished: their mean duration."""
    durations: dict[str, list[float]] = {}
    for record in records.values():
        if record.state == "finished":
            durations.setdefault(record.configuration, []).append(record.seconds)
    return {t.key: mean(durations[t.configuration]) for t in trials if t.configuration in durations}
