"""What several threads record of one camera comes to its outlets in order."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest

from edge_ad.event import AlarmEvent
from edge_ad.inspection import Inspection, Verdict
from edge_ad.line.alarm import Alarm, AlarmRule
from edge_ad.line.inspector import InspectedFrame
from edge_ad.line.recorder import Recorder
from edge_ad.line.tally import Tally
from edge_ad.outlet.base import Evidence, Outlet, Outlets
from tests.beside import Beside


class Log(Outlet):
    """Notes parts and alarm events in the order in which they come."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def inspected(self, inspection: Inspection, evidence: Evidence) -> None:
        self.lines.append(f"part {inspection.part} {inspection.verdict.value}")

    def alarmed(self, event: AlarmEvent, evidence: Evidence) -> None:
        self.lines.append(f"{event.kind.value} {event.event.value}")


def result(verdict: Verdict) -> Inspection:
    return Inspection(verdict, 0.9, 0.5, camera="top")


def record(recorder: Recorder, verdict: Verdict) -> None:
    recorder.record(InspectedFrame(result(verdict), Evidence()))


def log_of(second: Callable[[Recorder], None], *, at_once: bool) -> list[str]:
    """Return what outlets receive of a rejected part and a second call."""

    def next_part() -> int:
        part = next(numbers)
        if at_once:
            beside()
        return part

    log, numbers = Log(), count(1)
    alarm = Alarm(AlarmRule(1, 1), lambda: "a")
    recorder = Recorder(alarm, Outlets([log]), Tally(), next_part)
    beside = Beside(lambda: second(recorder))
    record(recorder, Verdict.REJECT)
    if not at_once:
        beside()
    beside.result()
    return log.lines


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(lambda recorder: record(recorder, Verdict.PASS), id="another frame"),
        pytest.param(lambda recorder: recorder.missed(result(Verdict.INVALID), 0.0), id="a miss"),
        pytest.param(lambda recorder: recorder.ended(result(Verdict.INVALID)), id="the end"),
        pytest.param(lambda recorder: recorder.paused(), id="a pause"),
    ],
)
def test_what_comes_beside_a_frame_is_recorded_after_it(
    second: Callable[[Recorder], None],
) -> None:
    lines = log_of(second, at_once=True)
    assert lines[:2] == ["part 1 REJECT", "defect new"] and len(lines) > 2
    assert lines == log_of(second, at_once=False)
