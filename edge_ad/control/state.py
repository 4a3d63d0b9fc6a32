"""The state of a camera, as `edge-ad ctl DIR state` shows it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from edge_ad.event import AlarmEvent
from edge_ad.line.alarm import PartRule
from edge_ad.line.camera import Camera
from edge_ad.line.settings import LineSettings
from edge_ad.manifest import Threshold


def camera_state(camera: Camera, settings: LineSettings) -> dict[str, Any]:
    """Return the state of one camera as JSON values."""
    tally, alarm, last = camera.tally, camera.alarm, camera.tally.last
    record: dict[str, Any] = {
        "camera": camera.name,
        "source": camera.source.name,
        "state": condition(camera),
        "engine": camera.engine,
        "threshold": camera.inspector.thresholds.image,
        "set_by_hand": [setting.value for setting in settings.set_by_hand(camera.name)],
        "part": alarm.part_rule.value,
        "frames": tally.frames,
        "judged": tally.judged,
        "rejected": tally.rejected,
        "invalid": tally.invalid,
        "dropped": camera.dropped,
        "alarms": [_alarm(event) for event in alarm.active],
        "last": None if last is None else {"verdict": last.verdict.value, "frame": last.frame},
    }
    if camera.stored is not None:
        record["guarantee"] = guarantee(camera.stored)
    if alarm.part_rule is PartRule.STREAM:
        record["rule"] = asdict(alarm.rule)
    check = alarm.rate_check
    if check is not None:
        checked = check.threshold in (None, camera.inspector.thresholds.image)
        record["rate_check"] = check.summary().as_json() | {"active": checked}
    if camera.trigger is not None:
        record["triggers"] = asdict(camera.trigger.counts)
    if camera.error is not None:
        record["error"] = str(camera.error)
    return record


def _alarm(event: AlarmEvent) -> dict[str, str]:
    reason = {"reason": event.reason} if event.reason else {}
    return {"id": event.id, "kind": event.kind.value} | reason


def guarantee(stored: Threshold) -> dict[str, Any]:
    """Return what a stored threshold guarantees, and on what grounds."""
    record: dict[str, Any] = {
        "threshold": stored.image,
        "rate": stored.false_alarm_rate,
        "confidence": stored.confidence,
        "by": stored.by,
        "parts": stored.parts or stored.images,
        "estimate": stored.folds > 0,
        "assumed": stored.is_assumed,
    }
    if stored.escapes is not None:
        escapes = stored.escapes
        record["escapes"] = {
            "count": escapes.count,
            "images": escapes.images,
            "kind": escapes.kind,
        }
    if stored.reference is not None:
        record["scores"] = list(stored.reference.score)
    return record


def condition(camera: Camera) -> str:
    """Return `paused`, `ended`, `fault`, `waiting` (no frame yet) or `judging`."""
    if camera.pause.on:
        return "paused"
    if camera.error is not None:
        return "ended"
    if camera.alarm.has_fault:
        return "fault"
    return "judging" if camera.tally.frames else "waiting"
