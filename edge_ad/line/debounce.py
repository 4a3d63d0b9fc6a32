"""Debounce verdicts: a pure state machine without clock or camera."""

from __future__ import annotations

from collections import deque

from edge_ad.errors import UsageError


class Debounce:
    """Raised once `k` of the last `n` frames were rejected; cleared by `n` passes in a row."""

    def __init__(self, k: int, n: int) -> None:
        if not 1 <= k <= n:
            raise UsageError(f"an alarm needs k of n frames with 1 <= k <= n, got {k} of {n}.")
        self._k = k
        self._recent: deque[bool] = deque(maxlen=n)
        self.raised = False

    def changed(self, k: int, n: int) -> Debounce:
        """Return a debounce of another rule that goes on from the last frames of this one."""
        other = Debounce(k, n)
        other._recent.extend(self._recent)
        other.raised = self.raised
        return other

    def update(self, rejected: bool) -> bool:  # noqa: FBT001 - a frame's only input
        """Take one frame's verdict and return whether the alarm is raised."""
        self._recent.append(rejected)
        needed = 1 if self.raised else self._k
        self.raised = sum(self._recent) >= needed
        return self.raised
