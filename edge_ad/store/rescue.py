"""Go on after damage: a power cut on a cheap disk may leave pages of a database torn or zeroed.

What can be read moves into a new database; the damaged one is put aside, for whoever wants to look
further.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.schema import connect, create

_log = logging.getLogger(__name__)

_AT_ONCE = 5_000  # rows a read
_LAST_ROW = 1 << 62
_SKIPPED = 10_000  # numbers that lost rows may have had
_PUT_ASIDE = 2  # damaged databases kept, each as large as the store was
_WITHOUT_EVENT = "seq NOT IN (SELECT seq FROM events)"
_INDEXED = ("seq", "camera", "type", "kind", "step", "time_utc", "part", "alarm", "area_px")
_Row = tuple[object, ...]


def rescue(path: Path, why: str) -> str:
    """Replace a damaged database by a new one with what can be read of it; return what was done.

    Numbers of events and parts go on beyond those that may have been lost. A crash meanwhile leaves
    the damaged one. Raises OSError or sqlite3.Error when the new one cannot be written.
    """
    _log.warning("%s is damaged (%s): saving what can be read, which may take minutes", path, why)
    new = path.with_name(f"{path.name}.new")
    _remove(new)
    try:
        create(new)
        with closing(connect(new)) as target:
            target.execute("PRAGMA journal_mode=MEMORY")  # a crash leaves the old one
            target.execute("PRAGMA synchronous=OFF")
            target.execute("BEGIN")
            counts = _copy(path, target)
            _drop_half_rows(target)
            _drop_loose_ends(target)
            _count_on(target, path.parent)
            aside = path.with_name(f"{path.name}.damaged-{_moment()}")
            text = f"{path.name} was damaged ({why}) and put aside as {aside.name}; {_kept(counts)}"
            insert(target, StoreEvent(EventType.LOST, reason=text))
            target.execute("COMMIT")
            target.execute("PRAGMA journal_mode=WAL")
        _swap(path, new, aside)
    except BaseException:
        _remove(new)
        raise
    return text


def check_whole(connection: sqlite3.Connection) -> None:
    """Raise sqlite3.DatabaseError for a database with a damaged page or index."""
    (result,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if result != "ok":
        raise sqlite3.DatabaseError(" ".join(result.split()))


def _copy(path: Path, target: sqlite3.Connection) -> dict[str, int]:
    """Copy each table's rows that can be read; return their numbers by table."""
    tables = [
        row[0]
        for row in target.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        )
    ]
    with closing(sqlite3.connect(path, isolation_level=None)) as source:
        source.text_factory = lambda data: data.decode("utf-8", "replace")
        with contextlib.suppress(sqlite3.Error):
            source.execute("PRAGMA writable_schema=ON")  # reads a file that was cut off, too
        return {table: _copy_table(source, target, table) for table in tables}


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str) -> int:
    try:
        columns = [row[1] for row in source.execute(f"PRAGMA table_info({table})")]
    except sqlite3.Error:
        return 0
    known = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    columns = [column for column in columns if column in known]  # a schema may be torn, too
    if not columns:
        return 0
    if "WITHOUT ROWID" in _definition(target, table):
        return _insert(target, table, columns, _keyed_rows(source, table, columns))
    count = _insert(target, table, columns, _rows(source, table, columns))
    if table == "events":  # without the root of the table, its index has the most of each row
        rows = _rows(source, table, _INDEXED, "INDEXED BY events_listed")
        count += _insert(target, table, _INDEXED, rows)
    return count


def _insert(
    target: sqlite3.Connection, table: str, columns: Sequence[str], rows: Iterator[_Row]
) -> int:
    """Insert the rows that are new and whole, and return how many they were."""
    marks = ", ".join("?" * len(columns))
    into = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({marks})"
    before = target.total_changes
    target.executemany(into, rows)
    return target.total_changes - before


def _definition(connection: sqlite3.Connection, table: str) -> str:
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,))
    return str(rows.fetchone()[0])


