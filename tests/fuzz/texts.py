"""What people write and send: study files, exported runs, command lines."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import shutil
from pathlib import Path
from typing import Any, ClassVar

import tomli_w
from click.testing import CliRunner

from bench.cli import main
from bench.contract import ImageSpec
from bench.run.plan import Planner
from bench.study.definition import StudyError, Trial
from bench.study.file import load
from bench.text import LONGEST_LINE, is_plain
from bench.tracking.archive import Archive, Exporter, Portable
from bench.tracking.store import Store
from bench.tracking.transfer import studies_in, take_in
from tests.fuzz.mutations import HOSTILE, NUMBERS, as_json, changed, displaced, flipped, hostile, mutated_toml, remove
from tests.fuzz.target import BYTES, PICKLES, PLACES, SEARCH, STUDY, Broken, Target
from tests.fuzz.zips import bomb, lying, zipped

IMAGES = ImageSpec(1, 8, 8, tuple("0123456789"))


class Studies(Target):
    """Study files, of grids and of searches: read, and every trial's model built without memory for it."""

    NAMED = "own"
    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "values": "keys and values of other types, sizes and places, or none",
        "settings": "one to three settings of any model, up to 10^400",
        "deep": "lists and tables in one another, long keys, many keys, numbers of many digits",
        "pickles": PICKLES,
        "places": PLACES,
    }

    def make(self, mutation: str, draw: random.Random) -> None:
        file = self.folder / "own.toml"
        remove(file)
        self.smoke = draw.random() < 0.3
        tables = draw.choice((STUDY, STUDY, SEARCH))
        content = tomli_w.dumps(tables).encode()
        match mutation:
            case "bytes":
                content = flipped(content, draw)
            case "values":
                content = mutated_toml(tables, draw)
            case "settings":
                content = tomli_w.dumps(self._settings(draw)).encode()
            case "deep":
                content += self._deep(draw).encode()
            case "pickles":
                content = self.payload
            case _:
                pass
        file.write_bytes(content)
        if mutation == "places":
            displaced(file, draw)

    def _settings(self, draw: random.Random) -> dict[str, Any]:
        model = draw.choice(sorted(self.known.params))
        found: dict[str, Any] = {
            "question": "?",
            "source": "none",
            "model": model,
            "seeds": 1,
            "datasets": ["digits"],
            "metrics": ["test_loss"],
        }
        for name in draw.sample(self.known.settings(model), draw.choice((1, 1, 2, 3))):
            section, default = self.known.section(model, name), self.known.option(model, name).default
            number = draw.choice([each for each in NUMBERS if isinstance(each, int) == isinstance(default, int)])
            if isinstance(default, tuple):
                number = draw.choice(([number], [number] * 2, [number] * 200, [3] * 200))
            if draw.random() < 0.3:
                number = draw.choice((2, 5, 64, 1000, 2**20, 2**40, True, "x"))
            found.setdefault(str(section), {})[name] = number
        return found

    @staticmethod
    def _deep(draw: random.Random) -> str:
        size = draw.choice((10, 1000, 5000, 100_000))
        return "\n" + draw.choice(
            (
                f"x = {'[' * size}{']' * size}",
                f"x = {'{a=' * size}1{'}' * size}",
                f"[{draw.choice(('params', 'training.vae', 'on.mnist', 'vary', 'x'))}.{'.'.join(['a'] * size)}]",
                f"[{'.'.join(['a'] * 40)}]",
                f"{'x' * size} = 1",
                f"x = {'1' * size}",
                f"x = {'1' * size}e9",
                "\n".join(f"x{number} = 1" for number in range(size)),
                "\n".join("[[variants]]\nname = 'v'" for _ in range(min(size, 5000))),
                f"[vary]\nlearning_rate = {[each / 1e6 for each in range(1, size)]}",
                f"# {'x' * 2**20}",
            )
        )

    def read(self) -> None:
        study = load(self.folder / "own.toml", self.known, smoke=self.smoke)
        planner = Planner(study, self.known, self.folder / "data")
        for variant in study.variants[:5]:
            trials = [study.trial(self.known, variant, "digits", 0, cell) for cell in [{}, *self._cells(study)[:5]]]
            for trial in trials:
                planner.check_model(trial, IMAGES)

    @staticmethod
    def _cells(study: Any) -> list[Any]:
        return [] if study.is_search else study.cells()


