"""Bursts: images taken in quick succession, then a pause for the next part."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

_PAUSE = 4.0  # times the longest gap within a burst; below, the gaps are one distribution
_LEAST_BURSTS = 3
_LARGEST = 50  # images of a usual burst; more is a recording with a break in it
_TIME = re.compile(
    r"(?<!\d)(20\d\d)[-_.]?(\d\d)[-_.]?(\d\d)[-_T .]?(\d\d)[-_.:]?(\d\d)[-_.:]?(\d\d)"
    r"(?:[-_.,](\d{3,6}))?Z?(?!\d)"
)


def time_in(name: str) -> float | None:
    """Return the date and time in a name, like `20261128_143501_123`, in seconds; None without."""
    match = _TIME.search(name)
    if match is None:
        return None
    try:
        date = datetime(*map(int, match.groups()[:6]), tzinfo=timezone.utc)  # type: ignore[misc,arg-type]
    except ValueError:  # no such day or hour
        return None
    return date.timestamp() + float(f"0.{match[7] or 0}")


def bursts(times_s: Sequence[float]) -> list[int] | None:
    """Return the burst number of each time, in seconds of any clock; None without clear bursts.

    Gaps between times must be of two kinds, far apart: short ones within and long ones between
    bursts.
    """
    times = np.asarray(times_s, np.float64)
    order = np.argsort(times, kind="stable")
    gaps = np.diff(times[order])
    if len(gaps) < _LEAST_BURSTS:
        return None
    limit = _limit(gaps)
    if limit is None:
        return None
    numbers = np.concatenate([[0], np.cumsum(gaps > limit)])
    sizes = np.bincount(numbers)
    if len(sizes) < _LEAST_BURSTS or not 2 <= np.median(sizes) <= _LARGEST:
        return None
    result = np.empty(len(times), int)
    result[order] = numbers
    return [int(number) for number in result]


def _limit(gaps: NDArray[np.float64]) -> float | None:
    """Return a gap between the short and the long ones, None when they are not apart."""
    step_s = 1.0 if (gaps == np.round(gaps)).all() else 0.01  # of the clock: a gap may be 0
    ordered = np.sort(np.maximum(gaps, step_s))
    ratios = ordered[1:] / ordered[:-1]
    split = int(ratios.argmax())
    if ratios[split] < _PAUSE:
        return None
    return float(np.sqrt(ordered[split] * ordered[split + 1]))
