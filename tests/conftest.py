"""Fixtures that several test files share."""

from __future__ import annotations

import gc
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench import registry
from bench.batches import DataOptions, prepare
from bench.data import Data
from bench.datasets import open_dataset
from bench.paths import Paths
from bench.study.catalogue import Catalogue, catalogue
from bench.tracking.database import have_database

# Tests run side by side on few cores: more threads than one each only get in each other's way.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

SMOKE = """
question = "Does it run?"
source = "none"
model = "vae"
datasets = ["digits"]
seeds = 2
metrics = ["test_loss", "reconstruction_mse"]
[params]
hidden_dims = [16]
[training]
epochs = 2
batch_size = 16
[data]
train_images = 100
test_images = 50
[vary]
latent_dim = [2, 3]
"""


@pytest.fixture(autouse=True)
def _no_thread_outlives_its_test() -> Iterator[None]:
    """A thread that a test leaves behind goes on beside the next, and may write where that one reads."""
    before = set(threading.enumerate())
    yield
    if set(threading.enumerate()) <= before:
        return
    gc.collect()  # MLflow's pools end with the objects that hold them; 0.3 s, with all that is imported
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(5)
    assert not [thread.name for thread in left if thread.is_alive()]


@pytest.fixture(autouse=True)
def _nobody_s_own_components() -> Iterator[None]:
    """What a test makes known by name is unknown to the next."""
    yield
    registry.visit(None)


@pytest.fixture(scope="session")
def known() -> Catalogue:
    """What the folders hold."""
    return catalogue()


@pytest.fixture(scope="session")
def digits() -> Data:
    """The embedded digits, whole."""
    source = open_dataset("digits", Path("unused"))
    return prepare(source.name, source.spec, source.train, source.test, DataOptions())


@pytest.fixture(scope="session")
def few_digits(digits: Data) -> Data:
    """A hundred digits to train on and fifty to test on."""
    return prepare("digits", digits.spec, digits.train, digits.held_out, DataOptions(train_images=100, test_images=50))


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What measuring keeps, one folder for all processes that share the tests: to train the digits' classifier takes 20 s."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without a run: making them costs seconds, copying them nothing."""
    folder = tmp_path_factory.mktemp("store")
    have_database(folder)
    return folder / "mlflow.db"


@pytest.fixture
def paths(tmp_path: Path, empty_database: Path) -> Paths:
    """A folder of one's own with one small study, ``smoke``, and an empty store."""
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "smoke.toml").write_text(SMOKE)
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_database, tmp_path / "mlruns" / "mlflow.db")
    return Paths.find(tmp_path, environment={})


@pytest.fixture
def inside(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> Paths:
    """`paths`, with the working directory there and no setting of the machine's own."""
    monkeypatch.chdir(paths.studies.parent)
    for name in ("MLFLOW_TRACKING_URI", "BENCH_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    return paths
