"""The threshold beside an engine, and what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge_ad.errors import IncompatibleError
from edge_ad.manifest import Threshold, load_sidecar, sidecar_path


def threshold_facts(engine: Path) -> dict[str, Any]:
    """`threshold` with its `promise`, or the reason why there is none."""
    try:
        sidecar = load_sidecar(engine)
    except IncompatibleError as error:
        return {"threshold": None, "sidecar_fault": str(error)}
    if sidecar is None or sidecar.threshold is None:
        return {"threshold": None}
    told = {**sidecar.threshold.model_dump(mode="json"), "promise": _promise(sidecar.threshold)}
    return {"threshold": told, "sidecar": str(sidecar_path(engine))}


def _promise(threshold: Threshold) -> str:
    return (
        f"with {threshold.confidence:.4g} confidence at most {threshold.false_alarm_rate:.4g} of "
        f"normal frames are rejected, as {threshold.images} of them showed"
    )
