"""The final record of a run: what all cameras did, and each of them."""

from __future__ import annotations

from dataclasses import asdict
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from edge_ad.images import NAMED
from edge_ad.outlet.base import Outlets
from edge_ad.quantiles import percentiles_ms

if TYPE_CHECKING:
    from edge_ad.line.camera import Camera


def summary(cameras: list[Camera], outlets: Outlets, elapsed_s: float) -> dict[str, Any]:
    """Return the final record: counts, rate and latency, also per camera if there are several."""
    total = _counts(cameras, elapsed_s)
    rules = {camera.alarm.part_rule for camera in cameras}
    if len(rules) == 1:
        total["part"] = rules.pop().value
    if triggers := [camera.trigger.counts for camera in cameras if camera.trigger]:
        total["triggers"] = {
            name: sum(getattr(counts, name) for counts in triggers)
            for name in ("fired", "served", "missed")
        }
    if len(cameras) == 1:
        total |= _rate(cameras[0])
    else:
        total["cameras"] = [
            {"camera": camera.name, "source": camera.source.name}
            | {"part": camera.alarm.part_rule.value}
            | ({"triggers": asdict(camera.trigger.counts)} if camera.trigger else {})
            | _counts([camera], elapsed_s)
            | _rate(camera)
            for camera in cameras
        ]
    if outlets.faults:
        total["outlet_faults"] = dict(outlets.faults)
    return {"type": "summary"} | total


def _rate(camera: Camera) -> dict[str, Any]:
    """Return the check of the reject rate, where a stored threshold guarantees one."""
    check = camera.alarm.rate_check
    return {"rate_check": check.summary().as_json()} if check else {}


def _counts(cameras: list[Camera], elapsed_s: float) -> dict[str, Any]:
    tallies = [camera.tally for camera in cameras]
    judged = sum(tally.judged for tally in tallies)
    left_out = [
        name if len(cameras) == 1 else f"{camera.source.name}/{name}"
        for camera in cameras
        for name in camera.source.left_out
    ]
    latency, engine = (
        [time_s for tally in tallies for time_s in times_of(tally).copy()]
        for times_of in (attrgetter("latency_s"), attrgetter("engine_s"))
    )
    return {
        "frames": sum(tally.frames for tally in tallies),
        "judged": judged,
        "dropped": sum(camera.dropped for camera in cameras),
        "invalid": sum(tally.invalid for tally in tallies),
        "left_out": len(left_out),
        "rejected": sum(tally.rejected for tally in tallies),
        "alarms": sum(tally.alarms for tally in tallies),
        "camera_faults": sum(tally.camera_faults for tally in tallies),
        "elapsed_s": round(elapsed_s, 3),
        "fps": round(judged / elapsed_s, 2) if elapsed_s > 0 else 0.0,
        "latency_ms": percentiles_ms(latency),
        "engine_ms": percentiles_ms(engine),
    } | ({"left_out_files": left_out[:NAMED]} if left_out else {})
