"""Read the GPU facts that a benchmark result needs: name, versions, clocks, power."""

from __future__ import annotations

import importlib.metadata
import subprocess
from pathlib import Path
from typing import Any

from edge_ad.engine.tensorrt.preflight import gpu_here
from edge_ad.engine.tensorrt.runtimes import installed
from edge_ad.machine.host import read_jetson
from edge_ad.plan_record import TargetGpu

_QUERY = (
    "name", "driver_version", "pstate", "clocks.sm", "clocks.max.sm", "clocks.mem",
    "clocks.max.mem", "power.limit", "temperature.gpu", "persistence_mode", "mig.mode.current",
)  # fmt: skip
_PACKAGES = ("pycuda", "cuda-python", "cuda-bindings", "torch")


def read_facts() -> dict[str, Any]:
    """Return the GPU, driver, TensorRT and package versions."""
    gpu, jetson = gpu_here(), read_jetson()
    assert isinstance(gpu, TargetGpu), gpu.reason
    return {
        "gpu": gpu.name,
        "compute_capability": gpu.compute_capability,
        "driver": gpu.driver,
        "cuda": gpu.cuda,
        "memory_mib": gpu.memory_mib,
        "jetson": f"{jetson.model}, L4T {jetson.l4t}" if jetson else "",
        "tensorrt": dict(installed()),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def read_clocks() -> dict[str, str]:
    """Return clocks, power limit and temperature now; on a Jetson its power mode and GPU clock."""
    output = _run("nvidia-smi", f"--query-gpu={','.join(_QUERY)}", "--format=csv,noheader")
    if output:
        values = [value.strip() for value in output.splitlines()[0].split(",")]
        return dict(zip(_QUERY, values, strict=False))
    clocks = {"nvpmodel": _run("nvpmodel", "-q").replace("\n", " ")}
    for path in Path("/sys/class/devfreq").glob("*g*[bp][0u]*"):  # 17000000.gpu, 17000000.ga10b
        clocks[path.name] = f"{_read(path / 'cur_freq')} of {_read(path / 'max_freq')} Hz"
    return clocks


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _run(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return "unknown"
