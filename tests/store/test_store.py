"""The store: what is committed stays, what cannot be kept is counted, no caller waits."""

from __future__ import annotations

import fcntl
import math
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.lock import LOCK, is_locked
from edge_ad.store.retention import Retention, delete_old, retention_job
from edge_ad.store.store import Store
from tests.timing import LIMIT_S, wait_until

MINUTE = (
    "INSERT INTO statistics VALUES ('2026-11-28T06:00Z', 'top', 1, 0, 0, 0, '{}', NULL, NULL, NULL)"
)
REJECT = StoreEvent(EventType.REJECT, camera="top", part=1)


def alarm(step: str, name: str = "a") -> StoreEvent:
    return StoreEvent(EventType.ALARM, step=step, kind="defect", alarm=name, camera="top")


def rows(folder: Path, columns: str = "type, step") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "line.db")) as connection:
        return connection.execute(f"SELECT {columns} FROM events ORDER BY seq").fetchall()


def test_events_are_committed_in_order_and_announced_afterwards(tmp_path: Path) -> None:
    seen: list[int] = []
    with Store(tmp_path) as store:
        store.committed.append(lambda: seen.append(len(rows(tmp_path))))
        for _ in range(3):
            assert store.record(REJECT)
        wait_until(lambda: bool(seen) and seen[-1] == 4)
    assert rows(tmp_path) == [("line", "start"), *[("reject", None)] * 3, ("line", "stop")]


