"""Camera to alarm, the straight line:

source -> judge (gate, preprocess, engine, threshold) -> inspection -> alarm -> sinks
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterable
from dataclasses import dataclass, field

import numpy as np

from edge_ad.event import AlarmEvent, AlarmKind, AlarmStep
from edge_ad.frame import Grab
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.alarm import Alarm
from edge_ad.line.inspector import InFlight, InspectedFrame, Inspector
from edge_ad.outlet.base import Outlets
from edge_ad.source import Source

_REMEMBERED = 100_000  # latencies; percentiles of a year's run are those of its last hour


def watch(
    source: Source,
    judge: Inspector,
    alarm: Alarm,
    outlets: Outlets,
    tally: Tally,
    stop: threading.Event,
) -> None:
    """Judge what the source delivers until it ends or `stop` is set."""
    for judged in judged_in_turn(source, judge):
        record(judged, alarm, outlets, tally)
        if stop.is_set() or tally.is_full():
            return


def record(judged: InspectedFrame, alarm: Alarm, outlets: Outlets, tally: Tally) -> None:
    """Count one judged frame and tell of it, and of what it means for the alarm."""
    tally.count(judged)
    outlets.inspected(judged.inspection, judged.seen)
    for event in alarm.update(judged.inspection):
        tally.count_alarm(event)
        outlets.alarmed(event, judged.seen)


def judged_in_turn(
    source: Iterable[Grab], judge: Inspector
) -> Generator[InspectedFrame, None, None]:
    """Every grab judged, in order.

    With an engine that overlaps, a frame is prepared and uploaded while the one before it is
    inferred; what was begun and nobody waits for is still collected.
    """
    begun: list[InFlight] = []
    try:
        for grab in source:
            begun.append(judge.begin(grab))
            while len(begun) > judge.overlaps:
                yield judge.finish(begun.pop(0))
        while begun:
            yield judge.finish(begun.pop(0))
    finally:
        for one in begun:
            judge.finish(one)


@dataclass
class Tally:
    """What one camera's run has come to so far. `frames_wanted` 0 means no limit."""

    frames_wanted: int = 0
    frames: int = 0
    invalid: int = 0
    rejected: int = 0
    alarms: int = 0
    camera_faults: int = 0
    last: Inspection | None = None
    latency_s: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    engine_s: deque[float] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))

    def count(self, judged: InspectedFrame) -> None:
        self.frames += 1
        self.last = judged.inspection
        if judged.inspection.verdict is Verdict.INVALID:
            self.invalid += 1
            return
        self.rejected += judged.inspection.verdict is Verdict.REJECT
        self.latency_s.append(judged.latency_s)
        self.engine_s.append(judged.engine_s)

    def count_alarm(self, event: AlarmEvent) -> None:
        if event.event is AlarmStep.NEW and event.kind is AlarmKind.DEFECT:
            self.alarms += 1
        elif event.event is AlarmStep.NEW:
            self.camera_faults += 1

    def is_full(self) -> bool:
        return 0 < self.frames_wanted <= self.frames

    @property
    def judged(self) -> int:
        return self.frames - self.invalid


def percentiles_ms(seconds: deque[float]) -> dict[str, float] | None:
    """p50, p95, p99 and max in milliseconds; None when nothing was timed."""
    if not seconds:
        return None
    values = np.array(seconds) * 1e3
    names = ("p50", "p95", "p99", "max")
    return dict(
        zip(names, np.round(np.percentile(values, [50, 95, 99, 100]), 3).tolist(), strict=True)
    )
