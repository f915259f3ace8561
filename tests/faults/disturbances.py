"""What is done to a study: each does it once, to a command that it starts, and says in words what it did."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults import moments, processes, servers
from tests.faults.case import Broken, Case, last
from tests.faults.project import PLACES, WRITES, tell_to_fail
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


def _stopped_then_killed(role: str) -> Callable[[Case, Driver], bool]:
    def act(case: Case, driver: Driver) -> bool:
        hit = _to(role, signal.SIGSTOP)(case, driver)
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
    "SIGSTOP of a child, then SIGKILL of the driver": _stopped_then_killed("child"),
    "SIGSTOP of the server, then SIGKILL of the driver": _stopped_then_killed("server"),
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


def component(case: Case) -> str:
    """A model or a metric that goes wrong in one of its methods, once or for ever."""
    place = case.random.choice((*PLACES, "import of the metric", "measure"))
    ways = ["raise", "memory", "gpu memory", "allocate", "recursion", "exit", "hard exit", "kill", "crash"]
    what = case.random.choice([*ways, *(("nan", "explode") if place == "step" else ())])
    once, skip = bool(case.random.getrandbits(1)), case.random.choice((0, 0, 1, 4))
    tell_to_fail(case.folder, place=place, what=what, skip=skip, once=once)
    blank = place in ("measure", "codes", "encode", "decode", "import of the metric")
    words = _run_with_trouble(case, f"{what} in {place} of a component{'' if once else ', every time'}")
    if words and blank:  # a measure that raised is a blank, with its reason: it is taken again on purpose
        driver = case.start(case.studies[0], words=[*case.kind.words(case.studies[0]), "--remeasure"])
        case.end(driver)
    return words


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
    """Something to damage: a driver that was killed or stopped on its way."""
    driver = case.start(case.random.choice(case.studies))
    case.stage(driver)
    processes.send(driver.pid, case.random.choice((signal.SIGKILL, signal.SIGINT)))
    case.end(driver)


def damaged(pattern: str, what: str) -> Disturbance:
    """One of the files that a pattern finds, damaged in one way; the study was interrupted before, as a rule."""

    def disturb(case: Case) -> str:
        if case.random.random() < 0.75:
            _interrupted(case)
        files = sorted(path for path in case.folder.glob(pattern) if path.is_file() and path.suffix != ".lock")
        if not files:
            return ""
        file, way = case.random.choice(files), case.random.choice(list(WAYS))
        if file.name == "mlflow.db" and way == "flipped in a bit":
            # A digit that changes within a value is one that SQLite cannot tell from another: see reports/reliability.md.
            _flip(file, case, file.stat().st_size, step=4096, within=8)
        else:
            WAYS[way](file, case)
        return f"{what} {way}: {file.relative_to(case.folder)}"

    return disturb


def damaged_file_of_a_run(case: Case) -> str:
    """Of a finished run: doctor names it, no command falls over it, and nothing is trained for it."""
    for study in case.studies:
        case.end(case.start(study))
    files = sorted(path for path in case.store.glob("artifacts/*/*/artifacts/**/*") if path.is_file())
    named = [path for path in files if path.parent.name != "images"]
    if not named:
        return ""
    file, way = case.random.choice(named), case.random.choice(list(WAYS))
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
    return f"a file of a finished run {way}: {file.name}"


def damaged_data(case: Case) -> str:
    """A data set of one's own that is damaged, and is put right again."""
    file = case.folder / "own.npz"
    content, way = file.read_bytes(), case.random.choice(list(WAYS))
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


def two_drivers(case: Case) -> str:
    """On one study: the second is told who has it."""
    first = case.start()
    if not case.wait_for(first, lambda: list(case.store.glob("locks/one.holder"))):
        return ""
    second = case.start()
    status = second.wait(120)
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
        if driver.wait(240) is None:
            processes.send(driver.pid, signal.SIGKILL)
            raise Broken(f"one of two studies at once had not ended after 240 s: {last(driver.said())}")
    for driver in drivers:
        case.end(driver)
    return words


DISTURBANCES: dict[str, tuple[Disturbance, int, tuple[str, ...]]] = {
    **{name: (signalled(name), 3, ("grid", "grid", "search")) for name in SIGNALS},
    "SIGKILL of the driver in a call": (killed_in_a_call, 14, ("grid", "grid", "search", "two studies")),
    "SIGKILL of a child at a write": (killed_at_a_write, 8, ("grid", "search")),
    "a component that goes wrong": (component, 10, ("grid",)),
    "no larger files": (no_larger_files, 5, ("grid", "search")),
    "a tiny disk": (tiny_disk, 4, ("grid", "search")),
    "a read-only store": (read_only_store, 3, ("grid",)),
    "a checkpoint damaged": (damaged("mlruns/checkpoints/*/*", "a checkpoint's file"), 8, ("grid", "search")),
    "mlflow.db damaged": (damaged("mlruns/mlflow.db", "the database of runs"), 6, ("grid", "two studies")),
    "optuna.db damaged": (damaged("mlruns/optuna.db", "the database of queues"), 6, ("grid", "search")),
    "a picture damaged": (damaged("mlruns/artifacts/*/*/artifacts/images/*", "a picture"), 3, ("grid",)),
    "a lock deleted": (damaged("mlruns/locks/**/*.holder", "a lock's holder"), 2, ("grid",)),
    "a cache damaged": (damaged("mlruns/cache/*", "a cached file"), 3, ("cached",)),
    "a finished run's file damaged": (damaged_file_of_a_run, 4, ("grid",)),
    "a data set damaged": (damaged_data, 5, ("own data",)),
    "two drivers on one study": (two_drivers, 3, ("grid",)),
    "two studies at once": (two_studies, 6, ("two studies",)),
    "a server down at the start": (servers.down_at_the_start, 1, ("server",)),
    "a server that dies and comes back": (servers.dies_and_comes_back, 1, ("server",)),
    "a server that dies for good": (servers.dies_for_good, 1, ("server",)),
    "a server that hangs": (servers.hangs, 1, ("server",)),
    "a server that answers nonsense": (servers.answers_nonsense, 1, ("server",)),
}
"""Every disturbance with how often it is drawn, and the kinds of study that it suits."""
