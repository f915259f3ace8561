"""What gives way first in a large study: many trials replayed through the real driver, with PostgreSQL and MLflow's server.

    python -m perf.scale [TRIALS] [--without-files]

An executor that trains nothing has a hundred trials open at a time, and hands on the events of all of them as fast as the driver
takes them: fifty epochs of ten metrics each, their pictures, their weights. Optuna's queue and the server's runs lie in a
PostgreSQL of its own on this machine, the files with the server. What is printed is for each trial: the events, requests, rows
and bytes that it takes are the same anywhere, the seconds are this machine's. What each process computes for a trial's number of
events is printed for every tenth of them too: it tells whether a trial costs more after many others.
"""

from __future__ import annotations

import io
import os
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from bench.executors import Resources, local
from bench.paths import Paths
from bench.run.driver import Driver
from bench.run.events import Epoch, Finished
from bench.study.catalogue import catalogue
from bench.study.definition import Trial
from bench.study.file import load
from perf import store
from tests.faults.servers import Server
from tests.postgres import PASSWORD, Postgres, postgres

TRIALS, AT_ONCE = 1000, 100
PER_TRIAL = store.EPOCHS + 3  # events: its start, every epoch, the untrained one too, its end
SERVER_WORKERS = 4  # as `mlflow server` has them, unless it is told
DATABASES = ("queue", "mlflow")
OPTIONS = (
    "fsync=off",
)  # waiting for this machine's disk tells nothing of another, and takes hours of ten thousand trials
PICTURED = (0, 1, 2, 5, 10, 20, 50)  # epochs
REQUEST = re.compile(r'"(GET|POST|PUT|PATCH|DELETE) /api/\d\.0/mlflow(?:-artifacts)?/([a-z-]+)(?:/([a-z-]+))?')


def picture() -> bytes:
    """An image of a hundred digits, as to its size."""
    pixels, content = np.random.default_rng(0).integers(0, 8, (140, 140), np.uint8), io.BytesIO()
    Image.fromarray(pixels * 36).save(content, "PNG")
    return content.getvalue()


class Replay:
    """An executor: the events of trials that are open together, in any order."""

    def __init__(self, *, files: bool) -> None:
        shown = picture() if files else b""
        self._pictures = {"images/samples": shown, "images/reconstructions": shown} if files else {}
        self._files = {"final/samples.png": shown, "final/reconstructions.png": shown} if files else {}
        self._files |= {"model.safetensors": random.Random(0).randbytes(104_000)} if files else {}

    def run(
        self, trials: Iterator[Trial | None], work: Any, resources: Resources
    ) -> Generator[tuple[Trial, Any], bool | None, None]:
        """See `bench.executors`."""
        choice, running = random.Random(0), list[Iterator[tuple[Trial, Any]]]()
        while True:
            while len(running) < AT_ONCE and (trial := next(trials, None)) is not None:
                running.append(store.play(iter([trial]), work, resources))
            if not running:
                return
            place = choice.randrange(len(running))
            try:
                trial, event = next(running[place])
            except StopIteration:
                running[place] = running[-1]
                running.pop()
                continue
            if isinstance(event, Epoch) and event.progress.epoch in PICTURED:
                event = replace(event, pictures=self._pictures)
            elif isinstance(event, Finished):
                event = replace(event, files={**event.files, **self._files})
            yield trial, event


