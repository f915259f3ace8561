"""The runs of a study, written in a thread of its own, so that a slow or absent tracking server holds up no trial.

What could not be written is written by the next invocation: a trial's checkpoint goes only when its run is complete.
"""

from __future__ import annotations

import io
import json
import logging
import queue
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from PIL import Image

from bench.score import Score
from bench.study.definition import Failure, Trial
from bench.text import without_passwords
from bench.tracking.reach import first_line
from bench.tracking.rows import COMMIT, FINAL, PROTOCOL, REASON, Record
from bench.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0  # between two tries to reach a tracking server that does not answer


class Writer:
    """Writes what happens to trials, in the order in which it happened, without holding up who tells it."""

    def __init__(self, store: Store, provenance: Mapping[str, str]) -> None:
        """``provenance`` is written on every run: commit, command line, user."""
        self.store = store
        self.provenance = provenance
        self._runs: dict[str, _RunLog] = {}
        self._tasks: queue.Queue[Callable[[], None] | None] = queue.Queue()
        self._lost: Exception | None = None
        self._given_up = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True, name="tracking")
        self._thread.start()

    def start(self, trial: Trial, record: Record | None, attempt: int) -> None:
        """A trial begins, or goes on in the run of ``record``."""
        run = self._runs.setdefault(trial.key, _RunLog(self.store, trial, record.run_id if record else ""))
        self._tasks.put(lambda: run.start(attempt, self.provenance))

    def facts(self, trial: Trial, tags: Mapping[str, str], params: Mapping[str, Any], data: Mapping[str, str]) -> None:
        """What the trial's process says of itself before it trains: device, versions, parameter count, data."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.facts(tags, params, data))

    def epoch(self, trial: Trial, epoch: int, metrics: Mapping[str, float], pictures: Mapping[str, bytes]) -> None:
        """One epoch's measures, and PNG pictures by name; what a resumed run already holds is not written again."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.epoch(epoch, metrics, pictures))

    def finish(
        self,
        trial: Trial,
        scores: Mapping[str, Score],
        files: Mapping[str, bytes],
        then: Callable[[], None],
    ) -> None:
        """The trial is done: scores by metric, files by artifact path.

        ``then`` is called once all of it is written, and not before.
        """
        run = self._runs[trial.key]

        def write() -> None:
            run.finish(scores, files)
            then()

        self._tasks.put(write)

    def fail(self, trial: Trial, failure: Failure) -> None:
        """The trial ended without its scores."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.fail(failure))

    def prune(self, trial: Trial, epoch: int) -> None:
        """The search gave the trial up after ``epoch``."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.end("pruned", "KILLED", {"reason": f"not worth going on with after epoch {epoch}"}))

    def interrupt(self, trial: Trial) -> None:
        """The trial was stopped by its user and can go on later."""
        run = self._runs[trial.key]
        self._tasks.put(lambda: run.end("interrupted", "KILLED", {}))

    def flush(self, seconds: float) -> bool:
        """Wait until all is written, but no longer than ``seconds``; whether it is."""
        done = threading.Event()
        self._tasks.put(done.set)
        return done.wait(seconds)

    def close(self, seconds: float) -> str:
        """Write what is left and stop; one line on what could not be written, or nothing.

        No write is begun after this: a later writer has the runs to itself.
        """
        written = self.flush(seconds)
        unwritten = self._tasks.unfinished_tasks - 1  # less the one that `flush` waits for
        self._given_up.set()
        self._tasks.put(None)
        if written:
            self._thread.join()
            return ""
        why = first_line(self._lost) if self._lost else "no answer"
        return (
            f"{unwritten} writes did not reach {without_passwords(self.store.uri)} "
            f"({why}); the next run of the study writes them from its checkpoints"
        )

    def _write(self) -> None:
        while (task := self._tasks.get()) is not None:
            while not self._given_up.is_set():
                try:
                    task()
                    break
                except (MlflowException, OSError) as error:
                    self._lost = error
                    log.warning("tracking store: %s; trying again", first_line(error))
                    self._given_up.wait(RETRY_SECONDS)
            self._tasks.task_done()