def _rows(
    source: sqlite3.Connection, table: str, columns: Sequence[str], how: str = "NOT INDEXED"
) -> Iterator[_Row]:
    """Yield a table's rows by number; leap over those that cannot be read, further each time."""
    read = (
        f"SELECT rowid, {', '.join(columns)} FROM {table} {how} "
        "WHERE rowid > ? ORDER BY rowid LIMIT ?"
    )
    last, leap, at_once = 0, 1, _AT_ONCE
    while last < _LAST_ROW:
        try:
            rows = source.execute(read, (last, at_once)).fetchall()
        except sqlite3.Error:
            if at_once > 1:
                at_once = 1  # up to the first that cannot be read
                continue
            last, leap = last + leap, leap * 2
            continue
        if not rows:
            return
        for number, *values in rows:
            yield tuple(values)
            last = number
        leap, at_once = 1, min(at_once * 2, _AT_ONCE)


def _keyed_rows(source: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[_Row]:
    """Yield the rows of a small table from its beginning, then from its end, up to damage."""
    for order in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error):
            yield from source.execute(
                f"SELECT {', '.join(columns)} FROM {table} ORDER BY {columns[0]} {order}"
            )
            return


def _drop_half_rows(target: sqlite3.Connection) -> None:
    """Remove rows and values that no line writes: a torn page may still look like one."""
    types = ", ".join(f"'{each.value}'" for each in EventType)
    target.execute(f"DELETE FROM events WHERE datetime(time_utc) IS NULL OR type NOT IN ({types})")
    for table, column in (("events", "regions"), ("events", "old"), ("events", "new")):
        target.execute(f"UPDATE {table} SET {column} = NULL WHERE NOT json_valid({column})")
    target.execute("DELETE FROM statistics WHERE NOT json_valid(scores)")
    target.execute("UPDATE statistics SET latency_ms = NULL WHERE NOT json_valid(latency_ms)")
    for table, column in (("drift", "state"), ("settings", "kept")):
        target.execute(f"DELETE FROM {table} WHERE NOT json_valid({column})")


def _drop_loose_ends(target: sqlite3.Connection) -> None:
    """Remove what refers to events that were lost."""
    for table in ("outbox", "dead_letters", "open_alarms"):
        target.execute(f"DELETE FROM {table} WHERE {_WITHOUT_EVENT}")


def _count_on(target: sqlite3.Connection, folder: Path) -> None:
    """Let numbers go on beyond those that lost rows may have had."""
    newest = target.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
    target.execute("DELETE FROM sqlite_sequence WHERE name = 'events'")
    target.execute("INSERT INTO sqlite_sequence VALUES ('events', ?)", (newest + _SKIPPED,))
    part = target.execute(
        "SELECT max((SELECT value FROM meta WHERE key = 'next_part'), "
        "(SELECT coalesce(max(part), 0) + 1 FROM events), "
        "(SELECT coalesce(max(part), 0) + 1 FROM samples))"
    ).fetchone()[0]
    images = (re.fullmatch(r"part-(\d+)", path.stem) for path in folder.glob("evidence/part-*.jpg"))
    part = max(int(part), *(int(match[1]) + 1 for match in images if match), 1)
    target.execute("UPDATE meta SET value = ? WHERE key = 'next_part'", (part + _SKIPPED,))


def _kept(counts: dict[str, int]) -> str:
    return f"what could be read: events {counts['events']}, minutes {counts['statistics']}"


def _swap(path: Path, new: Path, aside: Path) -> None:
    """Put the new database in place, the log first: it would be taken for the new one's."""
    _sync(new)
    try:
        os.link(path, aside)
    except OSError:  # a file system without links
        shutil.copyfile(path, aside)
    for suffix in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.replace(f"{path}{suffix}", f"{aside}{suffix}")
    os.replace(new, path)
    _remove(new)
    _sync(path.parent)
    others = {*path.parent.glob(f"{path.name}.damaged-*Z")} - {aside}
    for old in sorted(others)[: 1 - _PUT_ASIDE]:
        _remove(old)


def _sync(path: Path) -> None:
    """Let a file, or the names in a folder, reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _moment() -> str:
    return datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)
