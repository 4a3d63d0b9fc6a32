"""Delete old events and statistics: by age, by count and by bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from edge_ad.clock import as_utc
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.writer import Job

_AT_ONCE = 2_000  # rows a transaction, so that new events do not wait
_OLD = "SELECT seq FROM events WHERE time_utc < ? ORDER BY time_utc LIMIT ?"
_REJECTS = "SELECT seq FROM events WHERE type = 'reject' ORDER BY seq LIMIT ?"
_OLDEST = "SELECT seq FROM events ORDER BY seq LIMIT ?"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long events are kept. Beyond count or bytes the oldest rejects go first, alarms last."""

    days: float = 365.0
    count: int = 1_000_000
    size_bytes: int = 1 << 30


def delete_old(connection: sqlite3.Connection, limits: Retention) -> bool:
    """Delete up to 2000 events that are beyond the limits; return whether there may be more.

    Alarms that are open stay. What was deleted becomes an event with the count.
    """
    oldest = as_utc(datetime.now(timezone.utc) - timedelta(days=limits.days))
    connection.execute("DELETE FROM statistics WHERE minute < ?", (oldest[:16],))
    aged = _delete(connection, _OLD, oldest, _AT_ONCE)
    surplus = 0
    if excess := min(_excess(connection, limits), _AT_ONCE):
        surplus = _delete(connection, _REJECTS, excess)
        surplus += _delete(connection, _OLDEST, excess - surplus)
    for count, reason in (
        (aged, f"older than {limits.days:g} days"),
        (surplus, f"more than {limits.count} events or {limits.size_bytes >> 20} MiB"),
    ):
        if count:
            insert(connection, StoreEvent(EventType.RETENTION, reason=reason, count=count))
    return aged + surplus >= _AT_ONCE


def retention_job(limits: Retention, put: Callable[[Job, int], bool]) -> Job:
    """Return a job that deletes a part and hands itself over again while there is more."""

    def job(connection: sqlite3.Connection) -> None:
        if delete_old(connection, limits):
            put(job, 0)

    return job


def _delete(connection: sqlite3.Connection, chosen: str, *values: object) -> int:
    return connection.execute(
        f"DELETE FROM events WHERE seq IN ({chosen}) AND seq NOT IN (SELECT seq FROM open_alarms)",
        values,
    ).rowcount


def _excess(connection: sqlite3.Connection, limits: Retention) -> int:
    """Return how many events are to go: those beyond the count, or a share for bytes."""
    count = int(connection.execute("SELECT count(*) FROM events").fetchone()[0])
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    used = pages * _pragma(connection, "page_size")
    by_bytes = round(count * (1 - limits.size_bytes / used)) if used > limits.size_bytes else 0
    return max(count - limits.count, by_bytes, 0)


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
