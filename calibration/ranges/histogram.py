"""Histogram of one tensor's absolute values over a stream of images, in bounded memory.

It reaches from zero to a power of two and doubles its reach, by merging neighbouring bins, when a
larger value comes. Powers of two make the merge exact: neither the order of the images nor the
number of passes changes a single count.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_ad.errors import DataError

SIDE = 4096  # bins from zero to the reach
_EXACT = 1 << 23  # values counted at once: OpenCV counts in float32, exact up to 2**24
_CACHED = 1 << 18  # values whose bins are computed at once: a buffer that stays in the cache
_LEAST_REACH = 2.0**-100  # its bins' reciprocal is still a float32

Counts = NDArray[np.int64]


class Histogram:
    """Count a tensor's absolute values, and keep its exact least and largest value."""

    def __init__(self) -> None:
        self.low = math.inf
        self.high = -math.inf
        self.reach = 0.0  # power of two above every absolute value; 0 while all were zero
        self.counts: Counts = np.zeros(SIDE, np.int64)

    @property
    def amax(self) -> float:
        """Return the largest absolute value."""
        return max(-self.low, self.high, 0.0)

    @property
    def width(self) -> float:
        """Return the width of a bin."""
        return self.reach / SIDE

    def add(self, values: NDArray[np.float32]) -> None:
        """Count all values of an array. Raises DataError when one is not finite."""
        low, high = float(values.min()), float(values.max())
        if not math.isfinite(low + high):
            raise DataError("it contains NaN or Inf")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self._grow_to(max(-low, high))
        self._count(values.reshape(-1))

    def _grow_to(self, amax: float) -> None:
        if amax < self.reach or amax == 0.0:
            return
        reach = math.ldexp(1.0, math.frexp(amax)[1])  # the least power of two above amax
        reach = max(reach, _LEAST_REACH)
        if self.reach == 0.0:
            self.reach = reach
        while self.reach < reach:
            self.counts = _with_wider_bins(self.counts)
            self.reach *= 2

    def _count(self, values: NDArray[np.float32]) -> None:
        if self.reach == 0.0:
            self.counts[0] += values.size
            return
        for start in range(0, values.size, _EXACT):
            bins = _bins(values[start : start + _EXACT], np.float32(SIDE / self.reach))
            counts = cv2.calcHist([bins[None]], [0], None, [SIDE], [0, SIDE])
            self.counts += counts.reshape(-1).astype(np.int64)


def _bins(values: NDArray[np.float32], per_unit: np.float32) -> NDArray[np.uint16]:
    """Return each value's bin: scaling by a power of two is exact, and the cast rounds down.

    OpenCV counts 16-bit integers so much faster than floats that this extra step pays off.
    """
    bins = np.empty(values.size, np.uint16)
    buffer = np.empty(min(values.size, _CACHED), np.float32)
    for start in range(0, values.size, _CACHED):
        part = values[start : start + _CACHED]
        scaled = np.abs(part, out=buffer[: part.size])
        scaled *= per_unit
        bins[start : start + part.size] = scaled
    return bins


def _with_wider_bins(counts: Counts) -> Counts:
    """Return the same counts in bins of twice the width."""
    pairs = counts.reshape(-1, 2).sum(axis=1)
    return np.concatenate([pairs, np.zeros_like(pairs)])
