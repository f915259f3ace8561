"""What a driver that died had no time to clear away."""

from __future__ import annotations

import re
from collections.abc import Mapping

from bench.run.events import checkpoints, forget
from bench.run.lock import TrialLocks
from bench.tracking.rows import Record
from bench.tracking.shared import elsewhere
from bench.tracking.store import Store

KEY = re.compile("[0-9a-f]{16}")


def sweep(store: Store, records: Mapping[str, Record], locks: TrialLocks) -> None:
    """Remove the checkpoints of trials that are done with, in this study or another, and what was written of a file of its runs.

    Raises:
        StoreError: the store cannot be used.
    """
    store.clear()
    left = {folder.name: folder for folder in checkpoints(store.folder) if KEY.fullmatch(folder.name)}
    known = {**records, **elsewhere(store, [key for key in left if key not in records])}
    for key in left.keys() & known.keys():
        record = known[key]
        ended = record.state in ("finished", "pruned") or record.kind == "diverged"
        if ended and not record.redone and locks.take(key):
            forget(left[key])
            locks.give_back(key)
