"""One run being written. All of it can be written again, after a failure or by the next driver, and stands there once.

What is told of it is gathered, and written in one go by `RunLog.flush` or with its end; its files are written at once.
"""

from __future__ import annotations

import io
import itertools
import json
import time
import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from bench.files import sha256
from bench.score import Score
from bench.study.definition import Failure, Trial
from bench.study.naming import nickname
from bench.text import escaped
from bench.tracking.borrowed import show
from bench.tracking.client import run_of
from bench.tracking.errors import StoreError
from bench.tracking.names import FINAL, REFERS
from bench.tracking.protocols import NAMED, facts_in, packed, remove_others, unpacked
from bench.tracking.reader import Run
from bench.tracking.rows import APPLIED, COMMIT, FILES, PROTOCOL, REASON, STATUS, Record
from bench.tracking.run_files import WEIGHTS, local_folder, put
from bench.tracking.store import Store
from bench.tracking.thumbnails import thumbnail, thumbnail_of
from bench.tracking.words import ILLUSTRATED, NOTE, note, settled, title

if TYPE_CHECKING:
    from mlflow.entities import Run as Entity

# What MLflow writes in one go: params or tags, and metrics beside them. The rest it would write after the tags.
WORDS, METRICS = 100, 800


@dataclass(eq=False)
class RunLog:
    """The run of one trial.

    Attributes:
        provenance: tags that tell whoever works on it: commit, command line, user.
        run_id: that of an earlier attempt, or empty.
    """

    store: Store
    trial: Trial
    provenance: Mapping[str, str]
    run_id: str = ""
    finished: bool = False  # and measured again: it stays so, whatever comes of that
    _asked: bool = False  # for a run of its own, with or without an answer
    _address: str = ""  # of its files
    _folder: Path | None = None  # where they lie; None on a server
    _started: int = 0
    _params: set[str] = field(default_factory=set)
    _logged: set[int] = field(default_factory=set)  # epochs
    _drawn: set[str] = field(default_factory=set)
    _illustrated: bool = False  # as the UI wants to be told
    _finals: dict[str, float] = field(default_factory=dict)
    _before: Mapping[str, str] = field(default_factory=dict)  # the tags that an earlier driver left
    _new_params: dict[str, str] = field(default_factory=dict)
    _new_metrics: dict[tuple[str, int], Metric] = field(default_factory=dict)
    _new_tags: dict[str, str] = field(default_factory=dict)
    _data: Dataset | None = None  # that is to be noted
    _facts: dict[str, str] = field(default_factory=dict)  # what its values rest on
    _note: str = ""  # once its settings are known

    def start(self, attempt: int) -> None:
        """Open the run; what it holds already is not written again."""
        client = self.store.client
        tags = self._tags(attempt)
        if not self.run_id:
            experiment = str(self.store.experiment_id)
            run = run_of(self._begun() or client.create_run(experiment, tags=tags, run_name=title(self.trial)))
            self.run_id = run.run_id
        else:
            run = run_of(client.get_run(self.run_id))
            before = run.tags
            if COMMIT in before and COMMIT in tags:  # whoever goes on, or measures again, is not who began
                tags[COMMIT] = ", ".join(dict.fromkeys([*before[COMMIT].split(", "), tags[COMMIT]]))
            self.finished = before.get("state") == "finished"
            if self.finished:
                tags = {name: value for name, value in tags.items() if name == COMMIT}
            self._tag(tags)
            if not self.finished:
                client.update_run(self.run_id, status="RUNNING")
                for name in ("failure", "reason"):
                    if name in before:
                        client.delete_tag(self.run_id, name)
            self._logged = {metric.step for metric in client.get_metric_history(self.run_id, "time/epoch_s")}
            self._drawn = {entry.path for entry in client.list_artifacts(self.run_id, "images")}
        self._address = run.artifacts
        self._folder = local_folder(run.artifacts)
        self._facts = facts_in(unpacked(run, self.store.uri).tags)
        self._started = run.started
        self._params = set(run.params)
        self._illustrated = ILLUSTRATED in run.tags
        self._before = run.tags
        self._finals = {name: value for name, value in run.metrics.items() if name.startswith(FINAL)}
        if self._folder is not None and not self.finished:
            with suppress(OSError):
                (self._folder / "failure.txt").unlink()

    def refer(self, other: Record) -> None:
        """Let a run stand for that of another study, which trained the trial."""
        refers = {REFERS: other.run_id, "state": "finished"}
        client, experiment = self.store.client, str(self.store.experiment_id)
        ours = f"tags.key = '{self.trial.key}' and tags.`{REFERS}` = '{other.run_id}'"
        found = client.search_runs([experiment], ours, max_results=1)
        run = (
            found[0]
            if found
            else client.create_run(experiment, tags=self._tags(1) | refers, run_name=title(self.trial))
        )
        self.run_id = run.info.run_id
        client.set_terminated(self.run_id, STATUS["finished"])
        there = run_of(client.get_run(other.run_id))
        with suppress(StoreError):  # what is lacking then is written with the views, and nothing else rests on it
            show(self.store, run_of(run), there)

    def facts(self, tags: Mapping[str, str], params: Mapping[str, Any], data: Mapping[str, str]) -> None:
        """What the trial's process says of itself before it trains; ``params`` are the settings that tell it from others."""
        trial, texts = self.trial, settled(self.trial, params)
        self._note = note(trial, self.store.study, texts)
        new = {name: text for name, text in texts.items() if name not in self._params}  # MLflow changes none
        self._new_params |= new
        self._new_tags |= {**tags, NOTE: self._note}
        source = json.dumps({"tags": dict(data)})
        self._data = Dataset(nickname(trial.dataset), data["sha256"][:12], source_type="code", source=source)

    def epoch(self, epoch: int, metrics: Mapping[str, float], pictures: Mapping[str, bytes], moment: int) -> None:
        """One epoch's measures, taken at ``moment`` in milliseconds, and its pictures."""
        if epoch not in self._logged:
            self._new_metrics |= {(name, epoch): Metric(name, v, moment, epoch) for name, v in metrics.items()}
        for name, png in pictures.items():
            self._draw(name, epoch, png)

    def finish(
        self, scores: Mapping[str, Score], files: Mapping[str, bytes], applied: Mapping[str, str], moment: int
    ) -> None:
        """The scores, the files by path, with their digests, and what the model was `APPLIED` to; then the run is finished.

        What an earlier end of it left, of which nothing new is told, stays.
        """
        for path, content in files.items():
            self._put(path, content)
        self._new_tags |= _made(files, applied, self._before)
        metrics, facts = written(scores, moment, self._finals)
        self._new_metrics |= {(metric.key, 0): metric for metric in metrics}
        self._facts |= facts
        name, content = packed(self._facts)
        self._put(name, content)
        self._new_tags[NAMED] = name
        self.end("finished")
        remove_others(self._address, name)

    def fail(self, failure: Failure) -> None:
        """How the trial ended without its scores."""
        if failure.details and not self.finished:
            self._put("failure.txt", failure.details.encode())
        reason = failure.reason[:5000]
        told = f"**{escaped(failure.kind)}**: {escaped(reason)}\n\n{self._note}".rstrip()
        self.end("failed", {"failure": failure.kind, "reason": reason, NOTE: told})

    def end(self, state: str, tags: Mapping[str, str] | None = None) -> None:
        """The run's last word: its state, after all else that was told of it, from which MLflow's status follows wherever it is
        read."""
        if not self.finished:
            self._new_tags |= {**(tags or {}), "state": state}
        self.flush()
        if not self.finished:
            self.store.client.set_terminated(self.run_id, STATUS[state])

    def flush(self) -> None:
        """Write what was told. Tags come last, the state last of them: what it says has happened stands there by then."""
        client = self.store.client
        if self._data is not None:
            client.log_inputs(self.run_id, [DatasetInput(self._data, [InputTag("mlflow.data.context", "train")])])
            self._data = None
        *parts, metrics = _whole_epochs(self._new_metrics.values())
        for part in parts:
            client.log_batch(self.run_id, metrics=part)
        params = [Param(name, value) for name, value in self._new_params.items()]
        if len(params) > WORDS:
            client.log_batch(self.run_id, params=params)
            params = []
        tags = sorted(self._new_tags.items(), key=lambda tag: tag[0] == "state")
        client.log_batch(self.run_id, metrics, params, [RunTag(name, value) for name, value in tags])
        self._params |= self._new_params.keys()
        self._logged |= {step for name, step in self._new_metrics if not name.startswith(FINAL)}
        for told in (self._new_params, self._new_metrics, self._new_tags):
            told.clear()

    def _tags(self, attempt: int) -> dict[str, str]:
        return {
            **self.provenance,
            "key": self.trial.key,
            "configuration": self.trial.configuration,
            "study": self.store.study,
            "variant": self.trial.variant,
            "dataset": self.trial.dataset,
            "split": self.trial.held_out,
            "attempt": str(attempt),
            "state": "running",
            "trial": json.dumps(self.trial.as_dict()),
        }

    def _begun(self) -> Entity | None:
        """The run that was asked for before, where it was made and the answer was lost."""
        if not self._asked:
            self._asked = True
            return None
        ours = f"tags.key = '{self.trial.key}' and tags.state = 'running'"
        found = self.store.client.search_runs([str(self.store.experiment_id)], ours, max_results=1)
        return found[0] if found else None

    def _draw(self, name: str, epoch: int, png: bytes) -> None:
        """A picture and its thumbnail under the names by which MLflow's UI lines them up over training.

        Its own ``log_image`` names them at random: what was written again would stand there twice, and what a kill left
        of the two would be all.
        """
        key = uuid.uuid5(uuid.NAMESPACE_URL, f"{self.run_id} {name} {epoch}")
        picture = f"images/images~{name.replace('/', '~')}+step+{epoch}+timestamp+{self._started}+{key}.png"
        small = thumbnail_of(picture)
        if self._folder is None and {picture, small} <= self._drawn:
            return
        if not self._illustrated:
            self._new_tags[ILLUSTRATED] = "true"
            self._illustrated = True
        self._put(picture, png)
        self._put(small, thumbnail(io.BytesIO(png)))
        self._drawn |= {picture, small}

    def _put(self, path: str, content: bytes) -> None:
        put(self.run_id, self._address, path, content, self.store.uri)

    def _tag(self, tags: Mapping[str, str]) -> None:
        self.store.client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])


