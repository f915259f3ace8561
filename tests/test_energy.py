"""The energy that a machine's counters tell, on counters made up; and where it goes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from bench import energy
from bench.data import Data
from bench.energy import Meter
from bench.models.vae import VAE
from bench.optimizers import TrainingOptions
from bench.report.blocks import Table
from bench.report.provenance import COUNTS, cost
from bench.run.events import Epoch
from bench.training import train
from tests.test_report import row

UUID = "GPU-1234"
WH = 3600 * 10**6  # microjoules
MOST = 262_143_328_850  # of a real package: it goes round after 73 Wh


def zone(powercap: Path, name: str, kind: str, count: int) -> Path:
    """A counter of Linux's, and the file that it counts in."""
    folder = powercap / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{kind}\n")
    (folder / "max_energy_range_uj").write_text(f"{MOST}\n")
    (folder / "energy_uj").write_text(f"{count}\n")
    return folder / "energy_uj"


@pytest.fixture
def powercap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A made-up folder of counters in place of the machine's; empty."""
    monkeypatch.setattr(energy, "POWERCAP", tmp_path / "powercap")
    return tmp_path / "powercap"


def test_a_machine_without_counters_tells_nothing(powercap: Path) -> None:
    meter = Meter(UUID)
    meter.look()
    assert meter.watt_hours() == {}


def test_packages_are_added_and_nothing_that_they_hold_or_that_holds_them(powercap: Path) -> None:
    first, second = (zone(powercap, f"intel-rapl:{n}", f"package-{n}", 7 * WH) for n in (0, 1))
    within = zone(powercap, "intel-rapl:0:0", "core", 0)
    around = zone(powercap, "intel-rapl:2", "psys", 0)
    meter = Meter()
    assert meter.watt_hours() == {"processor": 0}
    first.write_text(str(8 * WH))
    second.write_text(str(9 * WH))
    within.write_text(str(50 * WH))
    around.write_text(str(60 * WH))
    assert meter.watt_hours() == {"processor": pytest.approx(3)}
    assert meter.watt_hours() == {"processor": 0}


def test_a_counter_that_begins_anew_goes_on(powercap: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = zone(powercap, "intel-rapl:0", "package-0", MOST - WH)
    meter = Meter()
    file.write_text(str(2 * WH))
    assert meter.watt_hours() == {"processor": pytest.approx(3)}
    file.write_text(str(MOST))
    meter.look()  # not yet: it looked a moment ago
    file.write_text(str(3 * WH))
    assert meter.watt_hours() == {"processor": pytest.approx(1)}
    monkeypatch.setattr(energy, "LOOK_SECONDS", -1.0)
    file.write_text(str(MOST))
    meter.look()
    file.write_text(str(3 * WH))
    assert meter.watt_hours() == {"processor": pytest.approx(MOST / WH)}  # from 3 Wh to its end, and 3 Wh


def test_what_cannot_be_read_is_absent_and_stays_so(powercap: Path) -> None:
    file = zone(powercap, "intel-rapl:0", "package-0", WH)
    other = zone(powercap, "intel-rapl:1", "package-1", WH)
    meter = Meter()
    other.write_text("")
    assert meter.watt_hours() == {}
    other.write_text(str(WH))
    assert meter.watt_hours() == {}
    file.unlink()
    file.mkdir()  # one that nobody can read, root neither
    assert Meter().watt_hours() == {}


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """NVML with one GPU that has drawn ``millijoules``; None where it counts nothing."""
    known = SimpleNamespace(NVMLError=RuntimeError, millijoules=10, nvmlInit=lambda: None)

    def handle(uuid: str) -> str:
        if uuid != UUID:
            raise known.NVMLError("Not Found")
        return uuid

    def total(handle: str) -> int:
        if known.millijoules is None:
            raise known.NVMLError("Not Supported")
        return int(known.millijoules)

    known.nvmlDeviceGetHandleByUUID, known.nvmlDeviceGetTotalEnergyConsumption = handle, total
    monkeypatch.setitem(sys.modules, "pynvml", known)
    return known


@pytest.mark.usefixtures("powercap")
def test_the_gpu_that_is_used_is_asked_and_no_other(nvml: SimpleNamespace) -> None:
    assert Meter().watt_hours() == {}
    assert Meter("GPU-other").watt_hours() == {}
    meter = Meter(UUID)
    nvml.millijoules += 7_200_000
    assert meter.watt_hours() == {"gpu": pytest.approx(2)}
    nvml.millijoules = 3_600_000  # its driver was loaded anew
    assert meter.watt_hours() == {"gpu": pytest.approx(1)}
    nvml.millijoules = None
    assert meter.watt_hours() == {}
    assert Meter(UUID).watt_hours() == {}


def test_an_epoch_tells_what_was_drawn_while_it_trained(powercap: Path, few_digits: Data) -> None:
    file = zone(powercap, "intel-rapl:0", "package-0", 0)
    model = VAE(few_digits.spec, hidden_dims=[4])
    step, counted = model.step, []

    def drawing(batch: object, update: object) -> dict[str, torch.Tensor]:
        """Each step that learns draws a watt-hour; one that looks at held-out images draws a thousand."""
        counted.append(WH if model.training else 1000 * WH)
        file.write_text(str(sum(counted) % MOST))
        return step(batch, update)  # type: ignore[arg-type]

    model.step = drawing  # type: ignore[method-assign]
    history = list(train(model, few_digits, TrainingOptions(epochs=2, batch_size=50), seed=0))
    assert [each.energy for each in history] == [{}, *[{"processor": pytest.approx(2)}] * 2]
    assert "energy/processor_wh" not in Epoch(history[0], {}).measures("test")
    assert Epoch(history[2], {}).measures("test")["energy/processor_wh"] == pytest.approx(2)


def test_a_report_has_it_where_it_was_read_of_every_trial(powercap: Path) -> None:
    rows = [row(10, seed, 1.0) for seed in (0, 1)]
    (table,) = [block for block in cost(pd.DataFrame(rows)) if isinstance(block, Table)]
    assert table.columns[-1] == "most memory of a trial"
    assert COUNTS not in cost(pd.DataFrame(rows))
    told = [each | {"processor_wh_per_epoch": 0.25} for each in rows]
    (table,) = [block for block in cost(pd.DataFrame(told)) if isinstance(block, Table)]
    assert (table.columns[-1], table.rows[0][-1].text) == ("energy of processors", "25 Wh")  # 2 trials of 50 epochs
    assert cost(pd.DataFrame(told))[-1] == COUNTS
    partly = [told[0], rows[1]]
    (table,) = [block for block in cost(pd.DataFrame(partly)) if isinstance(block, Table)]
    assert table.columns[-1] == "most memory of a trial"
