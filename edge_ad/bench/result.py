"""The result of a measurement: one versioned JSON object, and the file that keeps it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edge_ad.bench.comparison import Change, Samples, compare_samples
from edge_ad.clock import now_utc
from edge_ad.errors import DataError, UsageError
from edge_ad.files import write_text
from edge_ad.machine.clocks import read_clocks
from edge_ad.machine.gpu import read_gpus
from edge_ad.machine.host import read_host, read_jetson
from edge_ad.provenance import versions
from edge_ad.sidecar import engine_sha256

SCHEMA = 1
# that two results must share to be comparable, beside the engine and the versions
_CONDITIONS = ("processor", "cores", "gpus", "driver", "governor", "power_mode", "runtime",
               "device", "threads", "camera")  # fmt: skip
_BUSY = 0.1  # cores: what wakes up on an idle machine takes less


def conditions(engine: Path) -> dict[str, Any]:
    """Return what a figure depends on: file, machine, load, clocks, driver and versions."""
    host, gpus, jetson = read_host(), read_gpus(), read_jetson()
    known = {
        "engine_sha256": engine_sha256(engine),
        "date_utc": now_utc("seconds"),
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
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: not a readable result of `edge-ad bench` ({error}).") from error
    known = isinstance(result, dict) and result.get("schema") == SCHEMA
    if not known or not _are_samples(result.get("samples")) or not _has_conditions(result):
        raise DataError(
            f"{path}: no result that can be compared. Expected a file with schema {SCHEMA} and raw "
            "samples, which `edge-ad bench -o` writes."
        )
    return dict(result)


def check_same_kind(old: dict[str, Any], scenario: str | None, path: Path) -> None:
    """Raise UsageError when a measurement of this scenario has no figure in common with `old`."""
    ran = old.get("scenario")
    before = ran.get("scenario") if isinstance(ran, dict) else None
    if before == scenario:
        return
    how, fix = (
        (f"with --scenario {before}", f"Give --scenario {before}")
        if before
        else ("without --scenario", "Leave out --scenario")
    )
    raise UsageError(
        f"--compare {path}: it was measured {how}, so this measurement has no figure in common "
        f"with it. {fix}, or compare with another result."
    )


def compare_results(
    old: dict[str, Any], new: dict[str, Any], samples: dict[str, list[float]]
) -> tuple[list[Change], list[str]]:
    """Return the changes from an older result, and why the two may not be comparable."""
    changes = compare_samples(old["samples"], samples)
    doubts = [*_other_engine(old, new), *_other_conditions(old["conditions"], new["conditions"])]
    if not (old.get("stable", True) and new.get("stable", True)):
        doubts.append("one of the results is unstable")
    return changes, [*doubts, *_not_compared(old["samples"], samples, changes)]


def _other_engine(old: dict[str, Any], new: dict[str, Any]) -> Iterator[str]:
    """Say that the engine is another file, unless the two are the same one."""
    before, after = old["conditions"].get("engine_sha256"), new["conditions"].get("engine_sha256")
    if before is None or before != after:
        names = [f"{r.get('engine', 'unknown')} ({r.get('precision', '?')})" for r in (old, new)]
        same = ", of other content" if names[0] == names[1] else ""
        yield f"engine: {names[0]} before, {names[1]} now{same}"


def _other_conditions(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    """Say which conditions differ; one that neither result knows does not."""
    for name in _CONDITIONS:
        if before.get(name) != after.get(name):
            yield f"{name}: {before.get(name, 'unknown')} before, {after.get(name, 'unknown')} now"
    old, new = (dict(known.get("versions") or {}) for known in (before, after))
    for name in sorted(old.keys() & new.keys()):
        if old[name] != new[name]:
            yield f"{name}: {old[name]} before, {new[name]} now"
    others = [known.get("other_cores") for known in (before, after)]
    if any(isinstance(cores, int | float) and cores > _BUSY for cores in others):
        was, now = ("an unknown number of" if cores is None else cores for cores in others)
        yield f"other programs took {was} cores before, {now} now"


def _not_compared(old: Samples, new: Samples, changes: Sequence[Change]) -> Iterator[str]:
    """Say which times only one of the results has, or too few of."""
    compared = {change.name for change in changes}
    for when, names in (
        ("measured only before", [name for name in old if name not in new]),
        ("measured only now", [name for name in new if name not in old]),
        ("too few to compare", [n for n in new if n in old and n not in compared]),
    ):
        if names:
            yield f"{when}: {', '.join(names)}"


def _has_conditions(result: dict[str, Any]) -> bool:
    conditions = result.get("conditions")
    return isinstance(conditions, dict) and isinstance(conditions.get("versions", {}), dict)


def _are_samples(samples: Any) -> bool:
    """Return whether these are times by name: finite, not negative."""
    return isinstance(samples, dict) and all(
        isinstance(values, list) and all(_is_time(value) for value in values)
        for values in samples.values()
    )


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
