"""Where a run comes from: the code, the command and the user."""

from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

from bench import __version__
from bench.tracking.rows import COMMIT


def provenance(command: str) -> dict[str, str]:
    """The tags that say where a run comes from, under the names that MLflow's UI shows."""
    return {
        "mlflow.source.name": command,
        "mlflow.source.type": "LOCAL",
        COMMIT: commit(),
        "mlflow.user": user(),
    }


def user() -> str:
    """Who runs it; by number where the machine has no name for them, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def commit() -> str:
    """The commit of the code that runs, marked where it has been changed since; the version where no git keeps it.

    An installed package may lie within another project's repository, whose commit says nothing of it.
    """
    here = Path(__file__).parents[2]

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "--", "bench/run/provenance.py")
        changed = git("status", "--porcelain", "--", "bench", "studies", "pyproject.toml")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return f"bench {__version__}"
