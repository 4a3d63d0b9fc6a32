"""When a rejector is active: pulses and holds, later by the way from the camera.

Pure rules without a clock.
"""

from __future__ import annotations

import bisect


class PulseSchedule:
    """Keeps several parts between camera and rejector apart by time; overlapping pulses are one.

    Times are seconds on one clock. A part that is at the camera at t is at the rejector at
    t + `delay_s`, where a pulse lasts `pulse_s`. A pulse that was not asked for while it lasted is
    not lost: it comes at the next call, and `late_s` is by how much the latest of them was late.
    """

    def __init__(self, delay_s: float, pulse_s: float) -> None:
        self._delay_s, self._pulse_s = delay_s, pulse_s
        self._spans: list[tuple[float, float]] = []  # apart from each other, in order
        self._holds: dict[str, float] = {}  # begin, without an end so far
        self._active_s = float("-inf")  # when `active` was true last
        self.late_s = 0.0

    def pulse(self, moment_s: float, now_s: float) -> float:
        """Add the pulse for a part, and return by how many seconds it is too late, 0 if in time."""
        due_s = moment_s + self._delay_s
        begin_s = max(due_s, now_s)
        self._add(begin_s, begin_s + self._pulse_s)
        return begin_s - due_s

    def pulse_between(self, first_s: float, last_s: float, now_s: float) -> None:
        """Add a pulse for parts that were at the camera at unknown times from first to last."""
        begin_s = max(first_s + self._delay_s, now_s)
        self._add(begin_s, max(last_s + self._delay_s, begin_s) + self._pulse_s)

    def hold(self, key: str, moment_s: float) -> None:
        """Be active from now on, until `release` with this key; a second call changes nothing."""
        self._holds.setdefault(key, moment_s + self._delay_s)

    def release(self, key: str, moment_s: float) -> None:
        """End a hold, which lasts for a pulse at least."""
        if key in self._holds:
            begin_s = self._holds.pop(key)
            self._add(begin_s, max(moment_s + self._delay_s, begin_s + self._pulse_s))

    def active(self, now_s: float) -> bool:
        """Return whether the rejector is active; what is over at `now_s` is forgotten."""
        while self._spans and self._spans[0][1] <= now_s:
            begin_s, _ = self._spans.pop(0)
            if self._active_s < begin_s:
                self.late_s = max(self.late_s, now_s - begin_s)
                self._add(now_s, now_s + self._pulse_s)
        held = any(begin_s <= now_s for begin_s in self._holds.values())
        active = held or bool(self._spans and self._spans[0][0] <= now_s)
        self._active_s = now_s if active else self._active_s
        return active

    def next_change_s(self, now_s: float) -> float:
        """Return when `active` may change next, infinity when only a call can change it."""
        times = [time_s for span in self._spans for time_s in span]
        later = [time_s for time_s in (*times, *self._holds.values()) if time_s > now_s]
        return min(later, default=float("inf"))

    def last_end_s(self) -> float:
        """Return when the last pulse ends, minus infinity when there is none."""
        return self._spans[-1][1] if self._spans else float("-inf")

    def _add(self, begin_s: float, end_s: float) -> None:
        first = bisect.bisect_left(self._spans, begin_s, key=lambda span: span[1])
        last = bisect.bisect_right(self._spans, end_s, key=lambda span: span[0])
        if first < last:
            begin_s = min(begin_s, self._spans[first][0])
            end_s = max(end_s, self._spans[last - 1][1])
        self._spans[first:last] = [(begin_s, end_s)]
