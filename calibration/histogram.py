"""The spread of one tensor's values over a stream of pictures, in bounded memory.

A histogram reaches from minus to plus a power of two and doubles its reach, by merging neighbouring
bins, when a larger value comes. Powers of two make the merge exact: the order of pictures, and
whether a set was seen in one pass or in several, does not change a single count.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError

SIDE = 4096  # bins for values of one sign
_EXACT = 1 << 23  # values counted at once: OpenCV counts in float32, exact up to 2**24

Counts = NDArray[np.int64]


class Histogram:
    """Counts of a tensor's values, with their exact least and largest value."""

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.reach = 0.0  # power of two above every absolute value; 0 while all were zero
        self.counts: Counts = np.zeros(2 * SIDE, np.int64)

    @property
    def amax(self) -> float:
        """The largest absolute value."""
        return max(-self.low, self.high, 0.0)

    def add(self, values: NDArray[np.float32]) -> None:
        """Count all values of an array. Raises DataError when one is not finite."""
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(low + high):
            raise DataError("it holds values that are not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._grow_to(max(-low, high))
        self._count(values.reshape(-1))

    def folded(self) -> tuple[Counts, float]:
        """Counts of absolute values in `SIDE` bins from 0 to `reach`, and a bin's width."""
        return self.counts[SIDE:] + self.counts[:SIDE][::-1], self.reach / SIDE

    def _grow_to(self, amax: float) -> None:
        if amax < self.reach or amax == 0.0:
            return
        reach = math.ldexp(1.0, math.frexp(amax)[1])  # the least power of two above amax
        if self.reach == 0.0:
            self.reach = reach
        while self.reach < reach:
            self.counts = _halved(self.counts)
            self.reach *= 2

    def _count(self, values: NDArray[np.float32]) -> None:
        if self.reach == 0.0:
            self.counts[SIDE] += values.size
            return
        for start in range(0, values.size, _EXACT):
            part = np.ascontiguousarray(values[start : start + _EXACT])
            found = cv2.calcHist([part], [0], None, [2 * SIDE], [-self.reach, self.reach])
            self.counts += found.reshape(-1).astype(np.int64)


def _halved(counts: Counts) -> Counts:
    """The same counts in bins of twice the width, around the same zero."""
    pairs = counts.reshape(-1, 2).sum(axis=1)
    empty = np.zeros(SIDE // 2, np.int64)
    return np.concatenate([empty, pairs, empty])
