"""What is done to a study: each does it once, to a command that it starts, and says in words what it did."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.faults import facts, moments, processes, servers
from tests.faults.case import END_SECONDS, Broken, Case, last
from tests.faults.project import FILES, METHODS, WRITES, tell_to_fail
from tests.faults.warm import Driver

Disturbance = Callable[[Case], str]
"""Disturbs a case; what it did, or nothing where the command had ended before."""


def _to(role: str, number: int) -> Callable[[Case, Driver], bool]:
    def act(case: Case, driver: Driver) -> bool:
        found = processes.members(case.mark, driver.pid, role)
        return bool(found) and processes.send(case.random.choice(sorted(found)), number)

    return act


def _to_group(number: int) -> Callable[[Case, Driver], bool]:
    def act(case: Case, driver: Driver) -> bool:
        return processes.send(-driver.pid, number)

    return act


def _twice(case: Case, driver: Driver) -> bool:
    hit = processes.send(driver.pid, signal.SIGINT)
    time.sleep(case.random.uniform(0, 1.0))
    processes.send(driver.pid, signal.SIGINT)
    return hit


def _stopped_then_killed(find: Callable[[str, int], list[int]]) -> Callable[[Case, Driver], bool]:
    def act(case: Case, driver: Driver) -> bool:
        found = find(case.mark, driver.pid)
        hit = bool(found) and processes.send(case.random.choice(sorted(found)), signal.SIGSTOP)
        time.sleep(case.random.uniform(0, 0.3))
        return processes.send(driver.pid, signal.SIGKILL) and hit

    return act


def _stopped_for_a_while(role: str) -> Callable[[Case, Driver], bool]:
    def act(case: Case, driver: Driver) -> bool:
        found = processes.members(case.mark, driver.pid, role)
        for pid in found:
            processes.send(pid, signal.SIGSTOP)
        time.sleep(case.random.uniform(0.2, 2.0))
        for pid in found:
            processes.send(pid, signal.SIGCONT)
        return bool(found)

    return act


# Places where what raises can leave a finished trial with blanks.
BLANK = (
    "import of the metric",
    "measure",
    "step in evaluation",
    "codes",
    "encode",
    "decode",
)  # which can leave a finished trial with blanks
RAISES = ("raise", "recursion", "exit")
NO_MEMORY = ("memory", "gpu memory", "allocate")
ENDS = ("hard exit", "kill", "crash")

SIGNALS: dict[str, Callable[[Case, Driver], bool]] = {
    "SIGKILL of the driver": _to("driver", signal.SIGKILL),
    "SIGKILL of a child": _to("child", signal.SIGKILL),
    "SIGKILL of the server of processes": _to("server", signal.SIGKILL),
    "SIGKILL of the group": _to_group(signal.SIGKILL),
    "SIGTERM to the driver": _to("driver", signal.SIGTERM),
    "SIGTERM to a child": _to("child", signal.SIGTERM),
    "SIGTERM to the group": _to_group(signal.SIGTERM),
    "SIGINT to the driver": _to("driver", signal.SIGINT),
    "SIGINT to the group": _to_group(signal.SIGINT),
    "SIGINT twice": _twice,
    "SIGHUP to the driver": _to("driver", signal.SIGHUP),
    "SIGSTOP of a child, then SIGKILL of the driver": _stopped_then_killed(processes.at_work),
    "SIGSTOP of the server, then SIGKILL of the driver": _stopped_then_killed(
        lambda mark, driver: processes.members(mark, driver, "server")
    ),
    "SIGSTOP of the children for a while": _stopped_for_a_while("child"),
    "SIGSTOP of the driver for a while": _stopped_for_a_while("driver"),
}


def signalled(name: str) -> Disturbance:
    """A signal at a stage."""

    def disturb(case: Case) -> str:
        driver = case.start(case.random.choice(case.studies))
        stage = case.stage(driver)
        hit = bool(stage) and SIGNALS[name](case, driver)
        case.end(driver)
        return f"{name} {stage}" if hit else ""

    return disturb


def killed_in_a_call(case: Case) -> str:
    """The driver, before or after a call that changes something."""
    name, number = case.random.choice(moments.NAMES), case.random.choice((1, 1, 2, 3, 5, 8, 13, 21))
    after = bool(case.random.getrandbits(1))
    driver = case.start(case.random.choice(case.studies), kill=[name, number, after])
    status = case.end(driver)
    return f"SIGKILL of the driver {'after' if after else 'before'} call {number} of {name}" if status == -9 else ""


def killed_at_a_write(case: Case) -> str:
    """A child, between two writes of its checkpoint or its pictures."""
    place, skip = case.random.choice(WRITES), case.random.randrange(0, 30)
    tell_to_fail(case.folder, place=place, what="kill", skip=skip, once=True)
    return _run_with_trouble(case, f"SIGKILL of a child {place}, time {skip + 1}")


def component(places: Sequence[str], ways: Sequence[str]) -> Disturbance:
    """A component that goes wrong at one of its places in one of the ways, once or every time."""

    def disturb(case: Case) -> str:
        place, what = case.random.choice(places), case.random.choice(ways)
        once, skip = bool(case.random.getrandbits(1)), case.random.choice((0, 0, 1, 4))
        tell_to_fail(case.folder, place=place, what=what, skip=skip, once=once)
        words = _run_with_trouble(case, f"{what} in {place}{'' if once else ', every time'}")
        if words and place in BLANK:  # a measure that raised is a blank, with its reason: it is taken again on purpose
            driver = case.start(words=[*case.kind.words(case.studies[0]), "--remeasure"])
            case.end(driver)
        return words

    return disturb


def _run_with_trouble(case: Case, words: str) -> str:
    driver = case.start(case.studies[0])
    case.end(driver)
    hit = (case.folder / "fault.done").exists()
    for name in ("fault.json", "fault.done"):
        (case.folder / name).unlink(missing_ok=True)
    return words if hit else ""


def no_larger_files(case: Case) -> str:
    """A full disk, as the limit that no file may grow beyond."""
    size = case.random.choice((4_000, 60_000, 300_000, 700_000, 900_000, 1_100_000))
    driver = case.start(case.random.choice(case.studies), file_size=size)
    status = case.end(driver)
    if status in (1, 2) and not any(words in driver.said() for words in ("disk", "large", "full", "damaged", "I/O")):
        raise Broken(f"a full disk is not said: {last(driver.said())}")
    return f"no file larger than {size} bytes" if status else ""


@cache
def _can_mount() -> bool:
    """Whether this user can have a disk of its own."""
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=False, capture_output=True).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
    return True


@contextmanager
def _disk_of_its_own(folder: Path, size: int) -> Iterator[None]:
    """Let a folder lie on a disk of so many bytes for a while."""
    beside = folder.with_name(f".{folder.name}-meanwhile")
    shutil.copytree(folder, beside, symlinks=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)], check=True)
    try:
        shutil.copytree(beside, folder, dirs_exist_ok=True)
        yield
        shutil.rmtree(beside)
        shutil.copytree(folder, beside, symlinks=True)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        shutil.rmtree(folder)
        beside.rename(folder)


def tiny_disk(case: Case) -> str:
    """A store on a disk that has a little room left."""
    if not _can_mount():
        return ""
    taken = sum(path.stat().st_blocks * 512 + 4096 for path in case.store.rglob("*"))
    room = case.random.choice((20_000, 100_000, 300_000, 800_000))
    with _disk_of_its_own(case.store, taken + room):
        driver = case.start(case.random.choice(case.studies))
        status = case.end(driver)
        if status == 1 and "disk" not in driver.said():
            raise Broken(f"a full disk is not said: {last(driver.said())}")
    return f"a disk with {room} bytes left" if status else ""


def read_only_store(case: Case) -> str:
    """A store that nobody can write to, from the start or from a stage on."""
    if not _can_mount():
        return ""
    with _disk_of_its_own(case.store, 200_000_000):
        late = bool(case.random.getrandbits(1))
        remount = ["mount", "-o", "remount,ro", str(case.store)]
        if late:
            driver = case.start(case.random.choice(case.studies))
            stage = case.stage(driver)
            hit = bool(stage) and subprocess.run(remount, check=False, capture_output=True).returncode == 0
        else:
            stage, hit = "from the start", subprocess.run(remount, check=False, capture_output=True).returncode == 0
            driver = case.start(case.random.choice(case.studies))
        status = case.end(driver)
        subprocess.run(["mount", "-o", "remount,rw", str(case.store)], check=True)
    return f"a store that is read-only {stage}" if hit and status else ""


WAYS: dict[str, Callable[[Path, Case], object]] = {
    "deleted": lambda file, case: file.unlink(),
    "emptied": lambda file, case: file.write_bytes(b""),
    "cut off": lambda file, case: file.write_bytes(
        file.read_bytes()[: case.random.randrange(file.stat().st_size or 1)]
    ),
    "overwritten with junk": lambda file, case: file.write_bytes(case.random.randbytes(5000)),
    "flipped in a bit": lambda file, case: _flip(file, case, file.stat().st_size),
}


def _flip(file: Path, case: Case, size: int, step: int = 1, within: int = 1) -> None:
    """Flip a bit anywhere, or of the first bytes of a page."""
    place = case.random.randrange(0, max(1, size // step)) * step + case.random.randrange(within)
    with file.open("r+b") as opened:
        opened.seek(min(place, max(0, size - 1)))
        byte = opened.read(1)
        opened.seek(-len(byte), 1)
        opened.write(bytes([byte[0] ^ (1 << case.random.randrange(8))]) if byte else b"")


def _interrupted(case: Case) -> None:
    """Something to damage: a driver that was killed or stopped on its way, which is a disturbance as well."""
    name = case.random.choice(("SIGKILL of the driver", "SIGINT to the driver"))
    if words := signalled(name)(case):
        case.did.append((name, words))


def _finished(file: Path, case: Case) -> bool:
    """Whether it is a picture of a finished run, of which nothing is left that could draw it again."""
    if file.parent.name != "images":
        return False
    try:
        finished = {run.run_id for run in facts.read(case.folder) if run.tags.get("state") == "finished"}
    except sqlite3.DatabaseError:  # damaged, so that nobody knows
        return True
    return file.parent.parent.parent.name in finished


def damaged(pattern: str, way: str) -> Disturbance:
    """One of the files that a pattern finds, damaged in one way; the study was interrupted before, as a rule."""

    def disturb(case: Case) -> str:
        if case.random.random() < 0.75:
            _interrupted(case)
        files = sorted(path for path in case.folder.glob(pattern) if path.is_file() and path.suffix != ".lock")
        files = [path for path in files if not _finished(path, case)]
        if not files:
            return ""
        file = case.random.choice(files)
        if file.name == "mlflow.db" and way == "flipped in a bit":
            # A digit that changes within a value is one that SQLite cannot tell from another: see reports/reliability.md.
            _flip(file, case, file.stat().st_size, step=4096, within=8)
        else:
            WAYS[way](file, case)
        return f"{file.relative_to(case.folder)} {way}"

    return disturb


def damaged_file_of_a_run(way: str) -> Disturbance:
    """Of a finished run: doctor names it, no command falls over it, and nothing is trained for it."""
    return lambda case: _damaged_file_of_a_run(case, way)


def _damaged_file_of_a_run(case: Case, way: str) -> str:
    for study in case.studies:
        case.end(case.start(study))
    files = sorted(path for path in case.store.glob("artifacts/*/*/artifacts/**/*") if path.is_file())
    named = [path for path in files if path.parent.name != "images"]
    if not named:
        return ""
    file = case.random.choice(named)
    content = file.read_bytes()
    WAYS[way](file, case)
    if file.exists() and file.read_bytes() == content:
        return ""
    driver = case.start(words=["doctor"])
    if not case.end(driver) or file.name not in driver.said():
        raise Broken(f"doctor does not name {file.name}, which was {way}: {last(driver.said())}")
    for study in case.studies:
        driver = case.start(study)
        if case.end(driver):
            raise Broken(f"with {file.name} {way}: {last(driver.said())}")
    file.write_bytes(content)
    return f"{file.name} {way}"


def damaged_data(way: str) -> Disturbance:
    """A data set of one's own that is damaged, and is put right again."""
    return lambda case: _damaged_data(case, way)


