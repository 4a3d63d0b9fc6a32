"""What clients read of one camera, and how far they may trust it: the fail-safe rule.

States are those of OPC 40100-1 (machine vision), section 8.2; qualities are status codes of OPC
10000-4. Pass and fail are never bad: a bad value is null, and a reader that ignores the status
would keep what it read last. They are false instead.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any


class VisionState(str, Enum):
    """What a camera does."""

    PREOPERATIONAL = "Preoperational"  # no verdict yet
    OPERATIONAL = "Operational"  # the last verdict is PASS or REJECT, and fresh
    ERROR = "Error"  # a camera fault, a pause, an INVALID frame, or no verdict for too long
    HALTED = "Halted"  # the line has stopped or died


class Quality(str, Enum):
    """Status codes in use, by their names."""

    GOOD = "Good"
    INITIAL = "UncertainInitialValue"
    LAST = "UncertainLastUsableValue"
    LOST_LAST = "UncertainNoCommunicationLastUsableValue"
    WAITING = "BadWaitingForInitialData"
    LOST = "BadNoCommunication"


Values = dict[str, tuple[Any, Quality]]

# (state) -> quality of pass and fail, and of everything else about the result
_QUALITIES = {
    VisionState.OPERATIONAL: (Quality.GOOD, Quality.GOOD),
    VisionState.PREOPERATIONAL: (Quality.INITIAL, Quality.WAITING),
    VisionState.ERROR: (Quality.LAST, Quality.LAST),
    VisionState.HALTED: (Quality.LOST_LAST, Quality.LOST),
}
_COUNTERS = {"PASS": "Passed", "REJECT": "Rejected", "INVALID": "Invalid"}


@dataclass
class ShownCamera:
    """The last result and faults of one camera. Times are of the monotonic clock, in seconds."""

    name: str
    result: Mapping[str, Any] | None = None
    at_s: float = -math.inf
    counts: Mapping[str, int] = field(default_factory=dict)
    fault: str = ""  # why the camera's fault stands
    paused: bool = False
    beats: int = 0  # seconds in which it was operational

    def state(self, now_s: float, stale_s: float, *, alive: bool) -> tuple[VisionState, str]:
        """Return the state and, unless it is operational, why."""
        if not alive:
            return VisionState.HALTED, "the line has stopped or cannot be reached"
        if self.paused:
            return VisionState.ERROR, "the camera is paused"
        if self.fault:
            return VisionState.ERROR, self.fault
        if self.result is None:
            return VisionState.PREOPERATIONAL, "no verdict yet"
        if now_s - self.at_s > stale_s:
            return VisionState.ERROR, f"no verdict for more than {stale_s:g} s"
        if self.result["verdict"] not in ("PASS", "REJECT"):
            return VisionState.ERROR, str(self.result.get("reason") or "the frame was INVALID")
        return VisionState.OPERATIONAL, ""

    def values(self, now_s: float, stale_s: float, *, alive: bool) -> Values:
        """Return value and quality of every variable of the camera but those of its alarms."""
        state, reason = self.state(now_s, stale_s, alive=alive)
        values: Values = {
            "VisionState": (state.value, Quality.GOOD),
            "Reason": (reason, Quality.GOOD),
            "Heartbeat": (self.beats & 0xFFFFFFFF, Quality.GOOD),
        }
        for verdict, name in _COUNTERS.items():
            values[f"Counters.{name}"] = (self.counts.get(verdict, 0), Quality.GOOD)
        pass_quality, quality = _QUALITIES[state]
        verdict = self.result["verdict"] if self.result and state is VisionState.OPERATIONAL else ""
        values["Result.Pass"] = (verdict == "PASS", pass_quality)
        values["Result.Fail"] = (verdict == "REJECT", pass_quality)
        for name, value in result_values(self.result).items():
            values[f"Result.{name}"] = (value, quality)
        return values


def result_values(result: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the variables of a result but Pass and Fail; None for all without a result."""
    given = result or {}
    return {
        "ResultId": given.get("result_id"),
        "PartNumber": given.get("part"),
        "CreationTime": datetime.fromisoformat(given["time_utc"]) if given else None,
        "IsSimulated": given.get("test", False) if given else None,
        "ProcessingTime": 1e3 * given.get("latency_s", 0.0) if given else None,
        "Verdict": given.get("verdict"),
        "Score": _number(given.get("score")) if given else None,
        "Threshold": _number(given.get("threshold")) if given else None,
        "Regions": json.dumps(given.get("regions", [])) if given else None,
        "Frame": given.get("frame"),
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value
