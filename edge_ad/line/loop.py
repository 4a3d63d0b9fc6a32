"""Run the loop from camera to alarm:

source -> inspector (gate, preprocess, engine, threshold) -> inspection -> alarm -> outlets
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable
from dataclasses import replace

from edge_ad.clock import now_utc
from edge_ad.frame import Grab
from edge_ad.inspection import Verdict
from edge_ad.line.alarm import Alarm, PartRule
from edge_ad.line.inspector import InFlight, InspectedFrame, Inspector
from edge_ad.line.tally import Tally
from edge_ad.outlet.base import Outlets
from edge_ad.source import Source


def watch(
    source: Source,
    inspector: Inspector,
    alarm: Alarm,
    outlets: Outlets,
    tally: Tally,
    stop: threading.Event,
    next_part: Callable[[], int],
) -> None:
    """Inspect the frames of a source until it ends, the tally is full or `stop` is set."""
    for inspected in inspect_all(source, inspector):
        record(inspected, alarm, outlets, tally, next_part())
        source.recorded(inspected.inspection.frame)
        if not source.live:
            outlets.wait_for_room()
        if stop.is_set() or tally.is_full():
            return


def record(
    inspected: InspectedFrame, alarm: Alarm, outlets: Outlets, tally: Tally, part: int
) -> None:
    """Count an inspected frame, and send it and the alarm events it causes to the outlets."""
    inspection = replace(
        inspected.inspection, part=part, time_utc=now_utc(), latency_s=inspected.latency_s
    )
    tally.count(inspected)
    outlets.inspected(inspection, inspected.evidence)
    if alarm.part_rule is PartRule.FRAME and inspection.verdict is Verdict.REJECT:
        outlets.rejected(inspection, inspected.evidence)
    for event in alarm.update(inspection):
        tally.count_alarm(event)
        outlets.alarmed(event, inspected.evidence)


def inspect_all(
    grabs: Iterable[Grab], inspector: Inspector
) -> Generator[InspectedFrame, None, None]:
    """Yield every grab inspected, in order.

    With an overlapping engine, a frame is preprocessed and uploaded during the inference of the one
    before it. Closing the generator early still collects what is in flight.
    """
    in_flight: list[InFlight] = []
    try:
        for grab in grabs:
            in_flight.append(inspector.begin(grab))
            while len(in_flight) > inspector.overlaps:
                yield inspector.finish(in_flight.pop(0))
        while in_flight:
            yield inspector.finish(in_flight.pop(0))
    finally:
        for frame in in_flight:
            inspector.finish(frame)
