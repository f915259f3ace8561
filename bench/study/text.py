"""The text of a study file, read as TOML; what the tables mean is `bench.study.file`'s."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from bench.errors import StudyError
from bench.paths import shipped
from bench.registry import unknown
from bench.text import is_name, named, read_toml, reason

LARGEST = 2**20  # bytes of a study file


def read(path: Path) -> dict[str, Any]:
    """The tables of one study file, unchecked.

    Raises:
        StudyError: there is no such file, it cannot be read, or it is no TOML.
    """
    try:
        named("study", path.stem)
        if not path.exists():
            names = {file.stem for folder in (path.parent, shipped()) for file in folder.glob("[!.]*.toml")}
            raise StudyError(f"{path}: {unknown('study', path.stem, sorted(filter(is_name, names)))}")
        if not path.is_file():
            raise StudyError(f"{path}: is no file; it must be a study's, in TOML")
        if path.stat().st_size > LARGEST:
            raise StudyError(f"{path}: holds {path.stat().st_size:,} bytes; a study has at most {LARGEST:,}")
        return read_toml(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyError(f"{path}: not TOML: {error}") from None
    except (ValueError, OSError) as error:  # a name that is none, a number without end, a file of somebody else's
        raise StudyError(f"{path}: cannot be read: {reason(error)}") from None
