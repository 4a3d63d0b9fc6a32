"""Outlets that lose nothing: their events wait in the store until the other side has them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_ad.outlet.base import Outlet

Record = dict[str, Any]


class TryLater(ConnectionError):
    """The other side cannot take events now, and may say for how long."""

    def __init__(self, reason: str, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class DurableOutlet(Outlet):
    """Base of outlets that receive events at least once, in order, also after a crash.

    `connect` and `deliver` run in a thread of the outlet alone: they may block, best for no more
    than some seconds. Events are the records of `edge-ad events --json`, with a unique
    `id`; one that was delivered just before a crash is delivered again, under the same id.

    `types` of events are what the user chose with `events=`, by default as the line decides;
    `cameras` those whose events it receives, all if empty. `identity` is the URI without options
    and credentials, under which events wait, also for the next run; `folder` is the store's, where
    evidence images are. All are set before the first call. `answer` is the other side's last one,
    in words. With `is_test`, `edge-ad outlet test` is calling, maybe beside a line that runs:
    nothing but the event should be visible.
    """

    attempts = 5  # refusals after which an event becomes a dead letter
    window = 1  # events that may be under way at once, see `send`
    identity = ""
    types: tuple[str, ...] = ()
    cameras: tuple[str, ...] = ()
    folder: Path | None = None
    is_test = False

    @property
    def name(self) -> str:
        return self.identity or type(self).__name__

    def connect(self) -> None:
        """Make sure that the other side can be reached; called before deliveries and when idle.

        Raise OSError when it cannot: it is called again after a pause, without end.
        """

    @abstractmethod
    def deliver(self, record: Record) -> None:
        """Deliver an event and return when the other side has it.

        Raise OSError when the other side cannot be reached: the event is tried again without end,
        and the ones behind it wait. Raise Refused when it does not take this event: after
        `attempts` times it becomes a dead letter, and the next one follows. Any other error
        counts as a refusal.
        """

    def send(self, record: Record) -> Callable[[], None]:
        """Begin to deliver an event, and return a function that waits for its end.

        The function raises as `deliver` does. Override it, and `window`, where several events may
        be under way; by default, `deliver` has ended when it returns.
        """
        self.deliver(record)
        return _delivered

    def close(self) -> None:
        """Release all resources, and end a delivery under way; it may be called twice."""


def _delivered() -> None:
    pass
