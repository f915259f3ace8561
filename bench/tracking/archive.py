"""Runs in one file, to carry them between machines and people: a zip of JSON and of the runs' own files, with their checksums.

::

    export.json                 the format, the suite's version, where the runs come from
    runs/ID/run.json            what is known of a run: its study, tags, params, every metric's history
    runs/ID/artifacts/...       its files
    SHA256SUMS                  of all of these, as sha256sum -c reads them

A file comes from anybody. It is read as data alone; nothing of it is believed before its checksum, its types and its trial's key
have been seen to be right, and its names lead nowhere but below the folder that they are unpacked into.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from bench import __version__
from bench.study.definition import Trial
from bench.text import is_name

FORMAT = 1
AT_ONCE = 2**20  # bytes of a member that are in memory at a time
LARGEST_JSON = 64 * 2**20  # bytes of one run's numbers: 300,000 values of metrics take 10 million
PART = re.compile(r"(?!\.)[\w .+%~@=,()-]{1,200}")  # of an artifact's path: no way upwards, nothing hidden
ID = re.compile(r"[0-9a-zA-Z]{1,64}")
PACKED = (".png", ".gif", ".safetensors")  # which no packing makes much smaller
HEAD, RUN, SUMS = "export.json", "run.json", "SHA256SUMS"


class ArchiveError(Exception):
    """A file of exported runs cannot be read: one line that names it and what is wrong."""


@dataclass(frozen=True)
class Portable:
    """One run, all of it but its files.

    Attributes:
        origin: where it was trained, in its owner's words.
        started, ended: milliseconds since 1970.
        metrics: by name, ``(step, value, moment)`` as they were written.
        data: name, digest and source of what was trained on; empty where the run ended before it had any.
    """

    run_id: str
    study: str
    question: str
    name: str
    status: str
    started: int
    ended: int
    origin: str
    tags: Mapping[str, str]
    params: Mapping[str, str]
    metrics: Mapping[str, list[tuple[int, float, int]]]
    data: Mapping[str, str] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """Of its trial."""
        return self.tags["key"]

    @property
    def trial(self) -> Trial:
        """What was trained."""
        return Trial.from_dict(json.loads(self.tags["trial"]))


class Exporter:
    """Writes a file of runs; a context manager, at whose end the file stands whole in its place or not at all."""

    def __init__(self, file: Path, origin: str) -> None:
        self._file = file
        self._partial = file.with_name(f".{file.name}.partial")
        self._sums: dict[str, str] = {}
        self._head = {"format": FORMAT, "bench": __version__, "origin": origin}

    def __enter__(self) -> Exporter:
        self._zip = zipfile.ZipFile(self._partial, "w", zipfile.ZIP_DEFLATED)
        self._add(HEAD, json.dumps(self._head).encode())
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        with self._zip:
            if kind is None:
                self._add(SUMS, "".join(f"{digest}  {name}\n" for name, digest in self._sums.items()).encode())
        if kind is None:
            self._partial.replace(self._file)
        self._partial.unlink(missing_ok=True)

    def add(self, run: Portable, files: Mapping[str, bytes]) -> None:
        """One run and its files, by the path that they have among its artifacts."""
        for name, content in files.items():
            self._add(f"runs/{run.run_id}/artifacts/{name}", content)
        self._add(f"runs/{run.run_id}/{RUN}", json.dumps(asdict(run)).encode())

    def _add(self, name: str, content: bytes) -> None:
        self._sums[name] = hashlib.sha256(content).hexdigest()
        packing = zipfile.ZIP_STORED if name.endswith(PACKED) else zipfile.ZIP_DEFLATED
        member = zipfile.ZipInfo(name)  # of no date: the same runs make the same file
        member.external_attr = 0o644 << 16
        self._zip.writestr(member, content, packing)


class Archive:
    """A file of exported runs, opened for reading.

    Raises:
        ArchiveError: it is none, or of a later format.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        with self._told():
            if file.exists() and not file.is_file():  # a pipe would be waited for without end
                raise ArchiveError("it is no file")
            self._zip = zipfile.ZipFile(file)
        with self._told():
            members = [info for info in self._zip.infolist() if not info.is_dir()]
            self._members = {info.filename: info for info in members}
            if len(self._members) < len(members):
                raise ArchiveError("a name stands in it twice")
            for name in self._members:
                _check_name(name)
            sums = self._read(SUMS, check=False).decode()
            self._sums = {line[66:]: line[:64] for line in sums.splitlines() if line}
            if gone := [name for name in self._sums if name not in self._members]:
                more = f" and {len(gone) - 1} more, which" if len(gone) > 1 else ", which"
                raise ArchiveError(
                    f"it lacks {gone[0][:300]!r}{more} its {SUMS} lists: get it again as bench export wrote it"
                )
            head = json.loads(self._read(HEAD))
            if head["format"] != FORMAT:
                raise ArchiveError(
                    f"it has format {head['format']}, and this is bench {__version__}, which reads {FORMAT}"
                )
            self.origin = _text(head["origin"])
            self._ids = sorted({name.split("/")[1] for name in self._members if name.startswith("runs/")})
            if self.unpacked > (free := shutil.disk_usage(file.parent).free):
                raise ArchiveError(f"its files take {self.unpacked:,} bytes, and {free:,} are free")

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *error: object) -> None:
        self._zip.close()

    @property
    def unpacked(self) -> int:
        """Bytes that its members take in all."""
        return sum(info.file_size for info in self._members.values())

    def studies(self) -> dict[str, list[str]]:
        """The IDs of its runs by study. All of the file is read and checked first: of a damaged one nothing is taken in.

        Raises:
            ArchiveError: something in it is damaged, or is not what it says.
        """
        found: dict[str, list[str]] = {}
        for name in self._members.keys() - {SUMS}:
            with self._told():
                for _ in self._parts(name):
                    pass
        for run_id in self._ids:
            found.setdefault(self.run(run_id).study, []).append(run_id)
        return found

    def run(self, run_id: str) -> Portable:
        """One of its runs, checked.

        Raises:
            ArchiveError: it is damaged, or is not what it says.
        """
        with self._told(f"run {run_id}"):
            return _checked(json.loads(self._read(f"runs/{run_id}/{RUN}")), run_id)

    def files(self, run: Portable) -> list[str]:
        """The paths of the run's files among its artifacts."""
        start = f"runs/{run.run_id}/artifacts/"
        return [name.removeprefix(start) for name in self._members if name.startswith(start)]

    def unpack(self, run: Portable, folder: Path) -> None:
        """Write the run's files below ``folder``.

        Raises:
            ArchiveError: one of them is damaged.
        """
        for path in self.files(run):
            name = f"runs/{run.run_id}/artifacts/{path}"
            with self._told(name):
                place = folder / path
                place.parent.mkdir(parents=True, exist_ok=True)
                with place.open("wb") as written:
                    written.writelines(self._parts(name))

    def _read(self, name: str, *, check: bool = True) -> bytes:
        if name not in self._members:
            raise ArchiveError(f"no {name} in it")
        if name.endswith((".json", SUMS)) and self._members[name].file_size > LARGEST_JSON:
            raise ArchiveError(f"{name} takes {self._members[name].file_size:,} bytes, more than {LARGEST_JSON:,}")
        return b"".join(self._parts(name, check=check))

    def _parts(self, name: str, *, check: bool = True) -> Iterator[bytes]:
        """What a member holds, some of it at a time: a mebibyte may unpack to a gibibyte, whatever its size is said to be."""
        whole = hashlib.sha256()
        with self._zip.open(name) as member:
            while part := member.read(AT_ONCE):
                whole.update(part)
                yield part
        if check and whole.hexdigest() != self._sums.get(name):
            raise ArchiveError(f"{name} is damaged: its checksum is another")

    @contextlib.contextmanager
    def _told(self, where: str = "") -> Iterator[None]:
        """Every way in which a damaged file fails to be read, as one line."""
        try:
            yield
        except OSError as error:
            line = error.strerror or str(error)
        except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, zlib.error) as error:
            line = f"it is not what bench export writes ({type(error).__name__}: {str(error)[:100]})"
        except (ArchiveError, zipfile.BadZipFile, RuntimeError, EOFError) as error:  # the third where it is encrypted
            line = str(error)
        else:
            return
        raise ArchiveError(": ".join(filter(None, (str(self.file), where, " ".join(line.split()))))) from None


