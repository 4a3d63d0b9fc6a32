"""Old events and statistics: deleted by age, count and bytes, and counted."""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.retention import Retention, delete_old, retention_job
from edge_ad.store.store import Store
from edge_ad.store.wall_clock import WallClock
from tests.store.rows import REJECT, alarm, now, rows
from tests.timing import LIMIT_S, wait_until

MINUTE = (
    "INSERT INTO statistics VALUES ('2026-11-28T06:00Z', 'top', 1, 0, 0, 0, '{}', NULL, NULL, NULL)"
)


def make_older(connection: sqlite3.Connection) -> None:
    """Let what is there be from a line that ran long ago."""
    connection.execute("UPDATE events SET time_utc = '2001-01-01T00:00:00.000+00:00'")


def test_old_events_go_rejects_first_and_are_counted(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.put(make_older)
        store.record(StoreEvent(EventType.REJECT, time_utc="2001-01-01T00:00:00.000+00:00"))
        for name in "abc":
            store.record(alarm("new", name))
            store.record(REJECT)
    with Store(tmp_path, Retention(days=30, count=8)) as store:
        store.record(alarm("end"))
    written = rows(tmp_path, "type, count")
    assert [count for kind, count in written if kind == "retention"] == [2, 3]
    kinds = [kind for kind, _ in written]
    assert "reject" not in kinds and kinds.count("alarm") == 7


def test_minutes_are_limited_on_a_line_without_events(tmp_path: Path) -> None:
    with Store(tmp_path) as store, closing(sqlite3.connect(tmp_path / "line.db")) as other:
        old = MINUTE.replace("2026", "2001")
        store.put(lambda connection: connection.execute(old), 0)
        assert store.flush(LIMIT_S)
        counted = "SELECT count(*) FROM statistics"
        assert other.execute(counted).fetchone()[0] == 1
    with Store(tmp_path, Retention(days=1)) as store:
        store.put(lambda connection: connection.execute("SELECT 1"), 0)
        assert store.flush(LIMIT_S)
        assert rows(tmp_path, "type, count")[-1] == ("retention", 1)


@pytest.mark.parametrize("days", [1e9, math.inf])
def test_events_may_be_kept_without_end(tmp_path: Path, days: float) -> None:
    with Store(tmp_path) as store:
        store.record(StoreEvent(EventType.REJECT, time_utc="0001-01-01T00:00:00.000+00:00"))

    with closing(sqlite3.connect(tmp_path / "line.db")) as connection, connection:
        delete_old(connection, Retention(days=days), now())

    assert [kind for (kind,) in rows(tmp_path, "type") if kind != "line"] == ["reject"]


def test_bytes_are_limited_and_statistics_go_with_the_events(tmp_path: Path) -> None:
    limits = Retention(days=1e5, size_bytes=200_000)
    with Store(tmp_path) as store, closing(sqlite3.connect(tmp_path / "line.db")) as other:
        for part in range(1500):
            store.record(StoreEvent(EventType.REJECT, camera="top", part=part, reason="x" * 200))
            store.put(lambda connection: connection.execute(MINUTE))
        store.record(alarm("new"))
        wait_until(lambda: len(rows(tmp_path)) == 1502)
        store.put(retention_job(limits, store.put, WallClock()))
        store.record(REJECT)
        wait_until(lambda: rows(tmp_path)[-1] == ("reject", None))
        kept = other.execute("SELECT count(*) FROM events").fetchone()[0]
        oldest = other.execute("SELECT part FROM events WHERE type = 'reject' ORDER BY seq")
        assert oldest.fetchone()[0] > 500
        minutes = other.execute("SELECT count(*) FROM statistics").fetchone()[0]
    assert 100 < kept < 1000 and 100 < minutes < 1000
    counted = [count for kind, count in rows(tmp_path, "type, count") if kind == "retention"]
    assert counted == [1502 + 3 - kept, 1500 - minutes]
    assert ("alarm", "new") in rows(tmp_path)
