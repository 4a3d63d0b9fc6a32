"""Run the loop from camera to alarm:

source -> inspector (gate, preprocess, engine, threshold) -> inspection -> alarm -> outlets
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable

from edge_ad.frame import Grab
from edge_ad.line.inspector import InFlight, InspectedFrame, Inspector
from edge_ad.line.recorder import Recorder
from edge_ad.source import Source


def watch(source: Source, inspector: Inspector, recorder: Recorder, stop: threading.Event) -> None:
    """Inspect the frames of a source until it ends, the tally is full or `stop` is set.

    During a pause, frames of a free-running camera are passed over, files wait, and triggers are
    not served.
    """
    pause, tally = recorder.pause, recorder.tally
    grabs, free_running = tally.watched(source), recorder.is_free_running(source)
    for inspected in inspect_all(pause.passing(grabs) if free_running else grabs, inspector):
        if not source.live and pause.on:
            tally.under_way_since = None  # it waits for a person
            if not pause.wait_resumed(stop):
                return
        recorder.judged(inspected, free_running=free_running)
        source.recorded(inspected.inspection.frame)
        if not source.live:
            recorder.outlets.wait_for_room()
        if stop.is_set() or recorder.tally.is_full():
            return


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