def _check_name(name: str) -> None:
    match name.split("/"):
        case [one] if one in (HEAD, SUMS):
            return
        case ["runs", run_id, *rest] if ID.fullmatch(run_id):
            if rest == [RUN] or (rest[:1] == ["artifacts"] and rest[1:] and all(map(PART.fullmatch, rest[1:]))):
                return
    raise ArchiveError(f"{name[:100]!r} is no name for a file of a run")


def _checked(found: dict[str, Any], run_id: str) -> Portable:
    """A run whose every field has its type, and whose key is its trial's."""
    if unknown := found.keys() ^ {each.name for each in fields(Portable)}:
        raise ArchiveError(f"fields {', '.join(sorted(map(repr, unknown)))} are missing or none of a run's")
    values: dict[str, Any] = {}
    for name in ("run_id", "study", "question", "name", "status", "origin"):
        values[name] = _text(found[name])
    for name in ("tags", "params", "data"):
        values[name] = {_text(k): _text(v) for k, v in found[name].items()}
    values["metrics"] = {
        _text(name): [(int(step), float(value), int(moment)) for step, value, moment in history]
        for name, history in found["metrics"].items()
    }
    run = Portable(**values, started=int(found["started"]), ended=int(found["ended"]))
    if run.run_id != run_id or not ID.fullmatch(run_id):
        raise ArchiveError(f"it says that it is run {run.run_id!r}")
    trial = run.trial
    told = {"key": trial.key, "configuration": trial.configuration, "dataset": trial.dataset, "variant": trial.variant}
    for name, value in told.items():
        if run.tags[name] != value:
            raise ArchiveError(f"its trial has {name} {value!r}, and it says {run.tags[name]!r}")
    if not is_name(run.study):
        raise ArchiveError(f"{run.study[:50]!r} is no name for a study")
    return run


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.50} is no text")
    return value
