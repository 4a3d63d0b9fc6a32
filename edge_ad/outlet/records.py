"""Inspections and alarms as the JSON objects that `run --json` and the event log share."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection, Region


def inspection_record(inspection: Inspection) -> dict[str, Any]:
    """One judged frame; scores that are no numbers (INVALID) become null."""
    record = {
        "type": "inspection",
        "frame": inspection.frame,
        "source": inspection.source,
        "score": _number(inspection.score),
        "threshold": _number(inspection.threshold),
        "verdict": inspection.verdict.value,
        "regions": [_region(region) for region in inspection.regions],
    }
    optional = {"file": inspection.file, "reason": inspection.reason}
    return record | {key: value for key, value in optional.items() if value}


def alarm_record(event: AlarmEvent, time_utc: str) -> dict[str, Any]:
    """One step of an alarm's life, with the wall-clock time it was told."""
    record = {
        "type": "alarm",
        "event": event.event.value,
        "id": event.id,
        "kind": event.kind.value,
        "source": event.source,
        "frame": event.frame,
        "first_frame": event.first_frame,
        "peak_frame": event.peak_frame,
        "peak_score": _number(event.peak_score),
        "threshold": _number(event.threshold),
        "regions": [_region(region) for region in event.regions],
        "time_utc": time_utc,
    }
    return record | ({"reason": event.reason} if event.reason else {})


def _region(region: Region) -> dict[str, Any]:
    return asdict(region) | {"peak_xy": list(region.peak_xy)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
