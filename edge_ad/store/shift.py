"""Summarise a span of time on a line: counts, alarms and what else happened."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from edge_ad.store.reading import EventFilter, Record, open_snapshot, read_open
from edge_ad.store.statistics import minutes_under_way

_ALARMS = 200  # listed, and as many rejected parts; a shift with more has another problem
_NOTICES = 100
_NOTICE_TYPES = (
    *("line", "engine", "drift", "lost", "clock", "retention", "outlet_fault", "outbox"),
    *("setting", "control"),
)
_BARS = 48
_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 240, 480, 1440)  # minutes a bar


@dataclass
class CameraShift:
    """What one camera did. `p99_ms` is that of its slowest minute; None without a judged part."""

    passed: int = 0
    rejected: int = 0
    invalid: int = 0
    dropped: int = 0
    p99_ms: float | None = None

    @property
    def judged(self) -> int:
        """Parts with a verdict of PASS or REJECT."""
        return self.passed + self.rejected


@dataclass
class Shift:
    """A summary of `since` to `until` (texts in UTC).

    `alarms` are the newest of `alarm_count`, each its last step with `began_utc` and `open`;
    `rejects` are the newest rejected parts of `reject_count`;
    `notices` are starts, stops, losses, deletions and faults of outlets, the newest of
    `notice_count`. `bars` are judged and rejected parts in steps of `bar_minutes`, by the minutes
    since 1970 they begin at.
    """

    since: str
    until: str
    cameras: dict[str, CameraShift] = field(default_factory=dict)
    alarms: list[Record] = field(default_factory=list)
    alarm_count: int = 0
    rejects: list[Record] = field(default_factory=list)
    reject_count: int = 0
    notices: list[Record] = field(default_factory=list)
    notice_count: int = 0
    bar_minutes: int = 1
    bars: dict[int, tuple[int, int]] = field(default_factory=dict)


def summarise_shift(folder: Path, since: str, until: str) -> Shift:
    """Summarise the events and statistics of a folder. Raises like `open_reading`."""
    shift = Shift(since, until)
    with open_snapshot(folder) as connection:
        _add_statistics(shift, connection)
        _add_alarms(shift, connection)
        shift.rejects, shift.reject_count = _newest(shift, connection, ("reject",), _ALARMS)
        shift.notices, shift.notice_count = _newest(shift, connection, _NOTICE_TYPES, _NOTICES)
    return shift


def _add_statistics(shift: Shift, connection: sqlite3.Connection) -> None:
    span = _minute(shift.until) - _minute(shift.since)
    shift.bar_minutes = next((step for step in _STEPS if span <= step * _BARS), _STEPS[-1])
    first, end = shift.since[:16], _minutes_before(shift.until)
    rows = connection.execute(
        "SELECT * FROM statistics WHERE minute >= ? AND minute < ? ORDER BY minute", (first, end)
    )
    under_way = [row for row in minutes_under_way(connection) if first <= row["minute"] < end]
    for row in (*rows, *under_way):
        camera = shift.cameras.setdefault(row["camera"], CameraShift())
        for name in ("passed", "rejected", "invalid", "dropped"):
            setattr(camera, name, getattr(camera, name) + row[name])
        if row["latency_ms"]:
            camera.p99_ms = max(camera.p99_ms or 0.0, json.loads(row["latency_ms"])["p99"])
        start = _minute(row["minute"]) // shift.bar_minutes * shift.bar_minutes
        judged, rejected = shift.bars.get(start, (0, 0))
        new = row["passed"] + row["rejected"]
        shift.bars[start] = (judged + new, rejected + row["rejected"])


def _add_alarms(shift: Shift, connection: sqlite3.Connection) -> None:
    chosen = "FROM events WHERE type = 'alarm' AND time_utc >= ? AND time_utc < ?"
    span = (shift.since, shift.until)
    count = connection.execute(f"SELECT count(DISTINCT alarm) {chosen}", span).fetchone()
    shift.alarm_count = count[0]
    rows = connection.execute(
        f"SELECT alarm, max(seq) AS last {chosen} GROUP BY alarm ORDER BY last DESC LIMIT ?",
        (*span, _ALARMS),
    ).fetchall()
    for row in rows:
        steps = connection.execute(
            "SELECT min(time_utc) AS began, max(seq) AS last FROM events "
            "WHERE type = 'alarm' AND alarm = ?",
            (row["alarm"],),
        ).fetchone()
        alarm = next(read_open(connection, EventFilter(), after=steps["last"] - 1))
        is_open = connection.execute("SELECT 1 FROM open_alarms WHERE alarm = ?", (row["alarm"],))
        shift.alarms.append(
            alarm | {"began_utc": steps["began"], "open": is_open.fetchone() is not None}
        )


def _newest(
    shift: Shift, connection: sqlite3.Connection, types: tuple[str, ...], limit: int
) -> tuple[list[Record], int]:
    """Return the newest events of these types, newest first, and how many there are."""
    span = EventFilter(types=types, since=shift.since, until=shift.until)
    where, values = span.where()
    count = connection.execute(f"SELECT count(*) FROM events WHERE {where}", values).fetchone()
    newest = list(read_open(connection, replace(span, limit=limit)))
    return newest[::-1], count[0]


def _minutes_before(until: str) -> str:
    """Return what the texts of minutes that begin before `until` are below.

    The minute that is under way counts; one that begins at `until` is the next shift's.
    """
    return until[:16] if until[16:].startswith(":00.000") else f"{until[:16]}a"


def _minute(text: str) -> int:
    """Return the minutes since 1970 of a time in UTC."""
    return int(datetime.fromisoformat(f"{text[:16]}+00:00").timestamp()) // 60