def _damaged_data(case: Case, way: str) -> str:
    file = case.folder / "own.npz"
    content = file.read_bytes()
    if case.random.random() < 0.5:
        _interrupted(case)
    WAYS[way](file, case)
    driver = case.start()
    status = case.end(driver)
    if status not in (0, 2) or (status == 2 and len(driver.said().splitlines()) > 2):
        raise Broken(f"of a data set {way} it is said, with status {status}: {last(driver.said(), 9)}")
    file.write_bytes(content)
    case.others = True  # what was trained of the other images is another trial
    return f"a data set of one's own {way}"


def measuring_again(case: Case) -> str:
    """All is finished; a command that takes every metric again is ended, and what was finished stays finished."""
    study = case.random.choice(case.studies)
    case.end(case.start(study))
    driver = case.start(words=[*case.kind.words(study), "--remeasure"])
    begun = case.wait_for(driver, lambda: processes.members(case.mark, driver.pid, "child"))
    time.sleep(case.random.uniform(0, 1.5))
    name = case.random.choice(list(MEASURED))
    hit = begun and SIGNALS[name](case, driver)
    case.end(driver)
    again = case.start(study)
    status = case.end(again)
    if hit and (status or "nothing to train" not in again.said()):
        raise Broken(f"finished trials are not finished any more: {last(again.said(), 5)}")
    return f"{name} while it measured again" if hit else ""