@dataclass
class _RunLog:
    """One run being written."""

    store: Store
    trial: Trial
    run_id: str = ""
    finished: bool = False  # and measured again: it stays so, whatever comes of that
    logged: set[int] = field(default_factory=set)
    drawn: set[tuple[str, int]] = field(default_factory=set)

    def start(self, attempt: int, provenance: Mapping[str, str]) -> None:
        client, trial = self.store.client, self.trial
        tags = {
            **provenance,
            "key": trial.key,
            "configuration": trial.configuration,
            "study": self.store.study,
            "variant": trial.variant,
            "dataset": trial.dataset,
            "split": trial.held_out,
            "attempt": str(attempt),
            "state": "running",
            "trial": json.dumps(trial.as_dict()),
        }
        if not self.run_id:
            run = client.create_run(str(self.store.experiment_id), tags=tags, run_name=trial.name)
            self.run_id = run.info.run_id
        else:
            before = client.get_run(self.run_id).data.tags
            if COMMIT in before and COMMIT in tags:  # whoever goes on, or measures again, is not who began
                tags[COMMIT] = ", ".join(dict.fromkeys([*before[COMMIT].split(", "), tags[COMMIT]]))
            self.finished = before.get("state") == "finished"
            if self.finished:
                del tags["state"]
            else:
                client.update_run(self.run_id, status="RUNNING")
            client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in tags.items()])
            for name in ("failure", "reason"):
                if name in before:
                    client.delete_tag(self.run_id, name)
            self.logged = {metric.step for metric in client.get_metric_history(self.run_id, "time/epoch_s")}
            self.drawn = set(self.store.drawn(self.run_id))

    def facts(self, tags: Mapping[str, str], params: Mapping[str, Any], data: Mapping[str, str]) -> None:
        trial = self.trial
        settings = {name: value for section in trial.settings.values() for name, value in section.items()}
        chosen = {"model": trial.model, "dataset": trial.dataset, "seed": trial.seed, **settings, **params}
        self.store.client.log_batch(
            self.run_id,
            params=[Param(name, json.dumps(v) if not isinstance(v, str) else v) for name, v in chosen.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        name = trial.name.rsplit(" ", 1)[-1]
        dataset = Dataset(name, data["sha256"][:12], source_type="code", source=json.dumps({"tags": dict(data)}))
        context = [InputTag("mlflow.data.context", "train")]
        self.store.client.log_inputs(self.run_id, datasets=[DatasetInput(dataset, context)])

    def epoch(self, epoch: int, metrics: Mapping[str, float], pictures: Mapping[str, bytes]) -> None:
        client = self.store.client
        if epoch not in self.logged:
            now = int(time.time() * 1000)
            client.log_batch(self.run_id, metrics=[Metric(name, v, now, epoch) for name, v in metrics.items()])
            self.logged.add(epoch)
        for name, png in pictures.items():
            if (f"images/{name}", epoch) not in self.drawn:
                client.log_image(self.run_id, Image.open(io.BytesIO(png)), key=f"images/{name}", step=epoch)
                self.drawn.add((f"images/{name}", epoch))

    def finish(self, scores: Mapping[str, Score], files: Mapping[str, bytes]) -> None:
        write_scores(self.store.client, self.run_id, scores)
        for path, content in files.items():
            self._file(path, content)
        self.end("finished", "FINISHED", {})

    def fail(self, failure: Failure) -> None:
        if failure.details and not self.finished:
            self.store.client.log_text(self.run_id, failure.details, "failure.txt")
        self.end("failed", "FAILED", {"failure": failure.kind, "reason": failure.reason[:5000]})

    def end(self, state: str, status: str, tags: Mapping[str, str]) -> None:
        if self.finished:
            return
        client = self.store.client
        client.log_batch(self.run_id, tags=[RunTag(name, value) for name, value in {**tags, "state": state}.items()])
        client.set_terminated(self.run_id, status)

    def _file(self, path: str, content: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / Path(path).name
            file.write_bytes(content)
            parent = str(Path(path).parent)
            self.store.client.log_artifact(self.run_id, str(file), None if parent == "." else parent)


def write_scores(client: MlflowClient, run_id: str, scores: Mapping[str, Score]) -> None:
    """Each metric's value, protocol and reason, in one transaction."""
    now = int(time.time() * 1000)
    metrics, tags = [], []
    for name, score in scores.items():
        tags.append(RunTag(PROTOCOL + name, json.dumps(dict(score.protocol), sort_keys=True)))
        tags.append(RunTag(REASON + name, score.reason))
        if score.value is not None:
            metrics.append(Metric(FINAL + name, score.value, now, 0))
    client.log_batch(run_id, metrics=metrics, tags=tags)
