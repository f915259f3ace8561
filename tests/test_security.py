"""What SECURITY.md says that no other test holds; it names those that do."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from mlflow.telemetry import get_telemetry_client

from bench import registry
from bench.cli import main
from bench.contract import Unmeasurable
from bench.data import Data
from bench.executors import Resources, local
from bench.features import inception
from bench.paths import Paths
from bench.study.definition import SECTIONS, Trial
from bench.tracking.store import Store  # which sees to it before MLflow is imported
from tests.fuzz.target import Payload

ONE = ("--set", "latent_dim=2", "--set", "epochs=1", "--seeds", "1")


def contents(folder: Path) -> bytes:
    """All that lies in a folder, names and bytes."""
    return b"".join(
        str(path).encode() + (path.read_bytes() if path.is_file() else b"") for path in sorted(folder.rglob("*"))
    )


@pytest.mark.filterwarnings("ignore:Query string argument")
def test_no_password_of_a_database_is_kept_or_shown(inside: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """In no tag, param, log, picture, report or message, whichever way it is given."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{inside.store}/mlflow.db?password=s3cret")
    storage = f"sqlite:///{inside.store}/optuna.db?password=s3cret"
    shown = CliRunner().invoke(main, ["run", "study", "smoke", *ONE, "--storage", storage], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    monkeypatch.setenv("BENCH_STORAGE", storage)
    for words in (["run", "study", "smoke", *ONE], ["doctor"], ["report", "smoke", *ONE], ["report", "none"]):
        shown.stdout_bytes += CliRunner().invoke(main, words, catch_exceptions=False).stdout_bytes
    table = Store(inside.store, None, "smoke", "", create=False).table()
    assert list(table["state"]) == ["finished"]
    assert b"s3cret" not in shown.stdout_bytes
    assert b"s3cret" not in contents(inside.studies.parent)


def listening(each: Trial) -> Iterator[Any]:
    """The connections of the internet's kinds that a trial's process has."""
    yield [connection.laddr for connection in psutil.Process().net_connections("inet")]


def test_a_trial_opens_no_port() -> None:
    trial = Trial("v", "vae", "digits", 0, {section: {} for section in SECTIONS})
    before = psutil.Process().net_connections("inet")
    assert [event for _, event in local.run(iter([trial]), listening, Resources(workers=1))] == [[]]
    assert psutil.Process().net_connections("inet") == before


def test_the_ui_listens_to_this_machine_unless_it_is_told_otherwise(
    inside: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    served: list[tuple[Sequence[str], Mapping[str, str]]] = []
    monkeypatch.delenv("MLFLOW_SERVER_ALLOWED_HOSTS", raising=False)
    monkeypatch.setattr("bench.cli.ui._serve", lambda *given: served.append(given))
    monkeypatch.setattr("bench.cli.ui._check_free", lambda host, port: None)
    Store(inside.store, None, "smoke", "?", create=True)
    for words in ([], ["--host", "0.0.0.0", "--allowed-host", "bench.example"]):
        assert CliRunner().invoke(main, ["ui", *words], catch_exceptions=False).exit_code == 0
    (plain, own), (open_, named) = served
    assert plain[plain.index("--host") + 1] == "127.0.0.1"
    assert "bench.example" not in own["MLFLOW_SERVER_ALLOWED_HOSTS"]
    assert open_[open_.index("--host") + 1] == "0.0.0.0"
    assert named["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")[-1] == "bench.example"


def test_mlflow_tells_nobody() -> None:
    assert get_telemetry_client() is None


def test_other_weights_in_the_place_of_inception_s_are_not_unpickled(few_digits: Data, tmp_path: Path) -> None:
    (tmp_path / inception.FILE).write_bytes(pickle.dumps(Payload(tmp_path / "executed")))
    with pytest.raises(Unmeasurable, match="is damaged: its sha256 begins"):
        inception.load(few_digits, tmp_path, tmp_path)
    assert not (tmp_path / "executed").exists()


def test_nobody_s_python_is_imported_but_from_the_folders_of_components(inside: Paths) -> None:
    ran = inside.studies.parent / "ran"
    code = f"open({str(ran)!r}, 'w').close()"
    for place in ("x.py", "studies/x.py", "data/x.py", "mlruns/x.py", "reports/x.py", "applied/x.py"):
        file = inside.studies.parent / place
        file.parent.mkdir(exist_ok=True)
        file.write_text(code)
    for words in (["list"], ["show", "study", "smoke"], ["run", "study", "smoke", "--dry-run"]):
        assert CliRunner().invoke(main, words, catch_exceptions=False).exit_code == 0
    assert not ran.exists()
    (inside.studies.parent / "models").mkdir()
    (inside.studies.parent / "models" / "mine.py").write_text(code)
    registry.visit(None)
    CliRunner().invoke(main, ["show", "model", "mine"], catch_exceptions=False)
    assert ran.exists()