def two_drivers(case: Case) -> str:
    """On one study: the second is told who has it."""
    first = case.start()
    if not case.wait_for(first, lambda: list(case.store.glob("locks/one.holder"))):
        return ""
    second = case.start()
    status = second.wait(END_SECONDS)
    said = second.said()
    if first.poll() is None and (status != 2 or "is being run by process" not in said):
        raise Broken(f"a second driver ended with {status}: {last(said)}")
    if case.random.getrandbits(1):
        case.stage(first)
        processes.send(first.pid, signal.SIGKILL)
    case.end(first)
    return "two drivers on one study"


def two_studies(case: Case) -> str:
    """In one store at once, with a trial that both hold; now and then one of them is killed."""
    drivers = [case.start(study) for study in case.studies]
    words = "two studies at once"
    if case.random.getrandbits(1):
        victim = case.random.choice(drivers)
        case.stage(victim)
        processes.send(victim.pid, case.random.choice((signal.SIGKILL, signal.SIGINT)))
        words += ", one of them ended"
    for driver in drivers:
        if driver.wait(END_SECONDS) is None:
            processes.send(driver.pid, signal.SIGKILL)
            raise Broken(f"one of two studies at once had not ended after {END_SECONDS:g} s: {last(driver.said())}")
    for driver in drivers:
        case.end(driver)
    return words


