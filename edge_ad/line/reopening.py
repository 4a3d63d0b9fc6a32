"""When a lost camera is opened again, and how long its fault stands: pure rules with a clock."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

Clock = Callable[[], float]
_LONGEST_PAUSE_S = 10.0  # a factory has a weekend: a camera may be away for days
_FIRST_PAUSE_S = 0.5
_STEADY_S = 10.0  # a camera that lasts this long is back; until then, its fault stands
_LONGEST_HOLD_S = 60.0


class BackOff:
    """The pauses between attempts to open a camera: they double up to 10 s, and vary by a half.

    They vary so that cameras behind one switch do not all come at once. A camera that is lost again
    before it was steady goes on where its last pauses ended.
    """

    def __init__(
        self, clock: Clock = time.monotonic, vary: Callable[[], float] = random.random
    ) -> None:
        self._clock, self._vary = clock, vary
        self._next_s = _FIRST_PAUSE_S
        self._opened_s = clock()
        self.lost_s = float("inf")
        self.absent = False

    def lost(self) -> None:
        """Note that the camera is gone."""
        self.lost_s = self._clock()
        if self.lost_s - self._opened_s >= _STEADY_S:
            self._next_s = _FIRST_PAUSE_S

    def opened(self) -> None:
        """Note that it opened."""
        self._opened_s = self._clock()

    def away_s(self) -> float:
        """Return the time since it was lost."""
        return self._clock() - self.lost_s

    def pause_s(self) -> float:
        """Return the pause before the next attempt."""
        pause, self._next_s = self._next_s, min(2 * self._next_s, _LONGEST_PAUSE_S)
        return pause * (0.5 + self._vary() / 2)


class Damping:
    """Merges the faults of a flapping camera into one that stands.

    The fault of a lost camera, and one that comes back within a minute, ends when the camera has
    been without faults for 10 s; when it returns even so, for twice as long, up to a minute.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._hold_s = 0.0
        self._newest_s = self._ended_s = float("-inf")

    def began(self) -> None:
        """Note the beginning of a fault."""
        if self._clock() - self._ended_s < _LONGEST_HOLD_S:
            self._hold_s = min(max(2 * self._hold_s, _STEADY_S), _LONGEST_HOLD_S)
        else:
            self._hold_s = 0.0

    def lost(self) -> None:
        """Note that the fault is a lost camera."""
        self._hold_s = max(self._hold_s, _STEADY_S)

    def faulty(self) -> None:
        """Note a frame that could not be judged, or the end of a time without frames."""
        self._newest_s = self._clock()

    def holds(self) -> bool:
        """Return whether the fault still stands although frames are judged again."""
        return self._clock() - self._newest_s < self._hold_s

    def ended(self) -> None:
        """Note the end of the fault."""
        self._ended_s = self._clock()
