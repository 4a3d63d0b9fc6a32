"""Read a store while a line writes to it, in short transactions."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edge_ad.errors import EdgeAdError, UsageError
from edge_ad.store.lock import is_locked
from edge_ad.store.schema import (
    DATABASE,
    READS_WITHIN_S,
    DamagedStore,
    connect_reading,
    is_damage,
)

Record = dict[str, Any]

COLUMNS = (
    *("seq", "id", "type", "camera", "time_utc", "step", "kind", "alarm", "part", "frame"),
    *("verdict", "score", "threshold", "reason", "source", "file", "evidence", "regions"),
    *("who", "refers", "count", "old", "new", "acknowledged", "marked"),
)
_AT_ONCE = 1_000  # events a read: a long one would keep the line from emptying its log
_POLL_S = 0.2
_ABOUT = (
    "(SELECT {what} FROM events AS note WHERE note.type = '{type}' AND "
    "(note.refers = events.seq OR note.alarm = events.alarm) ORDER BY note.seq DESC LIMIT 1)"
)
SELECT = (
    f"SELECT events.*, {_ABOUT.format(what='who', type='ack')} AS acknowledged, "
    f"{_ABOUT.format(what='step', type='mark')} AS marked FROM events"
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to read; empty fields do not limit. `types` are types or kinds of alarms.

    `since` and `until` are texts in UTC (`edge_ad.clock`); `limit` keeps the newest.
    """

    cameras: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    since: str = ""
    until: str = ""
    limit: int | None = None

    def where(self) -> tuple[str, list[object]]:
        """Return the condition in SQL, and its values."""
        terms, values = ["TRUE"], list[object]()
        if self.cameras:
            terms.append(f"camera IN ({_marks(self.cameras)})")
            values += self.cameras
        if self.types:
            terms.append(f"(type IN ({_marks(self.types)}) OR kind IN ({_marks(self.types)}))")
            values += self.types * 2
        for term, value in (("time_utc >= ?", self.since), ("time_utc < ?", self.until)):
            if value:
                terms.append(term)
                values.append(value)
        return " AND ".join(terms), values


@contextmanager
def open_reading(folder: Path, busy_s: float = READS_WITHIN_S) -> Iterator[sqlite3.Connection]:
    """Open the store of a folder for reading; while another locks it, wait `busy_s` seconds.

    Raises UsageError for a folder without one, EdgeAdError when it cannot be read.
    """
    path = folder / DATABASE
    if not path.is_file():
        if is_locked(folder):
            raise UsageError(f"the line in {folder} is still starting. Try again in a moment.")
        raise UsageError(
            f"{folder} has no {DATABASE}. Expected the output folder of a line: "
            "edge-ad run ... -o DIR"
        )
    try:
        connection = connect_reading(path, busy_s)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    try:
        yield connection
    except sqlite3.Error as error:
        raise _unreadable(path, error) from error
    finally:
        connection.close()


def _unreadable(path: Path, error: sqlite3.Error) -> EdgeAdError:
    if is_damage(error):
        return DamagedStore(path, str(error))
    return EdgeAdError(f"{path}: cannot be read ({error}).")


@contextmanager
def open_snapshot(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open it so that all queries see one moment, though a line writes meanwhile.

    Not for slow readers: the write-ahead log grows until they end. Raises like `open_reading`.
    """
    with open_reading(folder) as connection:
        connection.execute("BEGIN")
        yield connection


def read_events(folder: Path, chosen: EventFilter) -> Iterator[Record]:
    """Yield the events of a folder that match, oldest first. Raises like `open_reading`."""
    with open_reading(folder) as connection:
        yield from read_open(connection, chosen)


def follow_events(folder: Path, chosen: EventFilter) -> Iterator[Record]:
    """Yield the events that match, then new ones as they are committed, without end.

    When the store is moved away, the next one in its place is followed from its beginning.
    """
    path, store, last = folder / DATABASE, "", 0
    while True:
        inode = _inode(path)
        with open_reading(folder) as connection:
            opened = store_id(connection)
            last = min(last, _newest(connection)) if opened == store else 0  # the same, restored
            store = opened
            while _inode(path) == inode:
                newest = _newest(connection)
                for event in read_open(connection, chosen, last):
                    yield event
                    newest = max(newest, event["seq"])
                chosen, last = replace(chosen, limit=None), newest
                time.sleep(_POLL_S)
        while not _is_there(folder):
            time.sleep(_POLL_S)


def _inode(path: Path) -> int | None:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return None


def _is_there(folder: Path) -> bool:
    """Return whether a folder has a store that a line has begun to write. Raises if unreadable."""
    try:
        with open_reading(folder):
            return True
    except UsageError:
        return False


def read_open(
    connection: sqlite3.Connection, chosen: EventFilter, after: int = 0
) -> Iterator[Record]:
    """Yield the events of an open store that match and have a `seq` above `after`."""
    where, values = chosen.where()
    store = store_id(connection)
    if chosen.limit is not None:
        newest = f"SELECT seq FROM events WHERE {where} ORDER BY seq DESC LIMIT ?"
        rows = connection.execute(
            f"SELECT min(seq) FROM ({newest})", [*values, chosen.limit]
        ).fetchone()
        if rows[0] is None:
            return
        after = max(after, rows[0] - 1)
    while rows := connection.execute(
        f"{SELECT} WHERE seq > ? AND {where} ORDER BY seq LIMIT ?", [after, *values, _AT_ONCE]
    ).fetchall():
        for row in rows:
            yield to_record(row, store)
        after = rows[-1]["seq"]


def store_id(connection: sqlite3.Connection) -> str:
    """Return the name that tells this store's events from those of others."""
    return str(connection.execute("SELECT value FROM meta WHERE key = 'store'").fetchone()[0])


def to_record(row: sqlite3.Row, store: str) -> Record:
    """Return an event's row as JSON values. `camera` is None for what concerns the whole line."""
    record: Record = {"seq": row["seq"], "id": f"{store}-{row['seq']}", "type": row["type"]}
    record |= {"camera": row["camera"], "time_utc": row["time_utc"]}
    names = set(row.keys()) - {*record, "regions"}
    record |= {name: row[name] for name in COLUMNS if name in names and row[name] is not None}
    record |= {name: json.loads(record[name]) for name in ("old", "new") if name in record}
    if row["regions"] is not None:
        record["regions"] = json.loads(row["regions"])
    if record["type"] in ("ack", "mark"):  # notes are not noted upon
        record = {key: record[key] for key in record if key not in ("acknowledged", "marked")}
    return record


def _newest(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0])


def _marks(values: tuple[str, ...]) -> str:
    return ", ".join("?" * len(values))
