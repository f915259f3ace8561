"""How much energy was drawn while something ran, by counters that the machine has of its own, where they can be read.

They count whole packages of processors (RAPL in Linux's powercap tree, which root alone can read by default) and a whole GPU
(NVML, where the module `pynvml` is installed): all that runs there meanwhile, other trials too; neither memory nor fans.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
LOOK_SECONDS = 30.0  # a package's counter begins anew every few minutes at full power


@dataclass
class Counter:
    """Joules that only grow, and begin anew after ``most``; ``read`` raises OSError or ValueError where it cannot."""

    read: Callable[[], float]
    most: float = 0.0
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.last = self.read()

    def risen(self) -> float:
        """Since it was asked last."""
        last, now = self.last, self.read()
        self.last = now
        return now - last if now >= last else now + max(self.most - last, 0.0)


class Meter:
    """What the counters have risen by since they were asked last."""

    def __init__(self, gpu: str = "") -> None:
        """``gpu`` is the UUID of the one that is used, as NVML spells it; empty where none is."""
        found = {"processor": _packages(POWERCAP), "gpu": _gpu(gpu) if gpu else []}
        self._counters = {name: counters for name, counters in found.items() if counters}
        self._joules = dict.fromkeys(self._counters, 0.0)
        self._looked = time.monotonic()

    def look(self) -> None:
        """To be called at every step, so that no counter goes round unseen: it looks at them where that is long ago."""
        if self._counters and time.monotonic() - self._looked > LOOK_SECONDS:
            self._count()

    def watt_hours(self) -> dict[str, float]:
        """Since they were asked for last, of the ``processor`` (all packages) and the ``gpu``; what cannot be read is absent."""
        self._count()
        risen, self._joules = self._joules, dict.fromkeys(self._counters, 0.0)
        return {name: joules / 3600 for name, joules in risen.items()}

    def _count(self) -> None:
        self._looked = time.monotonic()
        for name, counters in list(self._counters.items()):
            try:
                self._joules[name] += sum(counter.risen() for counter in counters)
            except (OSError, ValueError):
                del self._counters[name], self._joules[name]


def _packages(powercap: Path) -> list[Counter]:
    """Those of all packages; none where one of them cannot be read."""
    counters = []
    try:
        for zone in sorted(powercap.glob("intel-rapl:*")):  # AMD's too; their parts are `intel-rapl:0:0` and so on
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                most = _microjoules(zone / "max_energy_range_uj")
                counters.append(Counter(lambda file=zone / "energy_uj": _microjoules(file), most))  # type: ignore[misc]
    except (OSError, ValueError):
        return []
    return counters


def _microjoules(file: Path) -> float:
    return int(file.read_text()) / 1e6


def _gpu(uuid: str) -> list[Counter]:
    """That of one GPU; none where there is no `pynvml`, or where the GPU counts nothing, as a share of one does."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return []

    def joules() -> float:
        try:
            return float(nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByUUID(uuid))) / 1000
        except nvml.NVMLError as error:
            raise OSError(str(error)) from None

    try:
        nvml.nvmlInit()
        return [Counter(joules)]
    except (OSError, nvml.NVMLError):
        return []
