"""The result of a measurement: one versioned JSON object, and the file that keeps it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from edge_ad.bench.comparison import Change, compare_samples
from edge_ad.errors import DataError
from edge_ad.files import write_text
from edge_ad.machine.clocks import read_clocks
from edge_ad.machine.gpu import read_gpus
from edge_ad.machine.host import read_host, read_jetson
from edge_ad.manifest import engine_sha256
from edge_ad.provenance import utc_now, versions

SCHEMA = 1


def conditions(engine: Path) -> dict[str, Any]:
    """Return what a figure depends on: file, machine, load, clocks, driver and versions."""
    host, gpus, jetson = read_host(), read_gpus(), read_jetson()
    known = {
        "engine_sha256": engine_sha256(engine),
        "date_utc": utc_now(),
        "processor": host.processor,
        "cores": host.cores,
        "memory_mib": host.memory_mib,
        "system": host.system,
        "gpus": [device.name for device in gpus.devices],
        "driver": gpus.driver,
        "jetson": jetson.model if jetson else "",
        "versions": versions(),
    }
    return {name: value for name, value in known.items() if value} | read_clocks()


def write_result(path: Path, result: dict[str, Any], samples: dict[str, list[float]]) -> None:
    """Write a result with the raw samples, in seconds. Raises OSError."""
    rounded = {name: [round(value, 7) for value in values] for name, values in samples.items()}
    write_text(path, json.dumps(result | {"samples": rounded}, indent=1) + "\n")


def read_result(path: Path) -> dict[str, Any]:
    """Read what `write_result` wrote. Raises DataError for anything else."""
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable result of `edge-ad bench` ({error}).") from error
    known = isinstance(result, dict) and result.get("schema") == SCHEMA
    if not known or not _are_samples(result.get("samples")):
        raise DataError(
            f"{path}: no result that can be compared. Expected a file with schema {SCHEMA} and raw "
            "samples, which `edge-ad bench -o` writes."
        )
    return dict(result)


def compare_results(
    old: dict[str, Any], new: dict[str, Any], samples: dict[str, list[float]]
) -> tuple[list[Change], list[str]]:
    """Return the changes from an older result, and why the two may not be comparable."""
    before, after = old.get("conditions", {}), new["conditions"]
    doubts = [
        f"{name}: {before.get(name, 'unknown')} before, {after.get(name, 'unknown')} now"
        for name in ("processor", "cores", "gpus", "driver", "governor", "power_mode")
        if before.get(name) != after.get(name)
    ]
    if not (old.get("stable", True) and new.get("stable", True)):
        doubts.append("one of the results is unstable")
    return compare_samples(old["samples"], samples), doubts


def _are_samples(samples: Any) -> bool:
    return isinstance(samples, dict) and all(
        isinstance(values, list) and all(isinstance(value, int | float) for value in values)
        for values in samples.values()
    )
