"""Waiting of a batcher without the clock."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class PatientCondition(threading.Condition):
    """Records the timeouts of its waits and counts those that expired; waits `patience_s` instead.

    The machine's load then decides nothing: a call waits long for its clients, or not at all, and
    no longer once `give_up` was called, as a client does that calls no more. `notified` counts the
    notifications: one for each request, and one for each call that ends.
    """

    def __init__(self, patience_s: float) -> None:
        super().__init__()
        self.expired = self.notified = 0
        self.timeouts: list[float] = []
        self._patience_s, self._given_up = patience_s, False

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        if timeout is None:
            return super().wait_for(predicate)
        self.timeouts.append(timeout)
        super().wait_for(lambda: predicate() or self._given_up, self._patience_s)
        result = predicate()
        self.expired += not result
        return result

    def give_up(self) -> None:
        with self:
            self._given_up = True
            self.notify_all()

    def notify_all(self) -> None:
        self.notified += 1
        super().notify_all()
