"""Convert inspections and alarm events to the JSON objects that all JSON outlets share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection, Region, finite
from edge_ad.setting import SettingChange


def inspection_record(inspection: Inspection) -> dict[str, Any]:
    """Return the record of one frame; the NaN score of an INVALID frame becomes None."""
    return _part_record("inspection", inspection)


def reject_record(inspection: Inspection) -> dict[str, Any]:
    """Return the record of a rejected part."""
    return _part_record("reject", inspection)


def _part_record(type_: str, inspection: Inspection) -> dict[str, Any]:
    record = {
        "type": type_,
        "camera": inspection.camera,
        "part": inspection.part,
        "frame": inspection.frame,
        "source": inspection.source,
        "score": finite(inspection.score),
        "threshold": finite(inspection.threshold),
        "verdict": inspection.verdict.value,
        "regions": region_records(inspection.regions),
        "time_utc": inspection.time_utc,
    }
    optional = {"file": inspection.file, "reason": inspection.reason}
    return record | {key: value for key, value in optional.items() if value}


def alarm_record(event: AlarmEvent) -> dict[str, Any]:
    """Return the record of one alarm step."""
    record = {
        "type": "alarm",
        "event": event.event.value,
        "id": event.id,
        "kind": event.kind.value,
        "camera": event.camera,
        "part": event.part,
        "source": event.source,
        "frame": event.frame,
        "first_frame": event.first_frame,
        "peak_frame": event.peak_frame,
        "peak_part": event.peak_part,
        "peak_score": finite(event.peak_score),
        "threshold": finite(event.threshold),
        "regions": region_records(event.regions),
        "time_utc": event.time_utc,
    }
    optional = {"file": event.file, "reason": event.reason, "test": event.test}
    return record | {key: value for key, value in optional.items() if value}


def setting_record(change: SettingChange) -> dict[str, Any]:
    """Return the record of a change of a camera's threshold, rule or pause."""
    record = {
        "type": "setting",
        "camera": change.camera,
        "setting": change.setting.value,
        "step": change.step.value,
        "old": change.old,
        "new": change.new,
        "who": change.who,
        "time_utc": change.time_utc,
    }
    return record | ({"reason": change.reason} if change.reason else {})


def region_records(regions: Sequence[Region]) -> list[dict[str, Any]]:
    """Return the JSON values of regions."""
    return [asdict(region) | {"peak_xy": list(region.peak_xy)} for region in regions]