class Archives(Target):
    """Files of exported runs, taken in where they can be."""

    NAMED = "own.zip"
    MUTATIONS: ClassVar = {
        "bytes": BYTES,
        "zips": "names twice, sizes that lie, three gibibytes of zeros in three mebibytes",
        "names": "members that would be written elsewhere",
        "runs": "other values in a run, under checksums that are right",
        "trials": "another trial in a run, under its own key and checksums that are right",
        "dishonest": "other values under checksums that are wrong",
        "pickles": PICKLES,
        "places": PLACES,
    }
    EMPTY: ClassVar[Path | None] = None  # a store's database without a run, which takes seconds to make
    NAMES = ("../x", "/etc/x", "runs/abc/artifacts/../../x", "runs/../x", "x" * 300, "runs/abc/artifacts/.x", "a\nb")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "mlruns").mkdir()
        if self.EMPTY:
            shutil.copy(self.EMPTY, folder / "mlruns" / "mlflow.db")
        trial = self.trial
        tags = {
            "key": trial.key,
            "configuration": trial.configuration,
            "dataset": trial.dataset,
            "variant": trial.variant,
            "trial": json.dumps(trial.as_dict()),
            "state": "finished",
            "attempt": "1",
            "study": "own",
            "split": "test",
            "versions": '{"torch": "2"}',
            "guests": "{}",
            "reason.test_loss": "",
            "protocol.test_loss": '{"split": "test"}',
            "threads": "1",
        }
        metrics = {"final/test_loss": [(0, 1.0, 1)], "train/loss": [(0, 2.0, 1), (1, 1.0, 2)]}
        data = {"name": "digits", "digest": "abc", "source": '{"tags": {"sha256": "f00"}}'}
        run = Portable("abc", "own", "?", "a", "FINISHED", 1, 2, "here", tags, {"epochs": "2"}, metrics, data)
        with Exporter(folder / "sound.zip", "here") as exporter:
            exporter.add(run, {"trial.toml": b"x = 1\n"})
        self.sound = (folder / "sound.zip").read_bytes()
        with Archive(folder / "sound.zip") as archive:
            self.members = {name: archive._read(name, check=False) for name in archive._members}
        self.store = Store(folder / "mlruns", None, "own", "?", create=True)

    def make(self, mutation: str, draw: random.Random) -> None:
        file = self.folder / "own.zip"
        remove(file)
        members = dict(self.members)
        name = draw.choice([name for name in members if name.endswith(".json")])
        run = next(name for name in members if name.endswith("run.json"))
        match mutation:
            case "names":
                members[draw.choice(self.NAMES)] = b"x"
            case "runs" | "dishonest":
                members[name] = as_json(changed(json.loads(members[name]), draw))
            case "trials":
                tables = json.loads(members[run])
                trial = changed(json.loads(tables["tags"]["trial"]), draw)
                tables["tags"]["trial"] = as_json(trial).decode()
                with contextlib.suppress(Exception):  # the key of the trial that it is now, where it is one
                    now = Trial.from_dict(trial)
                    told = {"key": now.key, "configuration": now.configuration}
                    tables["tags"] |= {**told, "dataset": now.dataset, "variant": now.variant}
                members[run] = as_json(tables)
            case "pickles":
                members[name] = self.payload
            case _:
                pass
        if mutation != "dishonest":
            digests = {each: hashlib.sha256(content).hexdigest() for each, content in members.items()}
            del digests["SHA256SUMS"]
            sums = "".join(f"{digest}  {each}\n" for each, digest in digests.items())
            members["SHA256SUMS"] = self.payload if mutation == "pickles" and draw.random() < 0.2 else sums.encode()
        content = self.sound if mutation in ("bytes", "places") else zipped(members)
        if mutation == "bytes":
            content = flipped(content, draw)
        if mutation == "zips":
            other = draw.choice(sorted(members))
            ways = zipped(members, twice=other), lying(content, draw), bomb(members, other, draw)
            content = ways[draw.randrange(3)]
        file.write_bytes(content)
        if mutation == "places":
            displaced(file, draw)

    def read(self) -> None:
        for run in self.store.chosen():
            self.store.remove(run.run_id)
        with Archive(self.folder / "own.zip") as archive:
            for study, run_ids in studies_in(archive).items():
                if study == "own":
                    take_in(self.store, archive, run_ids)
        self.store.table()  # which every report begins with


