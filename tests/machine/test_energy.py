"""Meters of energy: a GPU's, a processor's, a Jetson board's, and machines without."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edge_ad.machine import energy
from edge_ad.machine.energy import NVML, EnergyMeter, energy_meters
from tests.beside import Beside
from tests.timing import FakeClock, wait_until


class Nvml:
    """NVML with one GPU that takes 12.5 J between two readings; `fails` returns an error."""

    def __init__(self, fails: str = "") -> None:
        self.fails, self.millijoules = fails, 0

    def __getattr__(self, function: str) -> Any:
        return lambda *words: 3 if function == self.fails else self.call(function, words)

    def call(self, function: str, words: tuple[Any, ...]) -> int:
        if function == "nvmlDeviceGetTotalEnergyConsumption":
            self.millijoules += 12_500
            words[1]._obj.value = self.millijoules
        return 0


def absent(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


def only(root: Path, load: Callable[[str], Any] = absent) -> EnergyMeter:
    (meter,) = energy_meters(load, root)
    return meter


def test_a_gpus_energy_is_what_its_library_says(tmp_path: Path) -> None:
    names: list[str] = []

    def load(name: str) -> Any:
        names.append(name)
        return Nvml()

    meter = only(tmp_path, load)
    before = meter.joules()
    assert (meter.name, names) == ("GPU", [NVML])
    assert meter.joules() - before == pytest.approx(12.5)


@pytest.mark.parametrize(
    "function",
    ["nvmlInit_v2", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetTotalEnergyConsumption"],
)
def test_a_gpu_that_does_not_say_has_no_meter(function: str, tmp_path: Path) -> None:
    assert not list(energy_meters(lambda name: Nvml(function), tmp_path))


def test_a_library_that_is_another_has_no_meter(tmp_path: Path) -> None:
    assert not list(energy_meters(lambda name: object(), tmp_path))


def test_a_processors_counters_wrap(tmp_path: Path) -> None:
    packages = [tmp_path / f"sys/class/powercap/intel-rapl:{number}" for number in (0, 1)]
    for package in packages:
        package.mkdir(parents=True)
        (package / "energy_uj").write_text("9000000\n")
        (package / "max_energy_range_uj").write_text("10000000\n")
    meter = only(tmp_path)
    assert (meter.name, meter.joules()) == ("processor", 0)
    (packages[0] / "energy_uj").write_text("9500000\n")
    (packages[1] / "energy_uj").write_text("1000000\n")
    assert meter.joules() == pytest.approx(0.5 + 2.0)
    (packages[0] / "energy_uj").write_text("9800000\n")
    assert meter.joules() == pytest.approx(0.8 + 2.0), "neither has wrapped since"
    (packages[1] / "energy_uj").write_text("1500000\n")
    assert meter.joules() == pytest.approx(0.8 + 2.5)


def test_a_boards_power_is_added_up(tmp_path: Path) -> None:
    monitor = tmp_path / "sys/class/hwmon/hwmon3"
    monitor.mkdir(parents=True)
    channels = {"in1_label": "VDD_CPU", "in2_label": "VDD_IN", "in2_input": "5000"}
    for name, value in (channels | {"curr2_input": "2000", "curr1_input": "9"}).items():
        (monitor / name).write_text(f"{value}\n")
    meter, began = only(tmp_path), time.monotonic()
    before = meter.joules()
    while time.monotonic() < began + 0.02:
        pass
    after, elapsed_s = meter.joules(), time.monotonic() - began
    assert meter.name == "board"
    assert 0.02 * 10 * 0.5 < after - before <= elapsed_s * 10
    del meter  # its thread would go on beside what is measured next
    wait_until(lambda: all(thread.name != "energy" for thread in threading.enumerate()))


def test_a_machine_that_says_nothing_has_no_meters(tmp_path: Path) -> None:
    assert not list(energy_meters(absent, tmp_path))


def test_a_boards_energy_is_added_once_when_two_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = tmp_path / "sys/class/hwmon/hwmon3"
    monitor.mkdir(parents=True)
    for name, value in (("in2_label", "VDD_IN"), ("in2_input", "5000"), ("curr2_input", "2000")):
        (monitor / name).write_text(f"{value}\n")
    clock = FakeClock()
    monkeypatch.setattr(energy, "time", clock)
    monkeypatch.setattr(energy, "_keep_adding", lambda meter: None)
    meter = only(tmp_path)
    second, whole = Beside(meter.joules), energy._whole

    def read(path: Path) -> int:
        second()
        return whole(path)

    monkeypatch.setattr(energy, "_whole", read)
    clock.advance(1.0)
    assert (meter.joules(), second.result()) == (10.0, 10.0)
