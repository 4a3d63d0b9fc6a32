"""Read NVIDIA GPUs and driver from the driver's library. No GPU is not an error."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.machine.host import ROOT
from edge_ad.machine.tegrastats import read_tegrastats

LIBRARY = "libcuda.so.1"
_NVIDIA = "0x10de"  # the vendor on PCI
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True, slots=True)
class GpuDevice:
    """One GPU as the driver lists it; `compute_capability` like 8.9."""

    name: str
    compute_capability: str
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs and driver; `cuda` is the newest CUDA it runs, `problem` why there are no GPUs.

    `absent` says that the computer's buses have no device of NVIDIA's.
    """

    devices: tuple[GpuDevice, ...] = ()
    driver: str = ""
    cuda: str = ""
    problem: str = ""
    absent: bool = False


class _DriverError(Exception):
    """A call to the driver returned an error."""


def read_gpus(load: Callable[[str], Any] = ctypes.CDLL, root: Path = ROOT) -> Gpus:
    """Read the GPUs from the CUDA driver, which `load` loads; errors become `problem`."""
    driver = driver_version(root)
    try:
        cuda = load(LIBRARY)
    except OSError:
        problem = f"no NVIDIA driver ({LIBRARY} is not installed)"
        return Gpus(driver=driver, problem=problem, absent=_is_absent(root))
    try:
        _call(cuda, "cuInit", 0)
        count = _integer(cuda, "cuDeviceGetCount")
        devices = tuple(_device(cuda, index) for index in range(count))
        return Gpus(devices, driver, _version(_integer(cuda, "cuDriverGetVersion")))
    except (_DriverError, AttributeError) as error:
        return Gpus(driver=driver, problem=f"the NVIDIA driver does not work ({error})")


def driver_version(root: Path = ROOT) -> str:
    """Return the kernel driver's version, like 580.95.05; empty when none is loaded."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    match = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return match[1] if match else ""


def _is_absent(root: Path) -> bool:
    """Return whether PCI has devices, but none of NVIDIA's. Without PCI nothing is known."""
    vendors = [path.read_text().strip() for path in root.glob("sys/bus/pci/devices/*/vendor")]
    return bool(vendors) and _NVIDIA not in vendors


def _device(cuda: Any, index: int) -> GpuDevice:
    device = ctypes.c_int()
    _call(cuda, "cuDeviceGet", ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    _call(cuda, "cuDeviceGetName", name, len(name), device)
    size = ctypes.c_size_t()
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(size), device)
    major, minor = (
        _integer(cuda, "cuDeviceGetAttribute", code, device) for code in (_MAJOR, _MINOR)
    )
    return GpuDevice(name.value.decode(errors="replace"), f"{major}.{minor}", size.value >> 20)


def _integer(cuda: Any, function: str, *arguments: Any) -> int:
    value = ctypes.c_int()
    _call(cuda, function, ctypes.byref(value), *arguments)
    return value.value


def _call(cuda: Any, function: str, *arguments: Any) -> None:
    code = getattr(cuda, function)(*arguments)
    if code:
        raise _DriverError(f"{function} returned {code}")


def _version(number: int) -> str:
    """Format CUDA's version number: 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"


_LOAD = {
    "utilization.gpu": ("utilization_percent", "Time with a kernel running."),
    "memory.used": ("memory_used_mib", "Memory in use, by all processes."),
    "temperature.gpu": ("temperature_celsius", "Temperature of the first GPU."),
}


def read_gpu_load(timeout_s: float = 2.0) -> list[tuple[str, str, float]]:
    """Return name, description and value of what nvidia-smi says of the first GPU.

    On a Jetson, which has none, tegrastats says it. Empty where neither answers in time.
    """
    command = ["nvidia-smi", f"--query-gpu={','.join(_LOAD)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout_s, check=True
        )
        values = [float(value) for value in done.stdout.splitlines()[0].split(",")]
    except FileNotFoundError:
        known = read_tegrastats(timeout_s)
        return [(name, text, known[name]) for name, text in _LOAD.values() if name in known]
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return []
    return [(*about, value) for about, value in zip(_LOAD.values(), values, strict=False)]