class Commands(Target):
    """Command lines, in a project with a store of its own; nothing is trained, nothing served."""

    NAMED = ""
    MUTATIONS: ClassVar = {
        "words": "options and arguments that are known, in any order and number",
        "values": "arguments that nobody meant: numbers, texts, paths, lists in one another",
        "settings": "settings of any model, up to 10^400, for define and run --dry-run",
    }
    WORDS = (
        *("study", "trial", "model", "own", "vae", "digits", "models", "--all", "--smoke", "--dry-run", "--rerun"),
        *("--fix", "--help", "--seeds", "--set", "--dataset", "--workers", "--gpus", "--timeout", "--storage"),
        *("--executor", "--vary", "--metric", "--model", "--question", "--epochs", "--out", "--origin"),
        *("latent_dim=2", "epochs=-1", "vae=5", "vae.learning_rate=1", "2", "0", "-1", "1e300"),
        *("99999999999999999999", "generate", "{}", "sqlite:///x.db", "latent_dim=2,3"),
    )
    FIRST = ("define", "run", "show", "list", "report", "apply", "new", "export", "import", "doctor", "check", "nope")

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        (folder / "studies").mkdir()

    def make(self, mutation: str, draw: random.Random) -> None:
        remove(self.folder / "studies")
        (self.folder / "studies").mkdir()
        (self.folder / "studies" / "own.toml").write_bytes(tomli_w.dumps(STUDY).encode())
        if mutation == "settings":
            model = draw.choice(sorted(self.known.params))
            name = draw.choice(self.known.settings(model))
            value = draw.choice((hostile(draw), draw.choice(NUMBERS), [draw.choice(NUMBERS)]))
            given = f"{name}={as_json(value).decode()}"[:100_000]
            self.words = draw.choice(
                (
                    ["define", "mine", "--model", model, "--set", given],
                    ["define", "mine", "--model", model, "--vary", given],
                    ["run", "trial", model, "--dry-run", "--set", given],
                    ["run", "study", "own", "--dry-run", "--set", given],
                    ["show", "model", model, "--set", given],
                )
            )
            return
        first = draw.choice(self.FIRST)
        start = {
            "run": [draw.choice(("study", "trial")), draw.choice(("own", "vae")), "--dry-run"],
            "define": [draw.choice(("mine", "own")), "--model", "vae"],
            "show": [draw.choice(("study", "model")), draw.choice(("own", "vae"))],
        }.get(first, [])
        self.words = [first, *start]
        for _ in range(draw.randrange(1 + (mutation == "values"), 5)):
            sound = (mutation == "words" or draw.random() < 0.4) and first != "check"  # which tries all that is named
            word = draw.choice(self.WORDS) if sound else f"{'x' * (first == 'check')}{self._strange(draw)}"
            self.words.insert(draw.randrange(len(start) + 1, len(self.words) + 1), word)

    @staticmethod
    def _strange(draw: random.Random) -> str:
        value = str(draw.choice(HOSTILE) if draw.random() < 0.7 else hostile(draw))[:100_000].replace("\0", "")
        return draw.choice(("", "", "latent_dim=", "--set=epochs=", "--dataset=", "--seeds=", "--set=")) + value

    def read(self) -> None:
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(main, self.words)
        last = (result.output.splitlines() or [""])[-1]
        shown = result.output[-2000:]
        if result.exit_code not in (0, 1, 2) or "Traceback" in result.output:
            raise Broken(f"exit status {result.exit_code}: {shown}")
        if "s3cret" in result.output:
            raise Broken(f"a password is shown: {shown}")
        if result.exit_code == 2 and not (
            last.startswith("Error: ") and is_plain(last) and len(last) < LONGEST_LINE + 200
        ):
            raise Broken(f"no line: {last[:300]!r}")
        if result.exit_code == 2:
            raise StudyError(last)
