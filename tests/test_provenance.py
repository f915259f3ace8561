"""Where a run says that it comes from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from bench import __version__
from bench.run import provenance


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_commit_is_of_the_repository_that_keeps_the_code_and_of_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An environment with the package in it lies in one's own project more often than not."""

    def git(*words: str) -> str:
        told = ["git", "-C", str(tmp_path), "-c", "user.name=A", "-c", "user.email=a@example.org", *words]
        return subprocess.run(told, check=True, capture_output=True, text=True).stdout.strip()

    file = tmp_path / "bench" / "run" / "provenance.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    (tmp_path / "mine.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(file))
    assert provenance.commit() == f"bench {__version__}"
    git("init", "--quiet")
    git("add", "mine.py")
    git("commit", "--quiet", "-m", "mine")
    assert provenance.commit() == f"bench {__version__}"
    git("add", "bench")
    git("commit", "--quiet", "-m", "the suite")
    assert provenance.commit() == git("rev-parse", "HEAD")
    file.write_text("# changed\n")
    assert provenance.commit() == git("rev-parse", "HEAD") + " with changes"
