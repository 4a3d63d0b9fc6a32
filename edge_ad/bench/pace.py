"""Measure latency at a fixed rate: frames arrive by the clock, whether the line is ready or not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_ad.frame import Frame

GIVE_UP_S = 5.0  # behind schedule: the rate is more than the line can take


@dataclass(frozen=True, slots=True)
class Clock:
    """The time in seconds and how to wait; tests give their own."""

    now: Callable[[], float] = time.perf_counter
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True)
class PacedRun:
    """Seconds from each frame's scheduled arrival to its verdict, and how late the last began.

    A frame that had to wait for the one before it counts its waiting: leaving that out would hide
    every stall (coordinated omission).
    """

    rate_hz: float
    latency_s: tuple[float, ...]
    behind_s: float

    @property
    def kept_up(self) -> bool:
        """Whether the line kept the rate: it did not end more than five frames behind."""
        return self.behind_s <= 5 / self.rate_hz


def run_at_rate(
    work: Callable[[Frame], object],
    frames: Sequence[Frame],
    rate_hz: float,
    duration_s: float,
    clock: Clock | None = None,
) -> PacedRun:
    """Give `work` a frame at every 1 / rate seconds for a time, cycling over `frames`."""
    clock = clock or Clock()
    began, latency, behind_s = clock.now(), list[float](), 0.0
    for number in range(max(1, round(rate_hz * duration_s))):
        arrival = began + number / rate_hz
        clock.sleep(max(0.0, arrival - clock.now()))
        behind_s = clock.now() - arrival
        if behind_s > GIVE_UP_S:
            break
        work(frames[number % len(frames)])
        latency.append(clock.now() - arrival)
    return PacedRun(rate_hz, tuple(latency), behind_s)
