"""What the OPC UA server has to hear: newest results, rejects and alarms, within bounds."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edge_ad.event import AlarmEvent, AlarmStep
from edge_ad.inspection import Inspection, Verdict
from edge_ad.outlet.records import alarm_record, inspection_record

Message = dict[str, Any]
_KEPT = 1_000  # rejects, and steps of alarms, that wait for the server


@dataclass(frozen=True, slots=True)
class _Result:
    inspection: Inspection
    counts: dict[str, int]
    at_s: float
    test: bool = False


@dataclass
class _Alarm:
    event: AlarmEvent
    ack: dict[str, str] = field(default_factory=dict)

    def message(self) -> Message:
        return {"alarm": {**alarm_record(self.event), **self.ack}}


class Feed:
    """Keeps what waits for the server, and what a server that starts again must know.

    Of passed and invalid parts, the newest of each camera waits; of rejected ones and of alarms,
    all, up to a thousand each. `dropped` counts the oldest, which were given up. `began` begins the
    ids of results.
    """

    def __init__(self, began: str) -> None:
        self._began = began
        self._changed = threading.Condition()
        self._names: list[str] = []
        self._names_waits = False
        self._paused: dict[str, bool] = {}
        self._pauses: dict[str, bool] = {}  # that wait: whether there was one
        self._counts: dict[str, Counter[str]] = {}
        self._newest: dict[str, _Result] = {}  # of each camera, for a new server
        self._waiting: dict[str, _Result] = {}
        self._rejects: deque[_Result] = deque()
        self._alarms: dict[tuple[str, str], _Alarm] = {}  # of each camera and kind
        self._steps: deque[_Alarm] = deque()
        self._dropped_steps = False
        self.dropped = 0

    def cameras(self, names: Sequence[str]) -> None:
        """Take the names of the line's cameras."""
        with self._changed:
            self._names, self._names_waits = list(names), True
            self._changed.notify()

    def result(self, inspection: Inspection, *, test: bool = False) -> None:
        """Take the result of one part, or of a test."""
        with self._changed:
            counts = self._counts.setdefault(inspection.camera, Counter())
            counts[inspection.verdict.value] += 1
            result = _Result(inspection, dict(counts), time.monotonic(), test)
            self._newest[inspection.camera] = result
            if inspection.verdict is Verdict.REJECT:
                self._waiting.pop(inspection.camera, None)
                self._rejects.append(result)
                self.dropped += _shorten(self._rejects)
            else:
                self._waiting[inspection.camera] = result
            self._changed.notify()

    def alarm(self, event: AlarmEvent) -> None:
        """Take a step of an alarm."""
        with self._changed:
            key = (event.camera, event.kind.value)
            before = self._alarms.get(key)
            ack = before.ack if before and before.event.id == event.id else {}
            self._alarms[key] = alarm = _Alarm(event, ack)
            if event.event is AlarmStep.UPDATE and self._replaces_last(event):
                self._steps[-1] = alarm
            else:
                self._steps.append(alarm)
            if dropped := _shorten(self._steps):
                self.dropped += dropped
                self._dropped_steps = True
            self._changed.notify()

    def paused(self, camera: str, *, paused: bool) -> None:
        """Take a pause of a camera or its end; what was judged before holds no more."""
        with self._changed:
            self._paused[camera] = paused
            self._pauses[camera] = self._pauses.get(camera, False) or paused
            self._newest.pop(camera, None)
            self._waiting.pop(camera, None)
            self._changed.notify()

    def acknowledged(self, alarm: str, who: str, comment: str) -> None:
        """Note who has acknowledged an alarm, for a server that starts again."""
        with self._changed:
            for each in self._alarms.values():
                if each.event.id == alarm:
                    each.ack = {"acked_by": who, "comment": comment}

    def everything(self) -> list[Message]:
        """Return what a new server must know; nothing waits then."""
        with self._changed:
            self._names_waits = self._dropped_steps = False
            self._pauses.clear()
            self._waiting.clear()
            self._rejects.clear()
            self._steps.clear()
            return [
                {"cameras": self._names},
                *(_pause(camera, paused, paused) for camera, paused in self._paused.items()),
                *(self._message(result) for result in self._newest.values()),
                *(alarm.message() for alarm in self._alarms.values()),
            ]

    def take(self, timeout_s: float) -> list[Message]:
        """Wait until something waits, and return it in order; nothing after `timeout_s`."""
        with self._changed:
            self._changed.wait_for(self._has_any, timeout_s)
            names, self._names_waits = self._names if self._names_waits else [], False
            pauses = [
                _pause(camera, self._paused[camera], forget)
                for camera, forget in self._pauses.items()
            ]
            self._pauses = {}
            rejects, self._rejects = list(self._rejects), deque()
            newest, self._waiting = list(self._waiting.values()), {}
            alarms, self._steps = list(self._steps), deque()
            if self._dropped_steps:  # what has not been dropped may lack the end of an alarm
                alarms, self._dropped_steps = list(self._alarms.values()), False
        messages = [self._message(result) for result in [*rejects, *newest]]
        cameras = [{"cameras": names}] if names else []
        return [*cameras, *pauses, *messages, *(alarm.message() for alarm in alarms)]

    def _has_any(self) -> bool:
        return bool(
            self._names_waits or self._pauses or self._rejects or self._waiting or self._steps
        )

    def _replaces_last(self, event: AlarmEvent) -> bool:
        last = self._steps[-1].event if self._steps else None
        return last is not None and last.id == event.id and last.event is AlarmStep.UPDATE

    def _message(self, result: _Result) -> Message:
        inspection = result.inspection
        record = inspection_record(inspection)
        record["result_id"] = f"{self._began}-{inspection.camera}-{inspection.part:08d}"
        record["latency_s"] = inspection.latency_s
        record["test"] = result.test
        return {"result": record, "counts": result.counts, "at_s": result.at_s}


def _pause(camera: str, paused: bool, forget: bool) -> Message:  # noqa: FBT001
    return {"paused": {"camera": camera, "paused": paused, "forget": forget}}


def _shorten(queue: deque[Any]) -> int:
    """Drop the oldest entries beyond the bound and return how many."""
    dropped = max(0, len(queue) - _KEPT)
    for _ in range(dropped):
        queue.popleft()
    return dropped
