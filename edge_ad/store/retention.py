"""Delete old events and statistics: by age, by count and by bytes.

Records are in the order they came in, and age in that order: one whose time is wrong, since the
clock was, goes with those around it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.outbox import DEAD_LETTERS
from edge_ad.store.wall_clock import DAY_S, Now, WallClock, utc_text
from edge_ad.store.writer import Job

_AT_ONCE = 2_000  # rows a transaction, so that new events do not wait
_CLOSED = "AND seq NOT IN (SELECT seq FROM open_alarms)"
_KEPT = (
    f"{_CLOSED} AND NOT EXISTS (SELECT * FROM outbox WHERE outbox.seq = events.seq) "
    "AND NOT EXISTS (SELECT * FROM dead_letters WHERE dead_letters.seq = events.seq)"
)
_OLD = f"SELECT seq FROM events WHERE seq <= ? {_KEPT} ORDER BY seq LIMIT ?"
_FIRST_RECENT = (
    "SELECT coalesce(min(number), ?) FROM (SELECT {key} AS number FROM {table} {how} "
    "WHERE {time} >= ? AND {time} < ? ORDER BY {key} LIMIT 1)"
)
_LAST_OLD = (
    "SELECT coalesce(max(number), 0) FROM (SELECT {key} AS number FROM {table} {how} "
    "WHERE {key} < ? AND {time} < ? ORDER BY {key} DESC LIMIT 1)"
)
_LAST_ROW = (1 << 63) - 1
_OF_EVENTS = {"key": "seq", "table": "events", "time": "time_utc"}
_OF_MINUTES = {"key": "rowid", "table": "statistics", "time": "minute"}
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


def delete_old(connection: sqlite3.Connection, limits: Retention, now: Now) -> bool:
    """Delete up to 2000 rows that are beyond each limit; return whether there may be more.

    Alarms that are open stay. What was deleted becomes an event with the count.
    """
    span = (utc_text(now.earliest_s - limits.days * DAY_S), utc_text(now.latest_s + DAY_S))
    old_minute = _last_old(connection, (span[0][:16], span[1][:16]), "NOT INDEXED", **_OF_MINUTES)
    old_event = _last_old(connection, span, "INDEXED BY events_listed", **_OF_EVENTS)
    share = _surplus_share(connection, limits)
    given_up = _give_up(connection, "outbox", limits.count // 2)
    given_up |= _give_up(connection, "dead_letters", DEAD_LETTERS)
    deleted = {
        f"older than {limits.days:g} days": _delete_events(connection, _OLD, old_event, _AT_ONCE),
        f"more than {limits.count} events or {limits.size_bytes >> 20} MiB": _delete_surplus(
            connection, limits.count, share
        ),
        f"minutes of statistics, {limits.days:g} days or {limits.size_bytes >> 20} MiB": (
            _delete_statistics(connection, old_minute, share)
        ),
    }
    for reason, count in deleted.items():
        if count:
            insert(connection, StoreEvent(EventType.RETENTION, reason=reason, count=count))
    return max(*deleted.values(), *given_up.values(), 0) >= _AT_ONCE


def _last_old(connection: sqlite3.Connection, span: tuple[str, str], how: str, **names: str) -> int:
    """Return the number of the last row before `span` that no row within it precedes; 0 for none.

    Times after the span are those of a clock that was wrong: they are neither old nor recent.
    """
    first_recent = _FIRST_RECENT.format(how=how, **names)
    (first,) = connection.execute(first_recent, (_LAST_ROW, *span)).fetchone()
    last_old = connection.execute(_LAST_OLD.format(how=how, **names), (first, span[0]))
    return int(last_old.fetchone()[0])


def retention_job(limits: Retention, put: Callable[[Job, int], bool], clock: WallClock) -> Job:
    """Return a job that deletes a part and hands itself over again while there is more."""

    def job(connection: sqlite3.Connection) -> None:
        if delete_old(connection, limits, clock.now(connection)):
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


def _delete_statistics(connection: sqlite3.Connection, last_old: int, share: float) -> int:
    """Delete minutes up to the row `last_old`, or this share of them, the oldest first."""
    aged = connection.execute("SELECT count(*) FROM statistics WHERE rowid <= ?", (last_old,))
    count = max(aged.fetchone()[0], round(_count(connection, "statistics") * share))
    return connection.execute(
        "DELETE FROM statistics WHERE rowid IN "
        "(SELECT rowid FROM statistics ORDER BY rowid LIMIT ?)",
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