def write_scores(store: Store, run: Run, scores: Mapping[str, Score]) -> None:
    """Each metric's value with its protocol and reason, taken now, beside what ``run`` has; a value that it has stays."""
    metrics, new = written(scores, int(time.time() * 1000), run.metrics)
    name, content = packed({**facts_in(run.tags), **new})
    put(run.run_id, run.artifacts, name, content, store.uri)
    store.client.log_batch(run.run_id, metrics=metrics, tags=[RunTag(NAMED, name)])
    remove_others(run.artifacts, name)


def write_applied(store: Store, run: Run, applied: Mapping[str, str], files: Mapping[str, bytes]) -> None:
    """What a model was `APPLIED` to, with its pictures by path, beside what ``run``, its finished run, has of that."""
    for path, content in files.items():
        put(run.run_id, run.artifacts, path, content, store.uri)
    store.client.log_batch(run.run_id, tags=[RunTag(*tag) for tag in _made(files, applied, run.tags).items()])


def write_files(store: Store, run: Run, files: Mapping[str, bytes], told: Collection[str]) -> Run:
    """Files by path that ``run``, a finished one, lacks, the trained weights last; the run as it is known then.

    The digests of those that are ``told`` of come first: where a kill leaves some of the files out, they are lacking still.
    """
    tags = _made({path: content for path, content in files.items() if path in told}, {}, run.tags)
    store.client.log_batch(run.run_id, tags=[RunTag(*tag) for tag in tags.items()])
    for path in sorted(files, key=lambda path: (path == WEIGHTS, path)):
        put(run.run_id, run.artifacts, path, files[path], store.uri)
    return replace(run, tags={**run.tags, **tags})


