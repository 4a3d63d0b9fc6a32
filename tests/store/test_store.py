"""The store: what is committed stays, a line that starts again goes on, one line a folder."""

from __future__ import annotations

import fcntl
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from edge_ad.errors import DataError, IncompatibleError, UsageError
from edge_ad.store.lock import LOCK, is_locked
from edge_ad.store.store import Store
from tests.store.rows import REJECT, alarm, rows
from tests.timing import wait_until


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
    begins = [reason for kind, step, reason in steps if (kind, step) == ("line", "start")]
    assert begins[1:] == ["after an interruption; alarms left open: 1"] * kills
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


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"no database at all, but long enough" * 40, DataError, "is not a database"),
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
