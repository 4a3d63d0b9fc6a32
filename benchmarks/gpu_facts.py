"""The card as a bench report needs it: name, versions, clocks, power. A figure without is none."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

from edge_ad.engine.tensorrt.preflight import gpu_here
from edge_ad.engine.tensorrt.runtimes import installed
from edge_ad.machine.host import read_jetson
from edge_ad.plan_record import TargetGpu

_ASK = (
    "name", "driver_version", "pstate", "clocks.sm", "clocks.max.sm", "clocks.mem",
    "clocks.max.mem", "power.limit", "temperature.gpu", "persistence_mode", "mig.mode.current",
)  # fmt: skip
_PACKAGES = ("pycuda", "cuda-python", "cuda-bindings", "torch")


def card_facts() -> dict[str, Any]:
    """Card, driver, TensorRT, packages."""
    gpu, jetson = gpu_here(), read_jetson()
    assert isinstance(gpu, TargetGpu), gpu.reason
    return {
        "card": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "cuda": gpu.cuda,
        "memory_mib": gpu.memory_mib,
        "jetson": f"{jetson.model}, L4T {jetson.l4t}" if jetson else "",
        "tensorrt": dict(installed()),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def clocks() -> dict[str, str]:
    """Clocks, power limit and temperature now; on a Jetson its power mode and GPU clock."""
    told = _run("nvidia-smi", f"--query-gpu={','.join(_ASK)}", "--format=csv,noheader")
    if told:
        words = [word.strip() for word in told.splitlines()[0].split(",")]
        return dict(zip(_ASK, words, strict=False))
    found = {"nvpmodel": _run("nvpmodel", "-q").replace("\n", " ")}
    for path in Path("/sys/class/devfreq").glob("*g*[bp][0u]*"):  # 17000000.gpu, 17000000.ga10b
        found[path.name] = f"{_read(path / 'cur_freq')} of {_read(path / 'max_freq')} Hz"
    return found


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _run(*words: str) -> str:
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"
