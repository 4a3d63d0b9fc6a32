"""Measure the energy that a machine takes: its NVIDIA GPU, its processor, or a Jetson's board.

None of them is there on most virtual machines, which is no error.
"""

from __future__ import annotations

import ctypes
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from edge_ad.machine.host import ROOT

NVML = "libnvidia-ml.so.1"
_SAMPLE_S = 0.05
_BOARD_INPUTS = ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")  # Orin, Xavier, and older boards


class EnergyMeter(Protocol):
    """Counts the energy that `name` takes."""

    name: str

    def joules(self) -> float:
        """Return the energy since some moment. Raises OSError when it cannot be read."""


def energy_meters(
    load: Callable[[str], Any] = ctypes.CDLL, root: Path = ROOT
) -> Iterator[EnergyMeter]:
    """Yield a meter for each thing on this machine that says what it takes."""
    for open_meter in (lambda: _GpuMeter(load), lambda: _PackageMeter(root)):
        try:
            yield open_meter()
        except (OSError, ValueError, AttributeError):
            continue
    if (board := _find_board(root)) is not None:
        yield board


class _GpuMeter:
    """The first NVIDIA GPU, by its management library; Volta or newer."""

    name = "GPU"

    def __init__(self, load: Callable[[str], Any]) -> None:
        self._nvml = load(NVML)
        self._handle = ctypes.c_void_p()
        self._call("nvmlInit_v2")
        self._call("nvmlDeviceGetHandleByIndex_v2", 0, ctypes.byref(self._handle))
        self.joules()

    def joules(self) -> float:
        millijoules = ctypes.c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", self._handle, ctypes.byref(millijoules))
        return millijoules.value / 1e3

    def _call(self, function: str, *arguments: Any) -> None:
        if code := getattr(self._nvml, function)(*arguments):
            raise OSError(f"{function} returned {code}")


class _PackageMeter:
    """The processor's packages (RAPL), which Linux lets root alone read."""

    name = "processor"

    def __init__(self, root: Path) -> None:
        self._packages = sorted((root / "sys/class/powercap").glob("intel-rapl:?"))
        if not self._packages:
            raise OSError("no power limits of a processor")
        self._last = [_whole(path / "energy_uj") for path in self._packages]
        self._spent = 0

    def joules(self) -> float:
        """Return the energy since the meter was opened; it must be read once an hour."""
        for index, path in enumerate(self._packages):
            now = _whole(path / "energy_uj")
            wrapped = _whole(path / "max_energy_range_uj") if now < self._last[index] else 0
            self._spent += now - self._last[index] + wrapped
            self._last[index] = now
        return self._spent / 1e6


class _BoardMeter:
    """A Jetson's supply, by its monitor (ina3221): power, sampled and added up in a thread.

    The thread ends with the meter, so that it takes nothing from what is measured afterwards.
    """

    name = "board"

    def __init__(self, folder: Path, channel: str) -> None:
        self._folder, self._channel = folder, channel
        self._spent, self._last = 0.0, time.monotonic()
        self._lock = threading.Lock()
        threading.Thread(
            target=_keep_adding, args=(weakref.ref(self),), name="energy", daemon=True
        ).start()

    def joules(self) -> float:
        self.add()
        return self._spent

    def add(self) -> None:
        """Add what was taken since the last time."""
        with self._lock:
            now = time.monotonic()
            self._spent += self._watts() * (now - self._last)
            self._last = now

    def _watts(self) -> float:
        millivolts = _whole(self._folder / f"in{self._channel}_input")
        milliamperes = _whole(self._folder / f"curr{self._channel}_input")
        return millivolts * milliamperes / 1e6


def _keep_adding(meter: weakref.ref[_BoardMeter]) -> None:
    """Add up a meter's energy while somebody has it."""
    while True:
        time.sleep(_SAMPLE_S)
        known = meter()
        if known is None:
            return
        try:
            known.add()
        except (OSError, ValueError):
            return  # the next call of `joules` raises it
        del known


def _find_board(root: Path) -> _BoardMeter | None:
    """Return the meter of the channel that supplies the whole board."""
    for label in sorted((root / "sys/class/hwmon").glob("hwmon*/in?_label")):
        try:
            if label.read_text(encoding="utf-8").strip() in _BOARD_INPUTS:
                return _BoardMeter(label.parent, label.name[2])
        except (OSError, ValueError):
            continue
    return None


def _whole(path: Path) -> int:
    return int(path.read_text(encoding="utf-8"))
