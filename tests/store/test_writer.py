"""The store's thread: what cannot be written waits or is counted, and no caller waits."""

from __future__ import annotations

import resource
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.store import Store
from tests.store.rows import REJECT, rows
from tests.timing import LIMIT_S, wait_until


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


@pytest.mark.parametrize(
    ("free", "problem"), [(20_000, "the disk is full"), (1 << 30, "disk I/O error")]
)
def test_a_full_disk_is_not_taken_for_a_broken_one(
    free: int, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    with Store(tmp_path) as store:
        monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=free))
        with monkeypatch.context() as broken:
            broken.setattr("edge_ad.store.writer.Writer._commit", fail)
            wait_until(lambda: store.record(REJECT) and store.problem == problem)
        wait_until(lambda: not store.problem)


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


def test_a_wrong_event_is_dropped_and_the_others_are_written(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Store(tmp_path) as store:
        store.record(StoreEvent(EventType.REJECT, part=1 << 80))
        store.record(REJECT)
    assert rows(tmp_path, "type, count").count(("lost", 1)) == 1 and store.lost == 1
    assert "cannot be stored" in caplog.text and ("reject", None) in rows(tmp_path)


def test_a_job_that_is_wrong_halfway_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail_halfway(connection: sqlite3.Connection) -> None:
        insert(connection, replace(REJECT, part=2))
        insert(connection, replace(REJECT, part=1 << 80))

    with Store(tmp_path) as store:
        store.record(REJECT)
        store.put(fail_halfway, records=2)
        store.record(replace(REJECT, part=3))
    assert [part for kind, part in rows(tmp_path, "type, part") if kind == "reject"] == [1, 3]
    assert rows(tmp_path, "type, count").count(("lost", 2)) == 1 and store.lost == 2


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
