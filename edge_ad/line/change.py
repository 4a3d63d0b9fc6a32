"""Test whether a quantity has changed against a reference: a CUSUM over minutes.

Each minute's median becomes a normal score: the place that it has among the reference's values, as
a quantile of the normal distribution. What exceeds an allowance is summed up, for rises and for
falls; a sum beyond the limit is a change, and began where that sum last was 0 (Page, "Continuous
inspection schemes", Biometrika 1954).

False alarms: where minutes vary independently and not more than the reference's values do, one is
expected in 20 years of minutes (Siegmund, "Sequential Analysis", 1985, eq. 2.56). Medians vary less
than single values, so that it is seldomer in truth. The allowance covers the error of a reference
of few images, too.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist, median
from typing import Any

import numpy as np

from edge_ad.quantiles import quantiles

LIMIT = 15.0
_ALLOWANCE = 0.5  # standard deviations: what is no change
_REFERENCE_ERRORS = 2.0  # standard errors of the reference's centre, added to it
_MOST = 3.0  # a normal score; no single minute decides
_END_MINUTES = 10  # whose median is near the reference again
_NOW_MINUTES = 60
FEWEST = 20  # values of a reference


class ChangeStep(str, Enum):
    """A change is found, or over."""

    NEW = "new"
    END = "end"


@dataclass(frozen=True)
class Reference:
    """Evenly spaced quantiles of a quantity, from the least to the greatest of `count` values.

    Differences from the median of at most `tolerance` are none.
    """

    quantiles: tuple[float, ...]
    count: int
    tolerance: float = 0.0

    @property
    def centre(self) -> float:
        """The median."""
        return median(self.quantiles)

    def normal_score(self, value: float) -> float:
        """Return the value's place among the reference's, in standard deviations, at most 3."""
        distance = value - self.centre
        near = self.centre + math.copysign(max(0.0, abs(distance) - self.tolerance), distance)
        low, high = self.quantiles[0], self.quantiles[-1]
        if not low - (high - low) / 2 <= near <= high + (high - low) / 2:
            return math.copysign(_MOST, distance)
        outermost = 1 / (self.count + 1)
        share = min(max(_share_below(self.quantiles, near), outermost), 1 - outermost)
        return max(-_MOST, min(NormalDist().inv_cdf(share), _MOST))


def reference_from(values: Sequence[float], tolerance: float = 0.0) -> Reference:
    """Return the reference of at least `FEWEST` values."""
    steps = [step / 20 for step in range(21)]
    return Reference(
        tuple(float(f"{q:.6g}") for q in quantiles(values, steps)), len(values), tolerance
    )


def _share_below(ordered: Sequence[float], value: float) -> float:
    """Return the share of the reference below a value; half of those that equal it count."""
    left = int(np.searchsorted(ordered, value, "left"))
    right = int(np.searchsorted(ordered, value, "right"))
    last = len(ordered) - 1
    if right > left:
        return (left + right - 1) / 2 / last
    if left in (0, len(ordered)):
        return float(left > 0)
    before, after = ordered[left - 1], ordered[left]
    return (left - 1 + (value - before) / (after - before)) / last


class ChangeTest:
    """The running test of one quantity; `since` is the minute that a change began with, or empty.

    `state` is all of it as JSON values, which `restore` takes after a restart.
    """

    def __init__(self, reference: Reference, limit: float = LIMIT) -> None:
        self.reference = reference
        self.since = ""
        self._limit = limit
        self._allowance = _ALLOWANCE + _REFERENCE_ERRORS / math.sqrt(reference.count)
        self._rise, self._fall = _Sum(), _Sum()
        self._recent: deque[float] = deque(maxlen=_NOW_MINUTES)

    @property
    def now(self) -> float:
        """The median of the minutes since the change, of the last hour without one."""
        return median(self._recent) if self._recent else math.nan

    def update(self, value: float, minute: str) -> ChangeStep | None:
        """Take one minute's median and return the step that it causes."""
        score = self.reference.normal_score(value)
        self._recent.append(value)
        if self.since:
            return self._check_end()
        for direction, total in ((1, self._rise), (-1, self._fall)):
            total.add(direction * score - self._allowance, minute)
            if total.value > self._limit:
                self.since = total.since
                self._keep_recent(total.minutes)
                return ChangeStep.NEW
        return None

    def state(self) -> dict[str, Any]:
        """Return the test's state as JSON values."""
        sums = [(total.value, total.since, total.minutes) for total in (self._rise, self._fall)]
        return {"since": self.since, "sums": sums, "recent": list(self._recent)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where a test that returned this state ended."""
        self.since = state["since"]
        self._rise, self._fall = (_Sum(*total) for total in state["sums"])
        self._recent.extend(state["recent"])

    def _check_end(self) -> ChangeStep | None:
        newest = list(self._recent)[-_END_MINUTES:]
        scores = [abs(self.reference.normal_score(value)) for value in newest]
        if len(newest) < _END_MINUTES or median(scores) > self._allowance:
            return None
        self.since = ""
        self._rise, self._fall = _Sum(), _Sum()
        self._keep_recent(_END_MINUTES)
        return ChangeStep.END

    def _keep_recent(self, count: int) -> None:
        newest = list(self._recent)[-count:]
        self._recent.clear()
        self._recent.extend(newest)


@dataclass
class _Sum:
    """A sum that is never below 0, and the minutes since it last was."""

    value: float = 0.0
    since: str = ""
    minutes: int = 0

    def add(self, amount: float, minute: str) -> None:
        if self.value == 0:
            self.since, self.minutes = minute, 0
        self.value = max(0.0, self.value + amount)
        self.minutes += 1
