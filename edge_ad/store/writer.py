"""The thread that owns a store's connection: no other thread waits for a disk.

What is handed to it together is committed together. While the database cannot be written (disk
full, locked, read-only), jobs wait in a bounded queue; those beyond it are counted as lost, and the
count becomes an event as soon as writing succeeds again. A database that turns out to be damaged is
replaced by a new one with what can be read of it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import shutil
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from edge_ad.store.event import EventType, StoreEvent, insert
from edge_ad.store.rescue import rescue
from edge_ad.store.schema import connect, is_damage

_log = logging.getLogger(__name__)

Job = Callable[[sqlite3.Connection], object]

CAPACITY = 10_000  # jobs: minutes of a bad line, a few megabytes
_BATCH = 500  # jobs a transaction
_PAUSES_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)  # between attempts to write again
_CHECKPOINT_S = 60.0
_CLOSE_WITHIN_S = 5.0
_HANGS_AFTER_S = 30.0  # a dead network disk
_LOG_EVERY_S = 60.0  # a disk that is all but full fails again and again
_RESCUE_EVERY_S = 3600.0  # a disk that damages what it has just taken is no place for a store
_ROOM_BYTES = 1 << 16  # SQLite asks for 32 KiB at once
_WRONG_JOB = (sqlite3.ProgrammingError, sqlite3.IntegrityError, sqlite3.DataError)


class Writer:
    """Runs jobs in transactions, in the order of `put`, in its own thread.

    `problem` is why nothing can be written at present, or empty. `lost` counts the records that
    were dropped, `cause` is the last reason. `on_commit` is called in the thread after each commit,
    `on_rescue` after the database was replaced.
    """

    def __init__(
        self,
        path: Path,
        on_commit: Callable[[], None],
        on_rescue: Callable[[], None],
        capacity: int = CAPACITY,
    ) -> None:
        self._path, self._capacity = path, capacity
        self._on_commit, self._on_rescue = on_commit, on_rescue
        self._jobs: deque[tuple[Job, int]] = deque()  # with the records that each writes
        self._changed = threading.Condition()
        self._closing = False
        self._connection: sqlite3.Connection | None = None
        self._inode = path.stat().st_ino
        self._unreported = 0
        self._checkpointed = time.monotonic()
        self.problem = ""
        self._logged, self._logged_s = False, -_LOG_EVERY_S
        self._rescued_s = -_RESCUE_EVERY_S
        self.lost = 0
        self.cause = ""
        self._thread = threading.Thread(target=self._work, name="store", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def queued(self) -> int:
        """Count the jobs that are not written yet."""
        return len(self._jobs)

    def put(self, job: Job, records: int = 1) -> bool:
        """Hand over a job that writes `records` without waiting; return False when it is lost."""
        with self._changed:
            if self._closing or len(self._jobs) >= self._capacity:
                self._count_lost(records)
                return False
            self._jobs.append((job, records))
            self._changed.notify_all()
        return True

    def flush(self, timeout_s: float) -> bool:
        """Wait until nothing is queued; return False after `timeout_s`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._jobs, timeout_s)

    def close(self) -> None:
        """Write what is queued, for at most 5 s when the database cannot be written.

        What is left then is lost, also where the disk never answers.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(_HANGS_AFTER_S)
        with self._changed:
            self._count_lost(sum(records for _, records in self._jobs))

    def _count_lost(self, count: int) -> None:
        if count == 0:
            return
        self.lost += count
        self._unreported += count
        self.cause = self.problem or "more events at once than the disk takes"

    def _work(self) -> None:
        failures, give_up = 0, float("inf")
        while batch := self._next_batch():
            if self._write(batch):
                failures, give_up = 0, float("inf")
                continue
            if self._closing:
                give_up = min(give_up, time.monotonic() + _CLOSE_WITHIN_S)
            if time.monotonic() > give_up:
                break
            self._pause(_PAUSES_S[min(failures, len(_PAUSES_S) - 1)])
            failures += 1
        self._disconnect(checkpoint=True)

    def _next_batch(self) -> list[tuple[Job, int]]:
        """Return the oldest jobs, which stay queued until they are written; none at the end."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._jobs or self._closing, timeout=_CHECKPOINT_S)
                jobs = list(itertools.islice(self._jobs, _BATCH))
                if jobs or self._closing:
                    return jobs
            self._checkpoint()

    def _write(self, batch: list[tuple[Job, int]]) -> bool:
        try:
            self._commit(batch)
        except (sqlite3.Error, OSError) as error:
            self._disconnect()
            if not self._rescued(error):
                self._report(error)
            return False
        with self._changed:
            for _ in batch:
                self._jobs.popleft()
            self._changed.notify_all()
        self.problem = ""
        if self._logged:
            _log.warning("%s: can be written again", self._path)
            self._logged = False
        self._notify(self._on_commit)
        if time.monotonic() - self._checkpointed > _CHECKPOINT_S:
            self._checkpoint()
        return True

    def _rescued(self, error: Exception) -> bool:
        """Replace a database that is damaged; return whether that was so and is done."""
        now = time.monotonic()
        damaged = isinstance(error, sqlite3.Error) and is_damage(error)
        if not damaged or now - self._rescued_s < _RESCUE_EVERY_S:
            return False
        self._rescued_s = now
        try:
            _log.error("%s: %s", self._path.parent, rescue(self._path, str(error)))
            self._inode = self._path.stat().st_ino
        except (sqlite3.Error, OSError) as failure:
            _log.error("%s is damaged, and no new one can be written (%s)", self._path, failure)
            return False
        self._notify(self._on_rescue)
        return True

    def _notify(self, listener: Callable[[], None]) -> None:
        try:
            listener()
        except Exception:  # a listener's bug must not end the writing
            _log.exception("%s: a listener failed", self._path)

    def _commit(self, batch: list[tuple[Job, int]]) -> None:
        self._check_in_place()
        if self._connection is None:
            self._connection = connect(self._path)
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        failed = [(_run(job, connection), records) for job, records in batch]
        wrong = [(error, records) for error, records in failed if error is not None]
        reported, cause = self._unreported, self.cause
        if wrong:
            cause = f"an event that cannot be stored ({wrong[-1][0]})"
        lost = sum(records for _, records in wrong)
        if reported + lost:
            insert(connection, StoreEvent(EventType.LOST, reason=cause, count=reported + lost))
        connection.execute("COMMIT")
        with self._changed:
            self._unreported -= reported
            self.lost += lost
            self.cause = cause if wrong else self.cause
        for error, _ in wrong:  # not before: what is rolled back is run again
            _log.error("an event cannot be stored", exc_info=error)

    def _check_in_place(self) -> None:
        """Raise OSError for a database that is another file by now: a deleted one would be written.

        No new one is made: the disk may be away, and what is found in its place another disk.
        """
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                return
            raise OSError("it was replaced by another file; put it back, or start the line again")
        raise OSError("it was removed or renamed; put it back, or start the line again")

    def _report(self, error: Exception) -> None:
        """Log a problem once, until writing has succeeded again, and every minute at most."""
        reason = _reason(error, self._path.parent)
        now = time.monotonic()
        if not self._logged and now - self._logged_s >= _LOG_EVERY_S:
            self._logged, self._logged_s = True, now
            _log.error(
                "%s: cannot be written (%s). The line goes on, and up to %d events wait in memory.",
                self._path,
                reason,
                self._capacity,
            )
        self.problem = reason

    def _pause(self, seconds: float) -> None:
        with self._changed:
            closing = self._closing
            self._changed.wait_for(lambda: self._closing != closing, timeout=seconds)

    def _checkpoint(self) -> None:
        """Empty the write-ahead log, unless a reader is in the way."""
        self._checkpointed = time.monotonic()
        if self._connection is not None:
            try:
                self._connection.execute("PRAGMA busy_timeout=20")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                self._connection.execute("PRAGMA busy_timeout=2000")
            except sqlite3.Error as error:
                _log.debug("%s: no checkpoint (%s)", self._path, error)
                self._disconnect()

    def _disconnect(self, *, checkpoint: bool = False) -> None:
        """Close the connection; an open transaction is rolled back."""
        if checkpoint:
            self._checkpoint()
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error as error:
                _log.debug("%s: %s", self._path, error)


def _reason(error: Exception, folder: Path) -> str:
    """Return an error in words.

    SQLite calls it an I/O error, too, when a full disk has no room for the index of its log, and
    that would send somebody to look for another disk.
    """
    reason = str(getattr(error, "strerror", None) or error)
    with contextlib.suppress(OSError):
        if "I/O" in reason and shutil.disk_usage(folder).free < _ROOM_BYTES:
            return "the disk is full"
    return reason


def _run(job: Job, connection: sqlite3.Connection) -> Exception | None:
    """Run a job. One that is wrong itself is dropped whole: it would fail every time."""
    wrong = None
    connection.execute("SAVEPOINT job")
    try:
        job(connection)
    except Exception as error:
        if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _WRONG_JOB):
            raise  # the database's fault
        connection.execute("ROLLBACK TO job")
        wrong = error
    connection.execute("RELEASE job")
    return wrong
