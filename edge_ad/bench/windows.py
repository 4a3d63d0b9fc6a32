"""Measure in windows until three in a row agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

AGREEING = 3
AT_MOST = 10
TOLERANCE = 0.1  # of their mean, for the rate and for the median time (as NVIDIA's perf_analyzer)


@dataclass(frozen=True, slots=True)
class Windows:
    """Seconds of every call, by window. `stable` says whether the last three agree."""

    calls: tuple[tuple[float, ...], ...]
    stable: bool

    @property
    def last(self) -> list[float]:
        """The calls of the last three windows: those that count."""
        return [seconds for window in self.calls[-AGREEING:] for seconds in window]

    def as_json(self) -> list[dict[str, float]]:
        """Return calls a second and the median in milliseconds of each window."""
        return [
            {"calls_per_s": round(_rate(window), 3), "p50_ms": round(1e3 * median(window), 4)}
            for window in self.calls
        ]


def measure_windows(measure: Callable[[], Sequence[float]], at_most: int = AT_MOST) -> Windows:
    """Call `measure`, which returns the seconds of each call of a window, until three agree.

    Give up after `at_most` windows.
    """
    calls: list[tuple[float, ...]] = []
    while len(calls) < at_most:
        calls.append(tuple(measure()))
        if agree([_rate(window) for window in calls[-AGREEING:]]) and agree(
            [median(window) for window in calls[-AGREEING:]]
        ):
            return Windows(tuple(calls), stable=True)
    return Windows(tuple(calls), stable=False)


def agree(values: Sequence[float]) -> bool:
    """Return whether there are three values, each within 10 % of their mean."""
    mean = fmean(values)
    return len(values) >= AGREEING and all(
        abs(value - mean) <= TOLERANCE * mean for value in values
    )


def _rate(window: Sequence[float]) -> float:
    return len(window) / sum(window)
