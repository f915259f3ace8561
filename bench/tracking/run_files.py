"""The files of a run: where they lie, and whether they are what was written."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from bench.files import sha256, write_whole
from bench.tracking.reader import Run
from bench.tracking.readers import client
from bench.tracking.rows import FILES

TRIAL = "trial.toml"  # which describes a run's model and holds the digest of its weights
WEIGHTS = "model.safetensors"  # the file of them


def intact(run: Run, name: str, file: Path) -> bool:
    """Whether one of a finished run's files, which lies at ``file``, is what was written; earlier versions did not tell."""
    digest = json.loads(run.tags.get(FILES, "{}")).get(name)
    return file.is_file() and digest in (None, sha256(file.read_bytes()))


def local_folder(address: str) -> Path | None:
    """Where the files of a run lie; None where a server holds them."""
    place = urlparse(address)
    if not place.scheme and address:  # as MLflow names what lies in its default place
        return Path(address)
    return Path(url2pathname(place.path)) if place.scheme == "file" else None


def listed(run_id: str, address: str, folder: str, uri: str) -> list[str]:
    """The paths of what lies in one folder of a run's files, or in that of all where ``folder`` is empty, sorted.

    Args:
        uri: the store's, where a server holds them.
    """
    here = local_folder(address)
    if here is None:
        return sorted(str(entry.path) for entry in client(uri).list_artifacts(run_id, folder or None))
    return sorted(path.relative_to(here).as_posix() for path in (here / folder).glob("*"))


def file_of(run_id: str, address: str, name: str, uri: str) -> Path:
    """One of a run's files, or the folder of all where ``name`` is empty: where it lies, or a copy of this process."""
    here = local_folder(address)
    if here is not None:
        return here / name
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    folder = _scratch() / run_id
    folder.mkdir(exist_ok=True)
    # The run's own client would ask three times more where its files lie, which is known.
    files = get_artifact_repository(address, tracking_uri=uri)
    return Path(files.download_artifacts(name, str(folder)))  # type: ignore[no-untyped-call]


def put(run_id: str, address: str, path: str, content: bytes, uri: str) -> None:
    """Write one of a run's files, unless it stands there; on a server it is written in any case."""
    here = local_folder(address)
    if here is not None:
        file = here / path
        if not (file.is_file() and file.read_bytes() == content):
            write_whole(file, content)
        return
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / Path(path).name
        file.write_bytes(content)
        parent = str(Path(path).parent)
        client(uri).log_artifact(run_id, str(file), None if parent == "." else parent)


@cache
def _scratch() -> Path:
    """A folder of this process for what comes from a server: left to itself, MLflow makes one for each file and keeps it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
