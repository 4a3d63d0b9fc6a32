"""Describe this computer, and the Jetson it may be."""

from __future__ import annotations

import os
import platform
import re
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path("/")
_X86 = frozenset({"x86_64", "amd64", "i386", "i686"})
_VNNI = frozenset({"avx512_vnni", "avx_vnni"})


@dataclass(frozen=True, slots=True)
class Host:
    """This computer; `cores` are those this process may use, `memory_mib` is 0 where unknown.

    `exact_int8` is what `adds_int8_exactly` says.
    """

    system: str
    architecture: str
    processor: str
    cores: int
    memory_mib: int
    exact_int8: bool
    python: str
    virtual_environment: bool


@dataclass(frozen=True, slots=True)
class Jetson:
    """A Jetson; `l4t` like 36.4.0, `jetpack` the major version (36 is JetPack 6, 38 JetPack 7)."""

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
        exact_int8=adds_int8_exactly(root),
        python=platform.python_version(),
        virtual_environment=sys.prefix != sys.base_prefix,
    )


def read_jetson(root: Path = ROOT) -> Jetson | None:
    """Identify the Jetson by NVIDIA's release file; return None on other machines."""
    release = _text(root / "etc/nv_tegra_release")
    match = re.search(r"R(\d+)\b.*REVISION:\s*([\d.]+)", release)
    if not match:
        return None
    major = int(match[1])
    model = _text(root / "proc/device-tree/model").strip("\0 \n")
    jetpack = {35: "5", 36: "6", 38: "7"}.get(major, "unknown")
    return Jetson(model or "unknown", f"{major}.{match[2]}", jetpack)


def _processor(root: Path) -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", _text(root / "proc/cpuinfo"), re.MULTILINE)
    return match[1].strip() if match else ""


@cache  # every session asks, and the kernel writes a page for each core
def processor_flags(root: Path = ROOT) -> frozenset[str]:
    """Return the instruction sets that the processor says it has, like `avx512_vnni`."""
    pattern = r"^(?:flags|Features)\s*:\s*(.+)$"
    match = re.search(pattern, _text(root / "proc/cpuinfo"), re.MULTILINE)
    return frozenset(match[1].split()) if match else frozenset()


def adds_int8_exactly(root: Path = ROOT) -> bool:
    """Say whether products of 8 bits are added in 32 bits, as Arm and x86 with VNNI do.

    x86 before Cascade Lake and Zen 4 adds pairs of them in 16 bits, and what exceeds those is lost.
    An x86 whose instruction sets are unknown counts as such a one.
    """
    if platform.machine().lower() not in _X86:
        return True
    return not _VNNI.isdisjoint(processor_flags(root))


def _memory_mib(root: Path) -> int:
    match = re.search(r"^MemTotal:\s*(\d+) kB", _text(root / "proc/meminfo"), re.MULTILINE)
    return int(match[1]) // 1024 if match else 0


def usable_cores() -> int:
    """Count the cores this process may use: fewer than exist under taskset or in a container."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
