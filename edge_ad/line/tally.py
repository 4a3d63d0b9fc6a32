"""Counts and times of one camera's run."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.frame import Grab
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.inspector import InspectedFrame

_TIMES_KEPT = 100_000  # per camera; percentiles of a year's run are those of its last hour


@dataclass
class Tally:
    """Counts of frames, verdicts and alarms so far. A `frame_limit` of 0 means no limit.

    `under_way_since` is when the frame came (monotonic) that is being judged and recorded, None
    while the camera is waited for.
    """

    frame_limit: int = 0
    frames: int = 0
    invalid: int = 0
    rejected: int = 0
    alarms: int = 0
    camera_faults: int = 0
    last: Inspection | None = None
    under_way_since: float | None = None
    latency_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))
    engine_s: deque[float] = field(default_factory=lambda: deque(maxlen=_TIMES_KEPT))

    def watched(self, grabs: Iterable[Grab]) -> Iterator[Grab]:
        """Yield grabs, and note when each one is taken and when the next is asked for."""
        for grab in grabs:
            self.under_way_since = time.monotonic()
            yield grab
            self.under_way_since = None

    def count(self, inspected: InspectedFrame) -> None:
        """Add one frame, and its times if it reached the engine."""
        self.frames += 1
        self.last = inspected.inspection
        if inspected.inspection.verdict is Verdict.INVALID:
            self.invalid += 1
        self.rejected += inspected.inspection.verdict is Verdict.REJECT
        if inspected.latency_s:
            self.latency_s.append(inspected.latency_s)
            self.engine_s.append(inspected.engine_s)

    def count_alarm(self, event: AlarmEvent) -> None:
        """Add an alarm when `event` is its first step."""
        if event.event is AlarmStep.NEW and event.kind is AlarmKind.DEFECT:
            self.alarms += 1
        elif event.event is AlarmStep.NEW and event.kind is AlarmKind.CAMERA_FAULT:
            self.camera_faults += 1

    def is_full(self) -> bool:
        """Return whether the frame limit is reached."""
        return 0 < self.frame_limit <= self.frames

    @property
    def judged(self) -> int:
        """Frames with a verdict of PASS or REJECT."""
        return self.frames - self.invalid
