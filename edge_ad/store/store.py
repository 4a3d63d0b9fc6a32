"""The store of a line: one folder, one writer, everything a line must not lose."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from edge_ad.closeable import ClosedAtExit
from edge_ad.errors import OutletLost
from edge_ad.store.event import EventType, StoreEvent, close_open_alarms, insert
from edge_ad.store.lock import FolderLock
from edge_ad.store.parts import PartNumbers, reserve_first
from edge_ad.store.rescue import check_whole, rescue
from edge_ad.store.retention import Retention, retention_job
from edge_ad.store.schema import DATABASE, DamagedStore, connect, create, is_damage
from edge_ad.store.statistics import restore_minutes
from edge_ad.store.wall_clock import WallClock
from edge_ad.store.writer import CAPACITY, Job, Writer

_log = logging.getLogger(__name__)
_RETENTION_EVERY_S = 600.0
_LOOK_EVERY_S = 10.0  # at the clock


class Store(ClosedAtExit):
    """An open store, continued where the last line in the folder ended; it owns the `lock`.

    Its methods may be called from any thread and never wait for the disk. `next_part` returns part
    numbers. Functions in `committed` are called after each commit, in the writer's thread, those in
    `rescued` after a damaged database was replaced; they must return at once. Those in `closing`
    are called when everything was recorded, before the store closes.

    Raises UsageError when another line writes to the folder, OutletLost when it cannot be written,
    DataError and IncompatibleError for a database that is no store's. Of a damaged one what can be
    read is kept.
    """

    def __init__(
        self,
        folder: Path,
        retention: Retention | None = None,
        *,
        lock: FolderLock | None = None,
        capacity: int = CAPACITY,
    ) -> None:
        self.path = folder / DATABASE
        self.committed: list[Callable[[], None]] = []
        self.rescued: list[Callable[[], None]] = []
        self.closing: list[Callable[[], None]] = []
        self._retention = retention or Retention()
        self._closed = False
        self._clock, self._clock_lock = WallClock(), threading.Lock()
        self._lock = lock
        is_new = not self.path.exists()
        try:
            self._lock = self._lock or FolderLock(folder)
            first_part, self.interrupted = _begin_even_damaged(self.path, self._clock)
        except BaseException as error:
            self._give_up(is_new=is_new)
            if isinstance(error, (OSError, sqlite3.Error)):
                raise OutletLost(f"{self.path}: cannot be written ({error}).") from error
            raise
        if self.interrupted:
            _log.warning("%s: the line before was killed or lost power; continued", self.path)
        self._writer = Writer(
            self.path, lambda: _call(self.committed), lambda: _call(self.rescued), capacity
        )
        self.next_part = PartNumbers(first_part, self.put)
        self._retained_s = -_RETENTION_EVERY_S
        self._looked_s = time.monotonic()

    @property
    def lost(self) -> int:
        """Events that could not be kept since the start."""
        return self._writer.lost

    @property
    def cause(self) -> str:
        """Why events were lost; empty when none was."""
        return self._writer.cause

    @property
    def problem(self) -> str:
        """Why nothing can be written at the moment; empty when it can."""
        return self._writer.problem

    @property
    def writes(self) -> bool:
        """Whether the thread that writes is there; it may be waiting for the disk."""
        return self._writer.is_alive

    @property
    def queued(self) -> int:
        """Count what is handed over and not written yet."""
        return self._writer.queued

    def record(self, event: StoreEvent) -> bool:
        """Hand over an event; return False when it is lost, which is counted."""
        return self.put(partial(insert, event=event))

    def put(self, job: Job, records: int = 1) -> bool:
        """Hand over a job for the writer's transaction, which writes that many records.

        Return False when it is lost.
        """
        now = time.monotonic()
        if now - self._looked_s > _LOOK_EVERY_S:
            self._looked_s = now
            self._look_at_clock()
        if now - self._retained_s > _RETENTION_EVERY_S:  # also on a line whose parts are all normal
            self._retained_s = now
            self._writer.put(retention_job(self._retention, self._writer.put, self._clock), 0)
        return self._writer.put(job, records)

    def _look_at_clock(self) -> None:
        with self._clock_lock:
            jump = self._clock.jumped()
        if jump is not None:
            _log.warning("%s: %s", self.path.parent, jump.reason)
            self._writer.put(partial(insert, event=jump))

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is committed; return False after `timeout_s`."""
        return self._writer.flush(timeout_s)

    def put_and_wait(self, job: Job, within_s: float) -> bool:
        """Hand over a job and return whether it is committed within that time.

        One that is not is still written later, unless it is lost. Never call it in the writer's
        thread or that of a camera.
        """
        ran, committed = threading.Event(), threading.Event()

        def run(connection: sqlite3.Connection) -> None:
            job(connection)
            ran.set()

        def note() -> None:
            if ran.is_set():
                committed.set()

        self.committed.append(note)
        try:
            return self.put(run) and committed.wait(within_s)
        finally:
            self.committed.remove(note)

    def close(self) -> None:
        """Write what is queued and unlock the folder; a second call does nothing."""
        if self._closed:
            return
        self._closed = True
        self.put(self.next_part.release, records=0)
        self.record(StoreEvent(EventType.LINE, step="stop"))
        for function in self.closing:
            function()
        self._writer.close()
        assert self._lock is not None
        self._lock.release()

    def _give_up(self, *, is_new: bool) -> None:
        """Remove what a refused start has made, and unlock."""
        if self._lock is None:  # another line's
            return
        if is_new:
            self.path.unlink(missing_ok=True)
        self._lock.release(refused=True)


def _call(functions: list[Callable[[], None]]) -> None:
    for function in tuple(functions):  # others may come and go meanwhile
        function()


def _begin_even_damaged(path: Path, clock: WallClock) -> tuple[int, bool]:
    """Make or continue a database like `_begin`, a damaged one with what can be read of it."""
    try:
        if _is_emptied(path):
            raise DamagedStore(path, "it is empty")
        return _begin(path, clock)
    except DamagedStore as error:
        why = error.why
    except sqlite3.Error as error:
        if not is_damage(error):
            raise
        why = str(error)
    _log.warning("%s: %s", path.parent, rescue(path, why))
    return _begin(path, clock)


def _is_emptied(path: Path) -> bool:
    """Return whether a database is empty beside images of parts that it had."""
    return (
        path.exists() and path.stat().st_size == 0 and any(path.parent.glob("evidence/part-*.jpg"))
    )


def _begin(path: Path, clock: WallClock) -> tuple[int, bool]:
    """Make or continue a database; return the first part number and whether a line was killed."""
    create(path)
    connection = connect(path, busy_s=10.0)
    try:
        interrupted = _was_interrupted(connection)
        if interrupted:
            check_whole(connection)
        connection.execute("BEGIN IMMEDIATE")
        jump = clock.started(connection)
        if jump is not None:
            _log.warning("%s: %s", path.parent, jump.reason)
            insert(connection, jump)
        closed = close_open_alarms(connection)
        restore_minutes(connection)
        reason = f"after an interruption; alarms left open: {closed}" if interrupted else ""
        insert(connection, StoreEvent(EventType.LINE, step="start", reason=reason))
        first = reserve_first(connection)
        connection.execute("COMMIT")
    finally:
        connection.close()
    return first, interrupted


def _was_interrupted(connection: sqlite3.Connection) -> bool:
    row = connection.execute(
        "SELECT step FROM events WHERE type = 'line' ORDER BY seq DESC LIMIT 1"
    ).fetchone()
    return row is not None and row["step"] == "start"