MEASURED = (
    "SIGKILL of the driver",
    "SIGKILL of a child",
    "SIGKILL of the server of processes",
    "SIGTERM to the driver",
    "SIGINT to the driver",
)

DAMAGED = {
    "a checkpoint's file": ("mlruns/checkpoints/*/*", 2, ("grid", "search")),
    "the database of runs": ("mlruns/mlflow.db", 2, ("grid", "two studies")),
    "the database of queues": ("mlruns/optuna.db", 2, ("grid", "search")),
    "an unfinished run's picture": ("mlruns/artifacts/*/*/artifacts/images/*", 1, ("grid",)),
    "a cached file": ("mlruns/cache/*", 1, ("cached",)),
}

Drawn = tuple[Disturbance, int, tuple[str, ...]]

DISTURBANCES: dict[str, Drawn] = {
    **{name: (signalled(name), 3, ("grid", "grid", "search")) for name in SIGNALS},
    "SIGKILL of the driver in a call": (killed_in_a_call, 20, ("grid", "grid", "search", "two studies")),
    "SIGKILL of a child at a write": (killed_at_a_write, 8, ("grid", "search")),
    "a command that measures again, ended": (measuring_again, 4, ("grid",)),
    "a method of a model raises": (component(METHODS, RAISES), 6, ("grid",)),
    "a metric raises": (component(["measure"], RAISES), 2, ("grid",)),
    "a data set raises": (component(["load"], RAISES), 2, ("grid",)),
    "a component's file raises": (component(FILES, RAISES), 3, ("grid",)),
    "a component ends its process": (component([*METHODS, *FILES, "load", "measure"], ENDS), 4, ("grid",)),
    "out of memory": (component([*METHODS, "load", "measure"], NO_MEMORY), 4, ("grid",)),
    "a loss that is not a number": (component(["step"], ["nan"]), 3, ("grid",)),
    "a loss that explodes": (component(["step"], ["explode"]), 2, ("grid",)),
    "a full disk: no larger files": (no_larger_files, 5, ("grid", "search")),
    "a full disk: a small one": (tiny_disk, 5, ("grid", "search")),
    "a read-only store": (read_only_store, 5, ("grid",)),
    **{
        f"{what} {way}": (damaged(pattern, way), weight, kinds)
        for what, (pattern, weight, kinds) in DAMAGED.items()
        for way in WAYS
    },
    **{f"a finished run's file {way}": (damaged_file_of_a_run(way), 1, ("grid",)) for way in WAYS},
    **{f"a data file {way}": (damaged_data(way), 1, ("own data",)) for way in WAYS},
    "a lock deleted": (damaged("mlruns/locks/**/*.holder", "deleted"), 2, ("grid",)),
    "two drivers on one study": (two_drivers, 4, ("grid",)),
    "two studies in one store at once": (two_studies, 6, ("two studies",)),
    "a server down at the start": (servers.down_at_the_start, 1, ("server",)),
    "a server that dies and comes back": (servers.dies_and_comes_back, 1, ("server",)),
    "a server that dies for good": (servers.dies_for_good, 1, ("server",)),
    "a server that hangs for a while": (servers.hangs, 1, ("server",)),
    "a server that hangs for good": (servers.hangs_for_good, 1, ("server",)),
    "a server that answers 500": (servers.answers_nonsense, 1, ("server",)),
}
"""Every disturbance with how often it is drawn, and the kinds of study that it suits."""
