"""NVIDIA GPUs and driver, asked from the driver's own library; no GPU is no error."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_ad.machine.host import ROOT

LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR


@dataclass(frozen=True, slots=True)
class Gpu:
    """One card; `compute_capability` like 8.9."""

    name: str
    compute_capability: str
    memory_mib: int


@dataclass(frozen=True, slots=True)
class Gpus:
    """`cuda` is the newest CUDA version the driver runs; `fault` says why there are no cards."""

    cards: tuple[Gpu, ...] = ()
    driver: str = ""
    cuda: str = ""
    fault: str = ""


class _Refused(Exception):
    """A call to the driver that answered with an error."""


def read_gpus(load: Callable[[str], Any] = ctypes.CDLL, root: Path = ROOT) -> Gpus:
    """Ask the CUDA driver, which `load` brings, for its cards; never raises."""
    driver = driver_version(root)
    try:
        cuda = load(LIBRARY)
    except OSError:
        return Gpus(driver=driver, fault=f"no NVIDIA driver ({LIBRARY} is not installed)")
    try:
        _call(cuda, "cuInit", 0)
        cards = tuple(_card(cuda, index) for index in range(_integer(cuda, "cuDeviceGetCount")))
        return Gpus(cards, driver, _version(_integer(cuda, "cuDriverGetVersion")))
    except (_Refused, AttributeError) as error:
        return Gpus(driver=driver, fault=f"an NVIDIA driver that refuses ({error})")


def driver_version(root: Path = ROOT) -> str:
    """The kernel driver's version, like 580.95.05; empty when none is loaded."""
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return found[1] if found else ""


def _card(cuda: Any, index: int) -> Gpu:
    device = ctypes.c_int()
    _call(cuda, "cuDeviceGet", ctypes.byref(device), index)
    name = ctypes.create_string_buffer(256)
    _call(cuda, "cuDeviceGetName", name, len(name), device)
    size = ctypes.c_size_t()
    _call(cuda, "cuDeviceTotalMem_v2", ctypes.byref(size), device)
    major, minor = (
        _integer(cuda, "cuDeviceGetAttribute", code, device) for code in (_MAJOR, _MINOR)
    )
    return Gpu(name.value.decode(errors="replace"), f"{major}.{minor}", size.value >> 20)


def _integer(cuda: Any, function: str, *words: Any) -> int:
    answer = ctypes.c_int()
    _call(cuda, function, ctypes.byref(answer), *words)
    return answer.value


def _call(cuda: Any, function: str, *words: Any) -> None:
    code = getattr(cuda, function)(*words)
    if code:
        raise _Refused(f"{function} answers {code}")


def _version(number: int) -> str:
    """CUDA's 12040 is 12.4."""
    return f"{number // 1000}.{number % 1000 // 10}"
