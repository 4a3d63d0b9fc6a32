"""Part numbers that never repeat within a store, whatever ends the line."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable

from edge_ad.store.writer import Job

BLOCK = 10_000  # numbers reserved at once; those that a killed line had not used are skipped


class PartNumbers:
    """Counts on within a reserved block and reserves the next one early, through `put`.

    A line that is killed while its disk has been full for longer than the block lasts may count
    from the end of that block again; the time of an event tells such parts apart.
    """

    def __init__(self, first: int, put: Callable[[Job, int], bool]) -> None:
        self._next, self._reserved = first, first + BLOCK
        self._put = put
        self._asked = False
        self._lock = threading.Lock()

    def __call__(self) -> int:
        """Return the next number."""
        with self._lock:
            number, self._next = self._next, self._next + 1
            if self._reserved - self._next < BLOCK // 2 and not self._asked:
                self._asked = self._put(self._reserve_more, 0)
        return number

    def release(self, connection: sqlite3.Connection) -> None:
        """Give back the numbers that were reserved and not used, at the end of the line."""
        _store(connection, self._next)

    def _reserve_more(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            self._reserved = self._next + BLOCK
            self._asked = False
        _store(connection, self._reserved)


def reserve_first(connection: sqlite3.Connection) -> int:
    """Reserve a block and return its first number."""
    first = int(connection.execute("SELECT value FROM meta WHERE key = 'next_part'").fetchone()[0])
    _store(connection, first + BLOCK)
    return first


def _store(connection: sqlite3.Connection, number: int) -> None:
    connection.execute("UPDATE meta SET value = ? WHERE key = 'next_part'", (number,))
