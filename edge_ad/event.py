"""Alarm events: steps of an alarm, from `new` over `update` to `end`, under one id."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from edge_ad.inspection import Region


class AlarmStep(str, Enum):
    """A step in an alarm's life."""

    NEW = "new"
    UPDATE = "update"
    END = "end"


class AlarmKind(str, Enum):
    """The subject of an alarm: the part, the camera that should show it, or the threshold."""

    DEFECT = "defect"
    CAMERA_FAULT = "camera_fault"
    REJECT_RATE = "reject_rate"


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """One step of one alarm.

    A camera fault and a reject rate above the guaranteed one have NaN scores and a `reason`.

    `frame` is the frame of this step, `first_frame` that of the first step, `peak_frame` that of
    the highest score `peak_score`; `regions`, `peak_part`, and `file` for images, are those of the
    peak frame.
    `camera` is the camera's name; `part` and `time_utc` are number and time of this step's frame.
    `test` marks what `edge-ad outlet test` sends.
    """

    event: AlarmStep
    id: str
    kind: AlarmKind
    source: str
    frame: int
    first_frame: int
    peak_frame: int
    peak_score: float
    threshold: float
    regions: tuple[Region, ...] = ()
    reason: str = ""
    file: str = ""
    camera: str = ""
    part: int = 0
    peak_part: int = 0
    time_utc: str = ""
    test: bool = False
