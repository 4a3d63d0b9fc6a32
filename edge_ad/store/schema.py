"""The database of a store: tables, connections and the version of both."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from edge_ad.errors import DataError, IncompatibleError

DATABASE = "line.db"
VERSION = 1
_MAGIC = b"SQLite format 3\0"

READS_WITHIN_S = 5.0  # while another process locks the database
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    type TEXT NOT NULL, step TEXT, kind TEXT, alarm TEXT,
    camera TEXT, source TEXT, file TEXT, part INTEGER, frame INTEGER,
    time_utc TEXT NOT NULL, verdict TEXT, score REAL, threshold REAL, regions TEXT,
    reason TEXT, who TEXT, evidence TEXT, refers INTEGER, count INTEGER, old TEXT, new TEXT,
    area_px INTEGER);
CREATE INDEX events_time ON events (time_utc);
CREATE INDEX events_refers ON events (refers) WHERE refers IS NOT NULL;
CREATE INDEX events_alarm ON events (alarm) WHERE alarm IS NOT NULL;
CREATE INDEX events_reject ON events (seq) WHERE type = 'reject';
CREATE INDEX events_line ON events (seq) WHERE type = 'line';
-- Every filter of a list is one scan of this, a tenth of the table, in the list's order.
CREATE INDEX events_listed ON events
    (seq, camera, type, kind, step, time_utc, part, alarm, area_px);
CREATE TABLE open_alarms (alarm TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE statistics (
    minute TEXT NOT NULL, camera TEXT NOT NULL,
    passed INTEGER NOT NULL, rejected INTEGER NOT NULL, invalid INTEGER NOT NULL,
    dropped INTEGER NOT NULL, scores TEXT NOT NULL, latency_ms TEXT,
    brightness REAL, sharpness REAL);
CREATE INDEX statistics_minute ON statistics (minute);
CREATE INDEX statistics_camera ON statistics (camera, minute);
CREATE TABLE outlets (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, active INTEGER NOT NULL,
    types TEXT NOT NULL, cameras TEXT NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0, error TEXT, error_utc TEXT);
CREATE TABLE outbox (
    outlet INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (outlet, seq)) WITHOUT ROWID;
CREATE INDEX outbox_seq ON outbox (seq);
CREATE TABLE dead_letters (
    outlet INTEGER NOT NULL, seq INTEGER NOT NULL, attempts INTEGER NOT NULL,
    reason TEXT NOT NULL, time_utc TEXT NOT NULL, PRIMARY KEY (outlet, seq)) WITHOUT ROWID;
CREATE INDEX dead_letters_seq ON dead_letters (seq);
CREATE TABLE drift (
    camera TEXT NOT NULL, quantity TEXT NOT NULL, minute TEXT NOT NULL, state TEXT NOT NULL,
    PRIMARY KEY (camera, quantity)) WITHOUT ROWID;
CREATE TABLE samples (
    part INTEGER PRIMARY KEY, camera TEXT NOT NULL, time_utc TEXT NOT NULL, kind TEXT NOT NULL,
    score REAL, threshold REAL, file TEXT NOT NULL, bytes INTEGER NOT NULL);
CREATE TABLE settings (
    camera TEXT NOT NULL, name TEXT NOT NULL, kept TEXT NOT NULL,
    PRIMARY KEY (camera, name)) WITHOUT ROWID;
INSERT INTO meta VALUES ('store', lower(hex(randomblob(4)))), ('next_part', 1);
"""


class DamagedStore(DataError):
    """A store of which pages are torn; `edge_ad.store.rescue` keeps what can be read."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(
            f"{path} is damaged ({why}). The next line that starts in this folder keeps what can "
            "be read."
        )
        self.why = why


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error is about a database's content; others are about reaching it."""
    return type(error) is sqlite3.DatabaseError  # of SQLITE_CORRUPT and SQLITE_NOTADB alone


def connect(path: Path, *, busy_s: float = 2.0) -> sqlite3.Connection:
    """Open an existing database for writing. Raises sqlite3.Error.

    A commit has reached the disk when it returns: WAL with `synchronous=FULL`.
    """
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path))}?mode=rw",
        uri=True,
        timeout=busy_s,
        isolation_level=None,
        check_same_thread=False,
    )
    connection.row_factory = sqlite3.Row
    with _closed_on_error(connection):
        connection.execute("PRAGMA synchronous=FULL")
    return connection


def connect_reading(path: Path, busy_s: float = READS_WITHIN_S) -> sqlite3.Connection:
    """Open a database for reading, also one on a medium that cannot be written.

    Raises sqlite3.Error; DataError or IncompatibleError for a file that is no store's.
    """
    connection = _read_only(path, busy_s)
    connection.row_factory = sqlite3.Row
    with _closed_on_error(connection):
        if _version(path, connection) == 0:
            raise DataError(f"{path} has no events: no line has begun to write it.")
    return connection


def create(path: Path) -> None:
    """Make the database, or complete one whose maker was killed.

    Raises sqlite3.Error; DataError or IncompatibleError for a file that is no store's.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        if _version(path, connection) == VERSION:
            return
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(f"BEGIN;{_TABLES}PRAGMA user_version={VERSION};COMMIT;")
    finally:
        connection.close()


def _read_only(path: Path, busy_s: float) -> sqlite3.Connection:
    name = f"file:{quote(os.fsencode(path))}"
    try:
        connection = sqlite3.connect(f"{name}?mode=ro", uri=True, timeout=busy_s)
        with _closed_on_error(connection):
            _look(connection)
    except sqlite3.OperationalError:
        if not path.is_file() or Path(f"{path}-wal").exists():
            raise
        # WAL wants to make files beside the database, which a read-only folder refuses
        return sqlite3.connect(f"{name}?immutable=1", uri=True)
    return connection


def _look(connection: sqlite3.Connection) -> None:
    """Read a little. Raises sqlite3.OperationalError; `_version` has the words for damage."""
    try:
        connection.execute("SELECT 1 FROM sqlite_master")
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError:
        pass


@contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    """Close a connection that cannot be used; Python 3.13 warns of one that stays open."""
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _begins_like_one(path: Path) -> bool:
    """Return whether a file begins as a database does, or was zeroed there by a power cut."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
    return head == _MAGIC or not any(head)


def _version(path: Path, connection: sqlite3.Connection) -> int:
    """Return the version of the database, 0 for an empty one."""
    try:
        version = int(connection.execute("PRAGMA user_version").fetchone()[0])
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        if not _begins_like_one(path):
            raise DataError(f"{path} is not a database. Name another folder.") from error
        raise DamagedStore(path, str(error)) from error
    if (version == 0 and tables) or (version and "events" not in tables):
        raise DataError(f"{path} is another program's database. Name another folder.")
    if version > VERSION:
        raise IncompatibleError(
            f"{path} was written by a newer edge-ad (store version {version}, this one reads "
            f"{VERSION}). Update edge-ad, or name another folder."
        )
    return version
