"""What an alarm says: one id from `new` over `update` to `end`."""

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
    """What is wrong: the part, or the camera that should show it."""

    DEFECT = "defect"
    CAMERA_FAULT = "camera_fault"


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """One step of one alarm. Scores are NaN for a camera fault, whose `reason` says what it is.

    `frame` is where this step happened, `first_frame` where the alarm began, `peak_frame` where its
    highest score `peak_score` was seen; `regions` are those of the peak frame.
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
