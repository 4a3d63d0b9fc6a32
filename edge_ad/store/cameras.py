"""The cameras of a store: those of the line, and those that only older records are of."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from edge_ad.store.reading import open_reading

_KEY = "cameras"


def write_cameras(connection: sqlite3.Connection, names: Sequence[str]) -> None:
    """Note the cameras of the line that starts: it may be long until one has a record."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (_KEY, json.dumps(list(names))))


def known_cameras(folder: Path) -> list[str]:
    """Return the cameras of a folder's line and of its records, by name.

    Raises like `open_reading`.
    """
    with open_reading(folder) as connection:
        of_line = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
        rows = connection.execute(
            "SELECT DISTINCT camera FROM events WHERE camera IS NOT NULL "
            "UNION SELECT DISTINCT camera FROM statistics"
        )
        names = {row[0] for row in rows if row[0]}
        return sorted(names.union(json.loads(of_line[0]) if of_line else ()))