class Spent:
    """What processes have computed, and what databases and a folder have come to hold, since it was made."""

    def __init__(self, database: Postgres, server: Server) -> None:
        self._database = database
        self._server = server
        self._before = self._now()

    def __call__(self) -> dict[str, float]:
        return {name: value - self._before.get(name, 0.0) for name, value in self._now().items()}

    def computed(self) -> dict[str, float]:
        """Milliseconds that each has computed in all."""
        postmaster = int((self._database.folder / "data" / "postmaster.pid").read_text().split()[0])
        processes = (("PostgreSQL", postmaster), ("the MLflow server", self._server.process))
        return {"the driver": 1000 * time.process_time()} | {name: 1000 * computed(each) for name, each in processes}

    def _now(self) -> dict[str, float]:
        found = {f"computed by {name}, ms": spent for name, spent in self.computed().items()}
        for name in DATABASES:
            rows = "select coalesce(sum(n_tup_ins), 0), coalesce(sum(n_tup_upd), 0) from pg_stat_user_tables"
            ((inserted, updated),) = self._database.sql(rows, name)
            about = f"select xact_commit, pg_database_size(datname) from pg_stat_database where datname = '{name}'"
            ((commits, size),) = self._database.sql(about, name)
            found |= {f"rows inserted, {name}": inserted, f"rows updated, {name}": updated}
            found |= {f"transactions, {name}": commits, f"kB of the database, {name}": size / 1000}
        requests = Counter(
            "/".join(filter(None, match.groups()[1:]))
            for match in REQUEST.finditer((self._server.folder / "log.txt").read_text())
        )
        found |= {f"requests, {name}": count for name, count in requests.items()}
        files = [each for each in (self._server.folder / "artifacts").rglob("*") if each.is_file()]
        found |= {"files": len(files), "kB of files": sum(each.stat().st_size for each in files) / 1000}
        return {name: float(value) for name, value in found.items()}


def computed(process: int) -> float:
    """Seconds, by a process and by those that it has begun."""
    root = psutil.Process(process)
    seconds = 0.0
    for each in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = each.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def main() -> int:
    """Print what a trial takes, and how long."""
    numbers = [int(word) for word in sys.argv[1:] if word.isdecimal()]
    trials = numbers[0] if numbers else TRIALS
    os.environ["PGPASSWORD"] = PASSWORD
    local.run = Replay(files="--without-files" not in sys.argv).run
    with tempfile.TemporaryDirectory(prefix="bench-perf-") as name, postgres(*DATABASES, options=OPTIONS) as database:
        folder = Path(name)
        server = Server(folder / "server", database.address("mlflow"), workers=SERVER_WORKERS)
        server.start()
        try:
            (folder / "studies").mkdir()
            (folder / "studies" / "many.toml").write_text(store.STUDY)
            paths = Paths.find(folder, database.address("queue"), {"MLFLOW_TRACKING_URI": server.address})
            replay(paths, trials, database, server)
        finally:
            server.kill()
    return 0


def replay(paths: Paths, trials: int, database: Postgres, server: Server) -> None:
    """Run the study; print how it goes, and what it took."""
    known = catalogue()
    study = load(paths.study("many"), known, seeds=trials // store.VARIANTS)
    with Driver(study, known, paths, "bench run study many") as driver:
        plan = driver.plan()
        spent, events, ended = Spent(database, server), 0, list[float]()
        part, before, reported = trials * PER_TRIAL // 10, spent.computed(), 0
        began = time.perf_counter()
        for _, event in driver.run(plan, "local", Resources()):
            events += 1
            if isinstance(event, Finished):
                ended.append(time.perf_counter() - began)
            if (
                events - reported == part
            ):  # a tenth of the work: of the trials that have ended, many have begun long before
                now = spent.computed()
                each = ", ".join(f"{name} {PER_TRIAL * (now[name] - before[name]) / part:.0f}" for name in now)
                print(f"{len(ended):>7} trials after {time.perf_counter() - began:8.1f} s; ms computed since: {each}")
                sys.stdout.flush()
                before, reported = now, events
        seconds = time.perf_counter() - began
    time.sleep(2)  # after which PostgreSQL's own counts are those of the end
    print(driver.outcome.broken or f"{len(driver.outcome.finished)} of {trials} trials stored in {seconds:.1f} s")
    print(f"{seconds / trials * 1000:.1f} ms for each trial, {events / seconds:.1f} events/s\n\nfor each trial:")
    for name, value in sorted(spent().items()):
        print(f"{value / trials:>10.2f}  {name}")
    spent, began = Spent(database, server), time.perf_counter()
    with Driver(study, known, paths, "bench run study many") as driver:
        assert not driver.plan().work
    print(f"\nthe same command again, before it trains: {time.perf_counter() - began:.1f} s; for each trial of it:")
    for name, value in sorted(spent().items()):
        if name.startswith(("requests", "computed")):
            print(f"{value / trials:>10.2f}  {name}")


if __name__ == "__main__":
    sys.exit(main())
