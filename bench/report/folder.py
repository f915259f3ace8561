"""The folder of a report: what stands there, what would be lost if it were written anew, and all of it replaced at once."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

PLACE = re.compile(r"(?<![\w:/.~])/(?:[\w.+@~-]+/)+(?=[\w.+@~-])")  # folders of an absolute path: one machine's own
RUNS = "runs.csv"
ARCHIVE = "runs.zip"  # of a published report: its runs, to be taken in elsewhere
PARTIAL = ".partial-"  # and the number of the process that writes there
DRAWN = "curves|samples|training|reconstructions|interpolation|manifold|history|importances|slices"
OURS = re.compile(
    rf"README\.md|report\.(html|json|tex)|(summary|runs|claims)\.csv|runs\.zip|effects\.png|.+-(test|validation)(-\d+)?-({DRAWN})\.png"
)
"""What a report can have written."""


def placeless(text: str) -> str:
    """A text without the folders of this machine's paths."""
    return PLACE.sub("", text)


def replace_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make ``files`` the report in ``folder``: those of an earlier one that are not among them are removed, and nothing else.

    All is written before anything is replaced: a full disk leaves the report that was there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{PARTIAL}*"):
        if not _lives(left.name.removeprefix(PARTIAL)):
            shutil.rmtree(left, ignore_errors=True)
    partial = folder / f"{PARTIAL}{os.getpid()}"
    try:
        partial.mkdir(exist_ok=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        for name in files:
            os.replace(partial / name, folder / name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.name not in files:
            path.unlink()


def lost(folder: Path, runs: pd.DataFrame) -> str:
    """What finished trials of the report in ``folder`` have and ``runs`` have not, in words; empty where nothing would be lost.

    A data set counts as a whole, then a variant on one, then seeds: other settings under the same names take their place.
    """
    if not (folder / RUNS).is_file():
        return ""
    there = pd.read_csv(folder / RUNS, dtype=str, keep_default_na=False)
    there = there[there["state"] == "finished"]
    ours = runs[runs["state"] == "finished"] if len(runs) else pd.DataFrame(columns=there.columns)
    keys = ["dataset", "variant", "seed"]
    have = {tuple(placeless(str(each)) for each in row) for row in ours[keys].values}
    gone = there[[tuple(row) not in have for row in there[keys].values]]
    parts = []
    for dataset, trials in gone.groupby("dataset", sort=False):
        variants = {variant for known, variant, _ in have if known == dataset}
        if not variants:
            parts.append(f"{dataset}, {_count(trials)}")
            continue
        missing = trials[~trials["variant"].isin(variants)]
        for variant, own in missing.groupby("variant", sort=False):
            parts.append(f"{variant} on {dataset}, {_count(own)}")
        fewer = trials[trials["variant"].isin(variants)]
        if len(fewer):
            seeds = ", ".join(sorted(set(fewer["seed"]), key=int))
            parts.append(f"seed{'s' if ',' in seeds else ''} {seeds} on {dataset}, {_count(fewer)}")
    return "; ".join(parts)


def _count(trials: pd.DataFrame) -> str:
    return f"{len(trials)} trial{'' if len(trials) == 1 else 's'}"


def _lives(process: str) -> bool:
    """Whether a process of this machine has this number, which may write here too."""
    try:
        os.kill(int(process), 0)
    except (ValueError, OverflowError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