def test_a_line_that_starts_again_goes_on(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert [store.next_part() for _ in range(3)] == [1, 2, 3]
        store.record(alarm("new"))
        store.record(alarm("end"))
    with Store(tmp_path) as store:
        assert store.next_part() == 4 and not store.interrupted
    assert [row for row in rows(tmp_path) if row[0] == "alarm"] == [
        ("alarm", "new"),
        ("alarm", "end"),
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
from edge_ad.store.event import EventType, StoreEvent
from edge_ad.store.store import Store

store = Store(Path(sys.argv[1]))
store.record(StoreEvent(EventType.ALARM, step="new", kind="defect", alarm="a", reason="spot"))
store.committed.append(lambda: print(store.next_part(), flush=True))
while True:
    store.record(StoreEvent(EventType.REJECT, part=store.next_part()))
    import time; time.sleep(0.002)
"""


@pytest.mark.parametrize("kills", [3, pytest.param(15, marks=pytest.mark.slow)])
def test_killed_at_any_moment_the_store_goes_on_and_closes_open_alarms(
    tmp_path: Path, kills: int
) -> None:
    highest = 0
    for attempt in range(kills):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as running:
            assert running.stdout is not None
            for _ in range(1 + attempt):
                line = running.stdout.readline()
            running.send_signal(signal.SIGKILL)
            running.wait()
        parts = [part for (part,) in rows(tmp_path, "part") if part is not None]
        assert parts == sorted(set(parts)), "a part number came twice"
        assert int(line) > highest
        highest = parts[-1]
    with Store(tmp_path) as store:
        assert store.interrupted and store.next_part() > highest
    steps = rows(tmp_path, "type, step, reason")
    ends = [reason for kind, step, reason in steps if (kind, step) == ("alarm", "end")]
    assert len(ends) == kills and all("spot; the line ended without" in reason for reason in ends)


def test_a_second_line_in_the_folder_is_refused(tmp_path: Path) -> None:
    with Store(tmp_path):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"):
            Store(tmp_path)
    Store(tmp_path).close()


def test_who_asks_whether_a_line_runs_hinders_nobody(tmp_path: Path) -> None:
    (tmp_path / LOCK).touch()
    with (tmp_path / LOCK).open() as asking:  # as `is_locked` does, in another process
        fcntl.flock(asking, fcntl.LOCK_SH)
        assert not is_locked(tmp_path)
        threading.Timer(0.05, fcntl.flock, (asking, fcntl.LOCK_UN)).start()
        with Store(tmp_path):
            assert is_locked(tmp_path)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    with closing(sqlite3.connect(folder / "line.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def full(_: Path) -> Iterator[None]:
    """Let the kernel refuse what a full disk would refuse."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def gone(folder: Path) -> Iterator[None]:
    (folder / "line.db").rename(folder / "elsewhere")
    yield
    (folder / "elsewhere").rename(folder / "line.db")


@pytest.mark.parametrize("broken", [locked, full, gone])
def test_what_cannot_be_written_waits_is_counted_and_reported_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, broken: Any
) -> None:
    with Store(tmp_path, capacity=5) as store:
        store.record(REJECT)
        wait_until(lambda: len(rows(tmp_path)) == 2)
        with broken(tmp_path):
            kept = [store.record(REJECT) for _ in range(20)]
            # had they waited for the disk, none of them would be lost
            wait_until(lambda: bool(store.problem))
        assert sum(kept) == 20 - store.lost and store.lost > 0
        wait_until(lambda: not store.problem)
    assert caplog.text.count("cannot be written") == 1
    assert caplog.text.count("can be written again") == 1
    written = rows(tmp_path, "type, count")
    assert [kind for kind, _ in written].count("reject") == 1 + sum(kept)
    assert [count for kind, count in written if kind == "lost"] == [store.lost]


def test_a_disk_that_fails_again_and_again_is_logged_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(tmp_path) as store:
        for _ in range(3):
            with gone(tmp_path):
                store.record(REJECT)
                wait_until(lambda: bool(store.problem))
            wait_until(lambda: not store.problem)
    assert caplog.text.count("cannot be written") == 1
    assert caplog.text.count("can be written again") == 1
    assert len(rows(tmp_path)) == 5 and store.lost == 0


def test_closing_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge_ad.store.writer._CLOSE_WITHIN_S", 0.1)
    store = Store(tmp_path)
    with gone(tmp_path):
        store.record(REJECT)
        store.close()
    assert store.lost == 2 and "removed or renamed" in store.cause  # reject and stop


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"no database at all, but long enough" * 40, DataError, "damaged or no database"),
        ("CREATE TABLE songs (title)", DataError, "another program's database"),
        (
            "CREATE TABLE events (seq); PRAGMA user_version=99",
            IncompatibleError,
            "written by a newer edge-ad",
        ),
    ],
)
def test_another_file_is_refused_and_left_alone(
    tmp_path: Path, content: bytes | str, error: type[Exception], message: str
) -> None:
    path = tmp_path / "line.db"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(content)
    before = path.read_bytes()
    with pytest.raises(error, match=message):
        Store(tmp_path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["line.db"]


def test_old_events_go_rejects_first_and_are_counted(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.record(StoreEvent(EventType.REJECT, time_utc="2001-01-01T00:00:00.000+00:00"))
        for name in "abc":
            store.record(alarm("new", name))
            store.record(REJECT)
    with Store(tmp_path, Retention(days=30, count=9)) as store:
        store.record(alarm("end"))
    written = rows(tmp_path, "type, count")
    assert [count for kind, count in written if kind == "retention"] == [1, 3]
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
        delete_old(connection, Retention(days=days))

    assert [kind for (kind,) in rows(tmp_path, "type") if kind != "line"] == ["reject"]


def test_bytes_are_limited_and_statistics_go_with_the_events(tmp_path: Path) -> None:
    limits = Retention(days=1e5, size_bytes=200_000)
    with Store(tmp_path) as store, closing(sqlite3.connect(tmp_path / "line.db")) as other:
        for part in range(1500):
            store.record(StoreEvent(EventType.REJECT, camera="top", part=part, reason="x" * 200))
            store.put(lambda connection: connection.execute(MINUTE))
        store.record(alarm("new"))
        wait_until(lambda: len(rows(tmp_path)) == 1502)
        store.put(retention_job(limits, store.put))
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


def test_a_wrong_event_is_dropped_and_the_others_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(tmp_path) as store:
        store.record(StoreEvent(EventType.REJECT, part=1 << 80))
        store.record(REJECT)
    assert rows(tmp_path, "type, count").count(("lost", 1)) == 1 and store.lost == 1
    assert "cannot be stored" in caplog.text and ("reject", None) in rows(tmp_path)


def test_a_wrong_event_is_lost_once_however_often_it_is_tried(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    handed_over, attempts = threading.Event(), iter(["fails", "fails", "works"])

    def fail_twice(_: sqlite3.Connection) -> None:
        if next(attempts) == "fails":
            raise sqlite3.OperationalError("disk I/O error")

    with Store(tmp_path) as store:
        store.put(lambda _: handed_over.wait(LIMIT_S))  # what follows is one transaction
        store.record(StoreEvent(EventType.REJECT, part=1 << 80))
        store.put(fail_twice)
        handed_over.set()
    assert not list(attempts)
    assert rows(tmp_path, "type, count").count(("lost", 1)) == 1 and store.lost == 1
    assert caplog.text.count("cannot be stored") == 1


def test_a_listener_that_fails_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(tmp_path) as store:
        store.committed.append(lambda: print(1 / 0))
        store.record(REJECT)
    assert "a listener failed" in caplog.text and len(rows(tmp_path)) == 3


def test_many_threads_get_numbers_that_differ(tmp_path: Path) -> None:
    numbers: list[int] = []
    with Store(tmp_path) as store:

        def count() -> None:
            numbers.extend(store.next_part() for _ in range(6_000))

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(numbers) == list(range(1, 24_001))
    with Store(tmp_path) as store:
        assert store.next_part() == 24_001
