"""The files of a run: where they lie, and whether they are what was written."""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlflow import MlflowClient

from bench.files import sha256
from bench.tracking.rows import FILES

if TYPE_CHECKING:
    from mlflow.entities import Run

WEIGHTS = "model.safetensors"  # the file of a run's trained weights


def intact(run: Run, name: str, file: Path) -> bool:
    """Whether one of a finished run's files, which lies at ``file``, is what was written; earlier versions did not tell."""
    digest = json.loads(run.data.tags.get(FILES, "{}")).get(name)
    return file.is_file() and digest in (None, sha256(file.read_bytes()))


def local_folder(run: Run) -> Path | None:
    """Where the run's files lie; None where a server holds them."""
    address = urlparse(run.info.artifact_uri)
    return Path(url2pathname(address.path)) if address.scheme == "file" else None


def file_of(client: MlflowClient, run_id: str, name: str) -> Path:
    here = local_folder(client.get_run(run_id))
    if here is not None:
        return here / name
    folder = _scratch() / run_id
    folder.mkdir(exist_ok=True)
    return Path(client.download_artifacts(run_id, name, str(folder)))


@cache
def _scratch() -> Path:
    """A folder of this process for what comes from a server: left to itself, MLflow makes one for each file and keeps it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
