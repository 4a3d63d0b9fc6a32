"""Reading an NVIDIA driver that is absent, broken or working."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edge_ad.machine.gpu import LIBRARY, GpuDevice, Gpus, driver_version, read_gpus

VERSION = (
    "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep 23 10:11:16 UTC 2025\n"
)


class Driver:
    """libcuda with one GPU; the function named `fails` returns an error."""

    def __init__(self, fails: str = "") -> None:
        self.fails = fails

    def __getattr__(self, function: str) -> Any:
        return lambda *words: 100 if function == self.fails else self.call(function, words)

    def call(self, function: str, words: tuple[Any, ...]) -> int:
        numbers = {"cuDeviceGetCount": 1, "cuDriverGetVersion": 13010, "cuDeviceGet": 0}
        if function == "cuDeviceGetName":
            words[0].value = b"Example RTX"
        elif function == "cuDeviceTotalMem_v2":
            words[0]._obj.value = 8 << 30
        elif function == "cuDeviceGetAttribute":
            words[0]._obj.value = {75: 8, 76: 9}[words[1]]
        elif function in numbers:
            words[0]._obj.value = numbers[function]
        return 0


def test_gpus_are_read_from_the_driver(tmp_path: Path) -> None:
    (tmp_path / "proc/driver/nvidia").mkdir(parents=True)
    (tmp_path / "proc/driver/nvidia/version").write_text(VERSION)
    found = read_gpus(lambda name: Driver(), tmp_path)
    assert found == Gpus((GpuDevice("Example RTX", "8.9", 8192),), "580.95.05", "13.1")


@pytest.mark.parametrize("function", ["cuInit", "cuDeviceGetCount", "cuDeviceTotalMem_v2"])
def test_a_driver_that_fails_is_reported_without_raising(function: str, tmp_path: Path) -> None:
    found = read_gpus(lambda name: Driver(fails=function), tmp_path)
    assert found.devices == ()
    assert f"{function} returned 100" in found.problem


def test_a_library_that_is_no_driver_is_reported_without_raising(tmp_path: Path) -> None:
    assert "does not work" in read_gpus(lambda name: object(), tmp_path).problem


def no_library(name: str) -> Any:
    raise OSError(f"{name}: cannot open shared object file")


def test_a_machine_without_driver_is_reported_without_raising(tmp_path: Path) -> None:
    assert read_gpus(no_library, tmp_path) == Gpus(
        problem=f"no NVIDIA driver ({LIBRARY} is not installed)"
    )


def test_a_gpu_on_the_bus_is_known_without_a_driver(tmp_path: Path) -> None:
    absent = []
    for number, vendor in enumerate(("none", "0x8086", "0x10de")):
        if number:
            device = tmp_path / f"sys/bus/pci/devices/0000:00:0{number}.0"
            device.mkdir(parents=True)
            (device / "vendor").write_text(f"{vendor}\n")
        absent.append(read_gpus(no_library, tmp_path).absent)
    assert absent == [False, True, False], "without a bus nothing is known"


def test_without_a_loaded_module_there_is_no_version(tmp_path: Path) -> None:
    assert driver_version(tmp_path) == ""
