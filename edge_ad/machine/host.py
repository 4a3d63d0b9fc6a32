"""The computer itself, and whether it is a Jetson."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/")


@dataclass(frozen=True, slots=True)
class Host:
    """`cores` counts those this process may use; `memory_mib` is 0 where the system hides it."""

    system: str
    architecture: str
    processor: str
    cores: int
    memory_mib: int
    python: str
    virtual_environment: bool


@dataclass(frozen=True, slots=True)
class Jetson:
    """`l4t` like 36.4.0; `jetpack` its major version (36 is JetPack 6, 38 is JetPack 7)."""

    model: str
    l4t: str
    jetpack: str


def read_host(root: Path = ROOT) -> Host:
    """Describe this computer."""
    return Host(
        system=platform.platform(),
        architecture=platform.machine(),
        processor=_processor(root) or platform.processor() or "unknown",
        cores=usable_cores(),
        memory_mib=_memory_mib(root),
        python=platform.python_version(),
        virtual_environment=sys.prefix != sys.base_prefix,
    )


def read_jetson(root: Path = ROOT) -> Jetson | None:
    """Which Jetson this is, by NVIDIA's release file; None on other machines."""
    release = _text(root / "etc/nv_tegra_release")
    found = re.search(r"R(\d+)\b.*REVISION:\s*([\d.]+)", release)
    if not found:
        return None
    major = int(found[1])
    model = _text(root / "proc/device-tree/model").strip("\0 \n")
    jetpack = {35: "5", 36: "6", 38: "7"}.get(major, "unknown")
    return Jetson(model or "unknown", f"{major}.{found[2]}", jetpack)


def _processor(root: Path) -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return found[1].strip() if found else ""


def _memory_mib(root: Path) -> int:
    found = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(found[1]) // 1024 if found else 0


def usable_cores() -> int:
    """How many cores this process may use: fewer than there are under taskset or in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
