"""Decide which frame is judged: on a trigger, the next one that was captured after it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import Enum

from edge_ad.closeable import ClosedAtExit
from edge_ad.frame import Grab
from edge_ad.source import Source

_WAITING = 100  # missed triggers that are not recorded yet; further ones are counted with the last


@dataclass(frozen=True, slots=True)
class TriggerLimits:
    """Times of a trigger, in seconds.

    A frame is taken that was captured `delay_s` after the trigger or later, as a part on a belt
    needs it from the sensor to the camera. Without such a frame after `frame_within_s` more, or a
    verdict after `verdict_within_s` from the trigger, the trigger is missed.
    """

    delay_s: float = 0.0
    frame_within_s: float = 1.0
    verdict_within_s: float = float("inf")


@dataclass
class Missed:
    """Triggers in a row that were not served for one reason; the first was fired at `at_s`."""

    reason: str
    at_s: float
    count: int = 1


@dataclass
class TriggerCounts:
    """Triggers: `fired` = `served` + `missed` + one that may be under way.

    `ignored` are those that came while the camera was paused.
    """

    fired: int = 0
    served: int = 0
    missed: int = 0
    ignored: int = 0


class _State(Enum):
    IDLE = "waits for a trigger"
    ARMED = "waits for a frame"
    TAKEN = "a frame is being judged"
    EXPIRED = "the frame's verdict is no longer wanted"


class Trigger:
    """The trigger of one camera; any thread may fire it.

    One part is served at a time. A trigger that cannot be served is missed: it never gets the frame
    of another one. `wait_missed` returns those, in one thread that also looks after the limits.
    """

    def __init__(
        self, limits: TriggerLimits | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.limits = limits or TriggerLimits()
        self.counts = TriggerCounts()
        self._clock = clock
        self._state = _State.IDLE
        self._fired_s = 0.0
        self._watched = self._closed = False
        self.paused = False
        self._missed: deque[Missed] = deque()
        self._changed = threading.Condition()

    def fire(self, moment_s: float | None = None) -> bool:
        """Ask for a frame captured after `moment_s` (monotonic, default now).

        Return False when the trigger is missed already, or ignored because of a pause.
        """
        with self._changed:
            if self.paused:
                self.counts.ignored += 1
                return False
            self.counts.fired += 1
            moment_s = self._clock() if moment_s is None else moment_s
            if not self._watched:
                return self._miss("the camera is in fault", moment_s)
            if self._state is not _State.IDLE:
                return self._miss("the previous trigger is still being served", moment_s)
            self._state = _State.ARMED
            self._fired_s = moment_s
            self._changed.notify_all()
            return True

    def input_lost(self, reason: str, count: int = 1) -> None:
        """Note that what fires this trigger is gone or was too fast: parts may pass unasked for."""
        with self._changed:
            if self.paused:
                return
            self.counts.fired += count
            self._miss(reason, self._clock(), count)

    @property
    def busy(self) -> bool:
        """Whether a trigger is being served."""
        return self._state is not _State.IDLE

    @property
    def ready(self) -> bool:
        """Whether a trigger would be served now."""
        return self._watched and not self.busy

    def take(self, grab: Grab) -> Grab | None:
        """Return the grab with the time of its trigger, or None when no trigger asks for it."""
        with self._changed:
            if self._state is not _State.ARMED:
                return None
            if grab.captured_s <= self._fired_s + self.limits.delay_s:
                return None
            self._state = _State.TAKEN
            return replace(grab, triggered_s=self._fired_s)

    def served(self) -> bool:
        """Note that the frame taken is judged; return False when its trigger was missed by then."""
        with self._changed:
            expired, self._state = self._state is _State.EXPIRED, _State.IDLE
            self.counts.served += not expired
            self._changed.notify_all()
            return not expired

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Serve triggers during the block: the camera delivers frames."""
        with self._changed:
            self._watched = True
        try:
            yield
        finally:
            with self._changed:
                self._watched = False
                if self._state in (_State.ARMED, _State.TAKEN):
                    self._miss("the camera is in fault", self._fired_s)
                self._state = _State.IDLE

    def wait_missed(self) -> Missed | None:
        """Wait for missed triggers; return None once closed, after the last one."""
        with self._changed:
            while True:
                self._expire()
                if self._missed:
                    return self._missed.popleft()
                if self._closed:
                    return None
                self._changed.wait(self._left_s())

    def close(self) -> None:
        """End `wait_missed`."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _deadline(self) -> tuple[float, str]:
        """Return when the trigger under way is missed, and why."""
        limits, forever = self.limits, float("inf")
        frame_s = self._fired_s + limits.delay_s + limits.frame_within_s
        verdict_s = self._fired_s + limits.verdict_within_s
        late = f"no verdict within {limits.verdict_within_s:g} s"
        if self._state is _State.TAKEN or (self._state is _State.ARMED and verdict_s < frame_s):
            return verdict_s, late
        if self._state is _State.ARMED:
            return frame_s, f"no frame within {limits.delay_s + limits.frame_within_s:g} s"
        return forever, ""

    def _expire(self) -> None:
        deadline_s, reason = self._deadline()
        if self._clock() >= deadline_s:
            taken = self._state is _State.TAKEN
            self._state = _State.EXPIRED if taken else _State.IDLE
            self._miss(reason, self._fired_s)

    def _left_s(self) -> float | None:
        deadline_s, _ = self._deadline()
        return None if deadline_s == float("inf") else max(0.0, deadline_s - self._clock())

    def _miss(self, reason: str, at_s: float, count: int = 1) -> bool:
        self.counts.missed += count
        if self._missed and len(self._missed) >= _WAITING and self._missed[-1].reason == reason:
            self._missed[-1].count += count
        elif len(self._missed) >= 2 * _WAITING:  # several reasons in turn: the last one stands
            self._missed[-1].count += count
        else:
            self._missed.append(Missed(reason, at_s, count))
        self._changed.notify_all()
        return False


@dataclass
class TriggeredSource(ClosedAtExit):
    """A live source of which only triggered frames are delivered; the others are passed over."""

    source: Source
    trigger: Trigger
    dropped: int = field(default=0, init=False)

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def live(self) -> bool:
        return self.source.live

    @property
    def left_out(self) -> Mapping[str, str]:
        return self.source.left_out

    def __iter__(self) -> Iterator[Grab]:
        grabs = iter(self.source)
        first = next(grabs, None)  # triggers are served once the camera delivers
        if first is None:
            return
        with self.trigger.watched():
            for grab in grabs:
                taken = self.trigger.take(grab)
                if taken is not None:
                    yield taken

    def recorded(self, index: int) -> None:
        self.source.recorded(index)

    def close(self) -> None:
        self.source.close()