def _made(files: Mapping[str, bytes], applied: Mapping[str, str], before: Mapping[str, str]) -> dict[str, str]:
    """The tags that tell of files and applications, new ones beside those that stand in the tags ``before``."""
    told = {FILES: {path: sha256(content) for path, content in files.items()}, APPLIED: applied}
    return {name: json.dumps({**json.loads(before.get(name, "{}")), **new}) for name, new in told.items() if new}


def _whole_epochs(metrics: Iterable[Metric]) -> list[list[Metric]]:
    """Metrics in as few parts as they can be written in; a kill between two of them leaves no epoch half told."""
    parts: list[list[Metric]] = [[]]
    for _, epoch in itertools.groupby(metrics, key=lambda metric: metric.step):
        together = list(epoch)
        if len(parts[-1]) + len(together) > METRICS:
            parts.append([])
        parts[-1] += together
    return parts


def written(
    scores: Mapping[str, Score], moment: int, standing: Mapping[str, float]
) -> tuple[list[Metric], dict[str, str]]:
    """Scores as a run holds them: values that do not stand there yet, and the facts that they rest on."""
    metrics, tags = list[Metric](), dict[str, str]()
    for name, score in scores.items():
        tags |= {PROTOCOL + name: json.dumps(dict(score.protocol), sort_keys=True), REASON + name: score.reason}
        if score.value is not None and standing.get(FINAL + name) != score.value:
            metrics.append(Metric(FINAL + name, score.value, moment, 0))
    return metrics, tags
