"""Delete old events and statistics: by age, by count and by bytes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from edge_ad.clock import as_utc
from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.outbox import DEAD_LETTERS
from edge_ad.store.writer import Job

_AT_ONCE = 2_000  # rows a transaction, so that new events do not wait
_CLOSED = "AND seq NOT IN (SELECT seq FROM open_alarms)"
_KEPT = (
    f"{_CLOSED} AND NOT EXISTS (SELECT * FROM outbox WHERE outbox.seq = events.seq) "
    "AND NOT EXISTS (SELECT * FROM dead_letters WHERE dead_letters.seq = events.seq)"
)
_OLD = f"SELECT seq FROM events WHERE time_utc < ? {_KEPT} ORDER BY time_utc LIMIT ?"
_REJECTS = f"SELECT seq FROM events WHERE type = 'reject' {_KEPT} ORDER BY seq LIMIT ?"
_OLDEST = f"SELECT seq FROM events WHERE TRUE {_KEPT} ORDER BY seq LIMIT ?"
_UNDELIVERED = f"SELECT seq FROM events WHERE TRUE {_CLOSED} ORDER BY seq LIMIT ?"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long events are kept. Beyond count or bytes the oldest rejects go first, alarms last.

    Events that wait for an outlet stay, whatever their age, until they are half of `count` for one
    outlet, or until nothing else is left to delete.
    """

    days: float = 365.0
    count: int = 1_000_000
    size_bytes: int = 1 << 30


def delete_old(connection: sqlite3.Connection, limits: Retention) -> bool:
    """Delete up to 2000 rows that are beyond each limit; return whether there may be more.

    Alarms that are open stay. What was deleted becomes an event with the count.
    """
    oldest = _days_ago(limits.days)
    share = _surplus_share(connection, limits)
    given_up = _give_up(connection, "outbox", limits.count // 2)
    given_up |= _give_up(connection, "dead_letters", DEAD_LETTERS)
    deleted = {
        f"older than {limits.days:g} days": _delete_events(connection, _OLD, oldest, _AT_ONCE),
        f"more than {limits.count} events or {limits.size_bytes >> 20} MiB": _delete_surplus(
            connection, limits.count, share
        ),
        f"minutes of statistics, {limits.days:g} days or {limits.size_bytes >> 20} MiB": (
            _delete_statistics(connection, oldest, share)
        ),
    }
    for reason, count in deleted.items():
        if count:
            insert(connection, StoreEvent(EventType.RETENTION, reason=reason, count=count))
    return max(*deleted.values(), *given_up.values(), 0) >= _AT_ONCE


def _days_ago(days: float) -> str:
    """Return the time so many days ago, as text in UTC; before all others where there is none."""
    try:
        return as_utc(datetime.now(timezone.utc) - timedelta(days=days))
    except OverflowError:
        return ""


def retention_job(limits: Retention, put: Callable[[Job, int], bool]) -> Job:
    """Return a job that deletes a part and hands itself over again while there is more."""

    def job(connection: sqlite3.Connection) -> None:
        if delete_old(connection, limits):
            put(job, 0)

    return job


def _delete_surplus(connection: sqlite3.Connection, limit: int, share: float) -> int:
    """Delete events beyond `limit`, and this share of them; rejects first."""
    count = _count(connection, "events")
    surplus = min(max(count - limit, round(count * share)), _AT_ONCE)
    deleted = _delete_events(connection, _REJECTS, surplus)
    deleted += _delete_events(connection, _OLDEST, surplus - deleted)
    if deleted < surplus:
        _give_up_oldest(connection, surplus - deleted)
        deleted += _delete_events(connection, _UNDELIVERED, surplus - deleted)
    return deleted


def _give_up(connection: sqlite3.Connection, table: str, limit: int) -> dict[str, int]:
    """Take the oldest events beyond `limit` from an outlet's waiting ones or dead letters.

    Return how many by outlet; the counts become events.
    """
    counts = {}
    for outlet, name, count in connection.execute(
        f"SELECT outlet, name, count(*) FROM {table} JOIN outlets ON outlets.id = outlet "
        "GROUP BY outlet"
    ).fetchall():
        if count > limit:
            counts[f"{table} {name}"] = connection.execute(
                f"DELETE FROM {table} WHERE outlet = ? AND seq IN "
                f"(SELECT seq FROM {table} WHERE outlet = ? ORDER BY seq LIMIT ?)",
                (outlet, outlet, min(count - limit, _AT_ONCE)),
            ).rowcount
            _note_given_up(connection, name, counts[f"{table} {name}"], f"more than {limit}")
    return counts


def _give_up_oldest(connection: sqlite3.Connection, count: int) -> None:
    """Take the oldest events from all outlets, to make room."""
    for table in ("outbox", "dead_letters"):
        for name, lost in connection.execute(
            f"SELECT name, count(*) FROM {table} JOIN outlets ON outlets.id = outlet "
            f"WHERE seq IN ({_UNDELIVERED}) GROUP BY outlet",
            (count,),
        ).fetchall():
            _note_given_up(connection, name, lost, "nothing else was left to delete")
        connection.execute(f"DELETE FROM {table} WHERE seq IN ({_UNDELIVERED})", (count,))


def _note_given_up(connection: sqlite3.Connection, outlet: str, count: int, why: str) -> None:
    reason = f"never delivered to {outlet}: {why}"
    insert(
        connection, StoreEvent(EventType.OUTBOX, "drop", source=outlet, reason=reason, count=count)
    )


def _delete_events(connection: sqlite3.Connection, chosen: str, *values: object) -> int:
    return connection.execute(f"DELETE FROM events WHERE seq IN ({chosen})", values).rowcount


def _delete_statistics(connection: sqlite3.Connection, oldest: str, share: float) -> int:
    """Delete minutes before `oldest`, and this share of them, the oldest first."""
    aged = connection.execute("SELECT count(*) FROM statistics WHERE minute < ?", (oldest[:16],))
    count = max(aged.fetchone()[0], round(_count(connection, "statistics") * share))
    return connection.execute(
        "DELETE FROM statistics WHERE rowid IN "
        "(SELECT rowid FROM statistics ORDER BY minute LIMIT ?)",
        (min(count, _AT_ONCE),),
    ).rowcount


def _surplus_share(connection: sqlite3.Connection, limits: Retention) -> float:
    """Return the share of the database that is beyond the limit on bytes."""
    pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
    used = pages * _pragma(connection, "page_size")
    return max(0.0, 1 - limits.size_bytes / used)


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
