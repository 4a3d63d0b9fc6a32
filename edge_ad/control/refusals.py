"""Report refused messages once for each user, and count the rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

_QUIET_S = 3600.0  # a user's next report: a year's run may have another reason then
_USERS = 100


@dataclass
class _User:
    reported_s: float
    since: int = 0  # refused since then


class Refusals:
    """Calls `report` with user, reason and count for the first refused message of a user.

    After an hour, the next one is reported together with the number of those between. `count` is
    that of all.
    """

    def __init__(
        self,
        report: Callable[[str, str, int], object],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.count = 0
        self._report, self._clock = report, clock
        self._users: dict[str, _User] = {}
        self._lock = threading.Lock()

    def add(self, user: str, reason: str) -> None:
        """Count a refused message, and report it if it is the first."""
        now = self._clock()
        with self._lock:
            self.count += 1
            known = self._users.get(user)
            if known is None and len(self._users) >= _USERS:
                return
            if known is not None and now - known.reported_s < _QUIET_S:
                known.since += 1
                return
            count = 1 + (known.since if known else 0)
            self._users[user] = _User(now)
        self._report(user, reason, count)
