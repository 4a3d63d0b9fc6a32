"""Write and read result files, which all share one schema.

`results/<device>-<bench>-<model>.<precision>.json`; a newer run replaces one of the same name,
and git keeps the history. Raw samples stay in the file, so that another statistic needs no new run.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edge_ad.files import write_text

SCHEMA = 1
RESULTS = Path(__file__).resolve().parent / "results"
_PACKAGES = (
    *("edge-ad", "numpy", "onnx", "onnxruntime", "opencv-python", "opencv-python-headless"),
    *("openvino", "torch", "tensorrt-rtx"),
)


def write_result(
    bench: str,
    model: str,
    precision: str,
    *,
    metrics: dict[str, Any],
    settings: dict[str, Any] | None = None,
    samples: dict[str, Any] | None = None,
    device: str = "cpu",
) -> Path:
    """Write one result file and return its path. `device` is `cpu` or a GPU's name."""
    record = {
        "schema": SCHEMA,
        "bench": bench,
        "model": model,
        "precision": precision,
        "device": device,
        "date_utc": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "git": _git(),
        "machine": _machine(),
        "packages": _packages(),
        "settings": settings or {},
        "metrics": metrics,
        "samples": samples or {},
    }
    path = RESULTS / file_name(device, bench, model, precision)
    write_text(path, json.dumps(record, indent=1) + "\n")
    return path


def file_name(device: str, bench: str, model: str, precision: str) -> str:
    """Return `<device>-<bench>-<model>.<precision>.json`, in lower-case letters and digits."""
    return f"{_slug(device)}-{_slug(bench)}-{_slug(model)}.{precision}.json"


def read_results() -> list[dict[str, Any]]:
    """Return the content of every result file, sorted by file name."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))]


def _git() -> str:
    """Return the measured commit, marked `+` when the working tree differed from it."""
    here = Path(__file__).resolve().parent

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(here), *words], capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    changed = git("status", "--porcelain", "--", ":/edge_ad", ":/export", ":/calibration")
    return git("rev-parse", "--short", "HEAD") + ("+" if changed else "")


def _machine() -> dict[str, Any]:
    return {
        "cpu": _cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    return match[1] if match else platform.processor() or "unknown"


def _packages() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
