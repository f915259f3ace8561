"""`reports/reliability.md`: what the long runs over faults and over bad input found, a section each."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

TITLE = "# Reliability"


def write_section(page: Path, title: str, text: str) -> None:
    """Write ``## title`` into a page, in place of the section of that name; the others stay as they are."""
    before = page.read_text() if page.exists() else TITLE + "\n"
    section = f"## {title}\n\n{text.strip()}\n"
    place = re.compile(rf"^## {re.escape(title)}\n.*?(?=^## |\Z)", re.MULTILINE | re.DOTALL)
    if not place.search(before):
        before = f"{before.rstrip()}\n\n## {title}\n"
    after = place.sub(lambda _: section + "\n", before)
    page.write_text(after.rstrip() + "\n")


def surroundings() -> str:
    """The commit that is tried and the machine, in a line."""
    commit = _said("git", "rev-parse", "--short=10", "HEAD")
    changed = " with changes" if _said("git", "status", "--porcelain", "--untracked-files=no") else ""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    processor = model[1] if model else platform.machine()
    return f"commit {commit}{changed}; {processor}, {os.cpu_count()} cores; Python {platform.python_version()}"


def _said(*command: str) -> str:
    return subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True).stdout.strip()
