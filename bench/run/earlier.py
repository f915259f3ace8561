"""What runs of before are to a plan: of the code that stands here or of other code, of the search as it is written or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from bench.closure import code_of
from bench.measure.measurements import MEASURED_BY, measured_by, measurements
from bench.score import Score
from bench.study.catalogue import Catalogue
from bench.study.definition import Study
from bench.tracking.rows import Record

ENDED = ("finished", "pruned", "failed")  # states of a run that nobody goes on with


class Code:
    """The code that models are made of and measured by now, read once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._measured_by: dict[str, str] = {}

    def is_outdated(self, record: Record) -> bool:
        """Whether a run's model was made of other code, or began with another; where either is not told, it was not."""
        asked = record.trial.model, record.trial.dataset
        if record.code and asked not in self._known:
            self._known[asked] = code_of(*asked)
        return bool(record.code and self._known[asked]) and record.code != self._known[asked]

    def has_changed(self, metric: str, score: Score) -> bool:
        """Whether a metric of a user's own was taken, or left blank, by another state of its file.

        Where a score does not tell by which, it counts as taken by this one.
        """
        if metric not in self._measured_by:
            file = measurements().files.get(metric)
            self._measured_by[metric] = measured_by(file) if file else ""
        now = self._measured_by[metric]
        return bool(now) and score.protocol.get(MEASURED_BY, now) != now


def told_outdated(
    study: Study, finished: Iterable[str], begun: Iterable[str], records: Mapping[str, Record]
) -> list[str]:
    """A line on each model of which trials, by their keys, were finished or begun with other code than stands here.

    A search tries nothing twice, so that of its trials none is trained again.
    """
    again = "" if study.is_search else "; to train what has changed again: --rerun-changed"
    models, stopped = (Counter(records[key].trial.model for key in keys) for keys in (finished, begun))
    return [
        *(
            f"trained with other code of {model} than there is now: {count} of the finished trials{again}"
            for model, count in sorted(models.items())
        ),
        *(
            f"going on from what other code of {model} began: {count} of the trials that were stopped{again}"
            for model, count in sorted(stopped.items())
        ),
    ]


def tried(
    study: Study, catalogue: Catalogue, records: Mapping[str, Record], fingerprint: Callable[[str], str]
) -> list[Record]:
    """What is tracked of a search as it is written now: its proposals, and what confirmed them.

    Args:
        fingerprint: of a data set as it is now.
    """
    ours = []
    for key, record in records.items():
        trial = record.trial
        if (
            record.state in ENDED
            and trial.dataset in study.datasets
            and trial.fingerprint == fingerprint(trial.dataset)
        ):
            made = study.tries(catalogue, trial.dataset, trial.seed, trial.varied, trial.fingerprint)
            ours += [record] if key in made else []
    return ours
