"""What a run's values rest on, in one file of it: of every metric its protocol, or why it is blank.

Such facts are some fifty texts, and as tags they would bury what MLflow's UI shows of a run beside them. One tag names the file,
whose name holds the digest of its content: it is never changed, so a kill leaves the old facts or the new ones. Where runs are
read they are tags again, as `bench.tracking.rows` wants them, as they stood in the store in earlier versions, and as an exported
run has them.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bench.files import sha256
from bench.tracking.reader import Run
from bench.tracking.rows import PROTOCOL, REASON
from bench.tracking.run_files import file_of, local_folder

log = logging.getLogger(__name__)

NAMED = "protocols"  # the tag that names the file
FILE = re.compile(r"protocols-([0-9a-f]{16})\.json")
PLAIN = (str, int, float, bool)  # what a fact of a protocol can be


def facts_in(tags: Mapping[str, str]) -> dict[str, str]:
    """Those of a run's tags that are kept in its file."""
    return {name: text for name, text in tags.items() if name.startswith((PROTOCOL, REASON))}


def packed(tags: Mapping[str, str]) -> tuple[str, bytes]:
    """The file of these facts: its name and its content, for a reader of JSON too."""
    found = {
        name.removeprefix(REASON): {"protocol": json.loads(tags[PROTOCOL + name.removeprefix(REASON)]), "reason": text}
        for name, text in sorted(tags.items())
        if name.startswith(REASON)
    }
    content = json.dumps(found, indent=1, sort_keys=True).encode()
    return f"protocols-{sha256(content)[:16]}.json", content


def named_in(tags: Mapping[str, str]) -> str:
    """The name of a run's file; empty where it has none, as a run of an earlier version, or one that is not measured yet."""
    name = tags.get(NAMED, "")
    return name if FILE.fullmatch(name) else ""


def is_whole(file: Path) -> bool:
    """Whether a file of these facts is there and holds what its name says."""
    return file.is_file() and file.name == f"protocols-{sha256(file.read_bytes())[:16]}.json"


def remove_others(address: str, name: str) -> None:
    """Remove the files of earlier facts, whose place the one of this ``name`` has taken; on a server they stay."""
    here = local_folder(address)
    for file in here.glob("protocols-*.json") if here else ():
        if FILE.fullmatch(file.name) and file.name != name:
            file.unlink(missing_ok=True)


def unpacked(run: Run, uri: str) -> Run:
    """The run with what stands in its file among its tags; one whose file is damaged has measured nothing, which is said."""
    if not (name := named_in(run.tags)):
        return run
    try:
        return replace(run, tags={**run.tags, **_read(run.run_id, run.artifacts, name, uri)})
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        log.warning("%s of run %s is damaged (%s): it counts as not measured", name, run.run_id, type(error).__name__)
        return replace(run, tags={key: text for key, text in run.tags.items() if key not in facts_in(run.tags)})


@cache
def _read(run_id: str, artifacts: str, name: str, uri: str) -> Mapping[str, str]:
    """The facts of a file as tags. It never changes: what came from a server is asked for once."""
    file = file_of(run_id, artifacts, name, uri)
    if not is_whole(file):
        raise ValueError("its content is not what its name says")
    found: dict[str, str] = {}
    told: dict[str, dict[str, Any]] = json.loads(file.read_bytes())
    for metric, each in told.items():
        if not isinstance(each["reason"], str) or not all(type(fact) in PLAIN for fact in each["protocol"].values()):
            raise TypeError("a protocol is plain facts by name, and a reason a text")
        found |= {PROTOCOL + metric: json.dumps(each["protocol"], sort_keys=True), REASON + metric: each["reason"]}
    return found
