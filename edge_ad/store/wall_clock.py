"""The time of day as a store trusts it: a clock that jumps is an event, and makes nothing old.

A computer whose clock has no battery, or an empty one, starts in 1970 or in 2099, until a time
server corrects it. A store therefore keeps a time that it trusts, which follows the computer's
clock at twice the pace of time at most, and when it was used last.
"""

from __future__ import annotations

import json
import math
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import NamedTuple

from edge_ad.clock import as_local, as_utc
from edge_ad.store.event import EventType, StoreEvent

DAY_S = 86_400.0
_KEY = "clock"
_CORRECTION_S = 60.0  # less is no jump
_STANDSTILL_S = 30 * DAY_S  # longer between two starts is worth an event
_PACE = 2.0  # so a line that stood still catches up in as long
_AT_START_S = DAY_S


class Now(NamedTuple):
    """The time it is, in seconds since 1970: between these, where a clock has jumped."""

    earliest_s: float
    latest_s: float


def _steady_s() -> float:
    """Return the seconds since the computer started: that clock cannot be set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class WallClock:
    """Compares the computer's clock with the time that passes, and with a store's records."""

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady_s
    ) -> None:
        self._wall, self._steady = wall, steady
        self._ahead_s = wall() - steady()
        self._trusted_s = self._last_s = wall()
        self._moved_s = steady()

    def started(self, connection: sqlite3.Connection) -> StoreEvent | None:
        """Take over what the store trusts; return an event when the clock has jumped since then."""
        newest_s, kept = _newest_record_s(connection), _kept(connection)
        last_s = max(newest_s, kept.get("last_s", newest_s))
        if last_s == -math.inf:  # a new store
            last_s = self._wall()
        self._trusted_s = kept.get("trusted_s", last_s)
        self._move(_AT_START_S)
        self._keep(connection)
        jump_s = self._wall() - last_s
        if -_CORRECTION_S <= jump_s <= _STANDSTILL_S:
            return None
        return _start_event(jump_s, last_s)

    def jumped(self) -> StoreEvent | None:
        """Return an event when somebody has set the clock since the last call."""
        ahead_s = self._wall() - self._steady()
        jump_s, self._ahead_s = ahead_s - self._ahead_s, ahead_s
        if abs(jump_s) <= _CORRECTION_S:
            return None
        step = "forward" if jump_s > 0 else "back"
        return StoreEvent(
            EventType.CLOCK, step=step, reason=f"the clock was set {step} by {_span(abs(jump_s))}"
        )

    def now(self, connection: sqlite3.Connection) -> Now:
        """Return the time as far as it is known, and keep what is trusted."""
        self._move(0.0)
        self._keep(connection)
        return Now(*sorted((self._trusted_s, self._wall())))

    def _move(self, allowed_s: float) -> None:
        """Let the trusted time follow the clock, by that much beyond the pace of time."""
        steady_s = self._steady()
        reach_s = allowed_s + _PACE * (steady_s - self._moved_s)
        away_s = self._wall() - self._trusted_s
        self._trusted_s += max(-reach_s, min(reach_s, away_s))
        self._moved_s = steady_s

    def _keep(self, connection: sqlite3.Connection) -> None:
        kept = json.dumps({"trusted_s": self._trusted_s, "last_s": self._wall()})
        connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, kept))


def _newest_record_s(connection: sqlite3.Connection) -> float:
    """Return the time of the newest event, minus infinity where there is none."""
    newest = connection.execute("SELECT time_utc FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return as_local(newest[0]).timestamp() if newest else -math.inf


def _kept(connection: sqlite3.Connection) -> dict[str, float]:
    """Return what the line before kept: `trusted_s` and `last_s`; empty for none."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    return dict(json.loads(row[0])) if row else {}


def utc_text(seconds: float) -> str:
    """Return a time since 1970 as text in UTC; before all others where there is no such year."""
    try:
        return as_utc(datetime.fromtimestamp(seconds, timezone.utc))
    except (OverflowError, ValueError, OSError):
        return ""


def _start_event(jump_s: float, last_s: float) -> StoreEvent:
    last = utc_text(last_s)[:19]
    if jump_s < 0:
        reason = f"the clock lies {_span(-jump_s)} before the last record ({last} UTC). Is it set?"
        return StoreEvent(EventType.CLOCK, step="back", reason=reason)
    reason = (
        f"the clock lies {_span(jump_s)} after the last record ({last} UTC): the line stood still, "
        "or the clock is wrong. No record is deleted for its age at once"
    )
    return StoreEvent(EventType.CLOCK, step="forward", reason=reason)


def _span(seconds: float) -> str:
    """Return a span of time in its largest unit."""
    for unit, size in (("days", DAY_S), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
