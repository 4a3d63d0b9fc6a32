"""Record the inspections of one camera: count them, and tell outlets what they cause."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from edge_ad.clock import now_utc
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.alarm import Alarm, PartRule
from edge_ad.line.inspector import InspectedFrame
from edge_ad.line.pause import Pause
from edge_ad.line.tally import Tally
from edge_ad.line.trigger import Trigger
from edge_ad.outlet.base import Evidence, Outlets
from edge_ad.source import Source


@dataclass
class Recorder:
    """Gives every inspection of one camera its part number and time, and records it.

    Any thread may call it. With a `trigger`, a verdict that it no longer waits for is dropped;
    without, one of a live camera that comes during a `pause` is. `dropped_parts` returns the part
    for frames dropped since its last call, where that is one.
    """

    alarm: Alarm
    outlets: Outlets
    tally: Tally
    next_part: Callable[[], int]
    trigger: Trigger | None = None
    pause: Pause = field(default_factory=Pause)
    dropped_parts: Callable[[], Inspection | None] = lambda: None
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def judged(self, inspected: InspectedFrame, *, free_running: bool = False) -> None:
        """Record a frame that the inspector has judged."""
        if self.trigger is None or self.trigger.served():
            self.record(inspected, free_running=free_running)
        if (dropped := self.dropped_parts()) is not None:
            self.missed(dropped, 0.0)

    def is_free_running(self, source: Source) -> bool:
        """Return whether frames come unasked: nothing is lost by passing them over."""
        return source.live and self.trigger is None

    def paused(self) -> None:
        """End the alarms of a camera that has just been paused."""
        with self._lock:
            last = self.tally.last
            for event in self.alarm.pause(last.frame if last else 0):
                self.outlets.alarmed(event, Evidence())

    def record(self, inspected: InspectedFrame, *, free_running: bool = False) -> None:
        """Count a frame, and send it and the alarm events it causes to the outlets.

        A frame of a `free_running` camera that is paused by now is dropped.
        """
        with self._lock:
            if free_running and self.pause.on:
                return
            inspection = self._send(inspected)
            for event in self.alarm.update(inspection):
                self.tally.count_alarm(event)
                self.outlets.alarmed(event, inspected.evidence)

    def missed(self, inspection: Inspection, since_s: float) -> None:
        """Record the part of a trigger that was not served: the camera may be well.

        The trigger was fired `since_s` ago.
        """
        with self._lock:
            self._send(InspectedFrame(inspection, Evidence()), since_s)

    def ended(self, inspection: Inspection) -> None:
        """Record the fault of a camera that ends."""
        with self._lock:
            for event in self.alarm.camera_ended(self._numbered(inspection, 0.0)):
                self.tally.count_alarm(event)
                self.outlets.alarmed(event, Evidence())

    def _send(self, inspected: InspectedFrame, latency_s: float | None = None) -> Inspection:
        latency_s = inspected.latency_s if latency_s is None else latency_s
        inspection = self._numbered(inspected.inspection, latency_s)
        self.tally.count(inspected)
        self.outlets.inspected(inspection, inspected.evidence)
        if self.alarm.part_rule is PartRule.FRAME and inspection.verdict is Verdict.REJECT:
            self.outlets.rejected(inspection, inspected.evidence)
        return inspection

    def _numbered(self, inspection: Inspection, latency_s: float) -> Inspection:
        return replace(inspection, part=self.next_part(), time_utc=now_utc(), latency_s=latency_s)
