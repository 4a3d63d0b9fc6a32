"""One thread grabs, another judges: grabs cross over here, and so do errors and the end."""

from __future__ import annotations

import threading
from collections import deque
from enum import Enum

from edge_ad.errors import EdgeAdError, SourceLost, SourceTimeout
from edge_ad.frame import Grab


class DropPolicy(Enum):
    """What a full handover does with one more grab."""

    EVERY = "the grabber waits until there is room"
    NEWEST = "the newest replaces the one nobody took, which counts as dropped"


class FrameQueue:
    """A bounded queue that the grabbing thread fills, ends or fails, and the judging one empties.

    What was put before an error or the end is delivered before it. After `close` nothing waits.
    """

    def __init__(self, name: str, keep: DropPolicy, room: int) -> None:
        self.dropped = 0
        self.counting = False
        self._name = name
        self._keep = keep
        self._room = room
        self._waiting: deque[Grab] = deque()
        self._error: BaseException | None = None
        self._over = False
        self._changed = threading.Condition()

    def put(self, grab: Grab) -> bool:
        """Hand over one grab; false when nobody wants more."""
        with self._changed:
            if self._keep is DropPolicy.EVERY:
                self._changed.wait_for(lambda: self._over or len(self._waiting) < self._room)
            elif len(self._waiting) >= self._room:
                self._waiting.popleft()
                self.dropped += self.counting
            if not self._over:
                self._waiting.append(grab)
            self._changed.notify_all()
            return not self._over

    def end(self, error: BaseException | None = None) -> None:
        """Say that no more will come, and why if it is an error."""
        with self._changed:
            self._over = True
            self._error = self._error or error
            self._changed.notify_all()

    def close(self) -> None:
        """Let go of what waits; both sides return at once from now on."""
        with self._changed:
            self._over = True
            self._waiting.clear()
            self._changed.notify_all()

    def get(self, timeout_s: float) -> Grab | None:
        """The next grab, or None after the last one.

        Raises SourceTimeout when none comes in time, and what the grabbing thread failed with.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting or self._over, timeout_s):
                raise SourceTimeout(
                    f"{self._name}: no frame for {timeout_s:g} s. Check that the camera is "
                    "powered, connected and not in use elsewhere."
                )
            if self._waiting:
                grab = self._waiting.popleft()
                self._changed.notify_all()
                return grab
            if self._error is not None:
                raise crossed(self._error, self._name)
            return None


def crossed(error: BaseException, name: str) -> BaseException:
    """The error to raise in the judging thread for one that ended the grabbing thread."""
    if isinstance(error, EdgeAdError):
        return error
    lost = SourceLost(f"{name}: reading failed: {type(error).__name__}: {error}")
    lost.__cause__ = error
    return lost
