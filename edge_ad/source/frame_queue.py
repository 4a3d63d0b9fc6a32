"""Pass grabs, errors and the end of the data from the grabbing to the inspecting thread."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum

from edge_ad.errors import EdgeAdError, SourceLost, SourceTimeout
from edge_ad.frame import Grab


class DropPolicy(Enum):
    """Behaviour of a full queue when one more grab comes."""

    EVERY = "the grabber waits until there is room"
    NEWEST = "the newest replaces the oldest, which counts as dropped"


class FrameQueue:
    """A bounded queue that the grabbing thread fills and the inspecting thread empties.

    Grabs put before an error or the end are delivered before it. After `close` no call waits, and
    an error is dropped: its traceback holds what the source was reading with.
    `counting` turns the count of `dropped` grabs on.
    """

    def __init__(self, name: str, policy: DropPolicy, capacity: int) -> None:
        self.dropped = 0
        self.counting = False
        self._name = name
        self._policy = policy
        self._capacity = capacity
        self._waiting: deque[Grab] = deque()
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self._changed = threading.Condition()

    def put(self, grab: Grab) -> bool:
        """Add one grab and return whether the queue takes more."""
        with self._changed:
            if self._policy is DropPolicy.EVERY:
                self._changed.wait_for(lambda: self._ended or len(self._waiting) < self._capacity)
            elif len(self._waiting) >= self._capacity:
                self._waiting.popleft()
                self.dropped += self.counting
            if not self._ended:
                self._waiting.append(grab)
            self._changed.notify_all()
            return not self._ended

    def end(self, error: BaseException | None = None) -> None:
        """Mark the end of the data, or the error that ended it."""
        with self._changed:
            self._ended = True
            if not self._closed:
                self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """Drop waiting grabs and an error, and release both threads."""
        with self._changed:
            self._ended = self._closed = True
            self._error = None
            self._waiting.clear()
            self._changed.notify_all()

    def get(self, timeout_s: float | None) -> Grab | None:
        """Return the next grab, or None after the last one.

        Raises SourceTimeout when none comes in time, or the error of the grabbing thread.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._ended, timeout_s):
                raise SourceTimeout(
                    f"{self._name}: no frame for {timeout_s:g} s. Check that the camera is "
                    "powered, connected and not in use elsewhere."
                )
            if self._waiting:
                grab = self._waiting.popleft()
                self._changed.notify_all()
                return grab
            if self._error is not None:
                raise to_source_error(self._error, self._name)
            return None


def to_source_error(error: BaseException, name: str) -> BaseException:
    """Return the error to raise in the inspecting thread for one of the grabbing thread."""
    if isinstance(error, EdgeAdError):
        return error
    lost = SourceLost(f"{name}: reading failed: {type(error).__name__}: {error}")
    lost.__cause__ = error
    return lost
