"""Waiting for conditions, and time that passes only when a test lets it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

LIMIT_S = 90  # of a wait that would never end; no test reaches it on any machine


def wait_until(condition: Callable[[], object]) -> None:
    """Wait until the condition holds, which another thread or process brings about."""
    end_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < end_s, "the condition did not become true"
        time.sleep(0.002)


class FakeClock:
    """Stands in for the module `time`; `advance` moves the time and wakes those that sleep."""

    def __init__(self) -> None:
        self._now_s = 0.0
        self._asleep_until: list[float] = []
        self._changed = threading.Condition()

    def monotonic(self) -> float:
        return self._now_s

    perf_counter = monotonic

    def sleep(self, seconds: float) -> None:
        """Block until the time has moved by `seconds`."""
        with self._changed:
            until_s = self._now_s + seconds
            self._asleep_until.append(until_s)
            self._changed.notify_all()
            assert self._changed.wait_for(lambda: self._now_s >= until_s, LIMIT_S), "slept for ever"
            self._asleep_until.remove(until_s)

    def advance(self, seconds: float) -> None:
        with self._changed:
            self._now_s += seconds
            self._changed.notify_all()

    def wait_for_sleeper(self) -> None:
        """Wait until another thread sleeps, with everything done that was due before."""
        with self._changed:
            asleep = self._changed.wait_for(
                lambda: any(until_s > self._now_s for until_s in self._asleep_until), LIMIT_S
            )
            assert asleep, "nobody sleeps"
